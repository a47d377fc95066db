import { DrmError } from '../../binding/error.js';
import type { Command } from '../common/command.js';
import { PUBLISHED_SETS } from '../data/sets/registry.js';
import { SOURCES } from './data/sources.js';

const ACTIONS = ['prepare', 'inspect', 'encode', 'tokenizer'];
export const command: Command = {
  name: 'data',
  summary: 'prepare preference pairs or images with captions for training, and look at what was prepared',
  examples: [
    {
      command: 'drm data prepare hpdv3 --from HPDv3 --split train --out data/hpdv3',
      does: 'preference pairs from the files as they are on the hub: lists, archive parts, zips, Parquet',
    },
    {
      command: 'drm data prepare jsonl --from my/pairs.jsonl --size 512 --out data/mine',
      does: 'your own: {"prompt": "a cat", "chosen": "a.jpg", "rejected": "b.jpg"} a line, or "image" and "caption"',
    },
    {
      command: 'drm data prepare emoji-prefs --out data/emoji-prefs',
      does: 'preference pairs of the embedded emoji, whose order is known by construction',
    },
    { command: 'drm data inspect data/hpdv3', does: 'counts, sizes and a contact sheet' },
    {
      command: 'drm data encode data/hpdv3 --model sd3.5-medium --size 512 --dtype bf16',
      does: 'latents and prompt embeds beside the shards, which `drm train` then reads',
    },
  ],
  arguments: [
    { name: '<action>', description: 'what to do', choices: ACTIONS },
    {
      name: '<what>',
      description: `prepare: a source (${Object.keys(SOURCES).join(', ')}); inspect, encode, tokenizer: a prepared folder`,
    },
  ],
  options: [
    { flags: '--from <path>', description: 'prepare: the file or folder to read' },
    {
      flags: '--size <n>',
      description: 'prepare: edge of a square, lossless copy; pairs are squashed to it, captioned images cropped',
      default: '64 for emoji and emoji-prefs, else the original',
    },
    { flags: '--max-pairs <n>', description: 'prepare: the first n pairs that can be used', default: 'all' },
    {
      flags: '--images <path>',
      description: 'prepare: folder or archive with the images',
      default: 'beside the list',
    },
    {
      flags: '--rewrite <from=to>',
      description: 'prepare: image paths that begin with from begin with to; may be repeated',
      repeatable: true,
    },
    { flags: '--min-confidence <x>', description: 'prepare: drops training pairs below', default: '0.95 for hpdv3' },
    { flags: '--keep-ties', description: 'prepare: keeps ties, marked, for protocols that count them' },
    { flags: '--self-contained', description: 'prepare: writes the images with every pair that uses them' },
    ...Object.values(PUBLISHED_SETS).flatMap(({ flags }) => flags),
    { flags: '--split <name>', description: 'only this split', default: 'all' },
    { flags: '--hold-out <percent>', description: 'prepare: captions that make a split `test`', default: '0' },
    {
      flags: '--model <model>',
      description: 'encode: the base whose VAE and text encoders run; emoji-prefs: whose own images are compared',
      default: 'tiny',
    },
    {
      flags: '--t5-length <n>',
      description: 'encode: tokens that T5 reads of a prompt, as --set t5_length of drm train',
      default: '512',
    },
    {
      flags: '--early <model>',
      description: 'emoji-prefs: an earlier checkpoint of it; may be repeated, the latest first',
      repeatable: true,
    },
    {
      flags: '--also <style>',
      description: 'emoji: also trains on openmoji, emojione, emojione-v1, fxemoji or noto-v1; may be repeated',
      repeatable: true,
    },
    {
      flags: '--scorer <name>',
      description: 'emoji-prefs: orders two of its own images of a caption, such as clip:FOLDER; makes `own` pairs',
    },
    { flags: '--shard-size <mb>', description: 'prepare: a shard ends after so many megabytes', default: '256' },
    { flags: '--shard-samples <n>', description: 'prepare: and after so many samples', default: 'no limit' },
    { flags: '--verify', description: "inspect: also compare each shard's sha256" },
    { flags: '--samples <n>', description: 'inspect: images or pairs on the contact sheet', default: '64' },
    {
      flags: '--seed <n>',
      description: 'chooses them, and the pairs of --sample and --mix; emoji-prefs: makes the pairs',
      default: '0',
    },
    { flags: '--vocabulary <n>', description: 'tokenizer: most entries', default: '3000' },
    { flags: '--max-length <n>', description: 'tokenizer: tokens of a prompt', default: '24' },
    {
      flags: '--pad <token>',
      description: 'tokenizer: what fills a prompt up; CLIP-G pads with !',
      choices: ['<|endoftext|>', '!'],
      default: '<|endoftext|>',
    },
  ],
  makesFiles: ({ args }) => args[0] !== 'inspect',
  async run(context) {
    const [action] = context.args as string[];
    if (action === 'prepare') return (await import('./data/prepare.js')).prepareSet(context);
    if (action === 'inspect') return (await import('./data/inspect.js')).inspectPrepared(context);
    if (action === 'encode') return (await import('./data/encode.js')).encodePrepared(context);
    if (action === 'tokenizer') return (await import('./data/tokenizer.js')).trainTokenizer(context);
    throw new DrmError('USAGE', `data ${action}: expected ${ACTIONS.join(', ')}`);
  },
};
