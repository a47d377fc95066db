// What can be asked of `drm data`.
import type { Context } from '../../common/command.js';
import type { Option, OptionsOf } from '../../common/option.js';
import { toNumber, toWhole } from '../../common/options.js';
import { PUBLISHED_SETS } from '../../data/sets/registry.js';
import { SMALLEST_VOCABULARY } from '../../text/train_bpe.js';

export const ACTIONS = ['prepare', 'inspect', 'encode', 'tokenizer'] as const;

export const OPTIONS = [
  { flags: '--from <path>', description: 'prepare: the file or folder to read' },
  {
    flags: '--size <n>',
    description: 'prepare: edge of a square, lossless copy; pairs are squashed to it, captioned images cropped',
    default: '64 for emoji and emoji-prefs, else the original',
    parse: toWhole(1, 4096),
  },
  {
    flags: '--max-pairs <n>',
    description: 'prepare: the first n pairs that can be used',
    default: 'all',
    parse: toWhole(1, 1e9),
  },
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
  {
    flags: '--min-confidence <x>',
    description: 'prepare: drops training pairs below',
    default: '0.95 for hpdv3 and --raters',
    parse: toNumber,
  },
  { flags: '--keep-ties', description: 'prepare: keeps ties, marked, for protocols that count them' },
  { flags: '--self-contained', description: 'prepare: writes the images with every pair that uses them' },
  ...Object.values(PUBLISHED_SETS).flatMap(({ flags }) => flags),
  { flags: '--split <name>', description: 'only this split', default: 'all' },
  {
    flags: '--hold-out <percent>',
    description: 'prepare: captions that make a split `test`',
    default: '0',
    parse: toWhole(0, 99),
  },
  {
    flags: '--model <model>',
    description: 'encode: the base whose VAE and text encoders run; emoji-prefs: whose own images are compared',
    default: 'tiny',
  },
  {
    flags: '--t5-length <n>',
    description: 'encode: tokens that T5 reads of a prompt, as --set t5_length of drm train',
    default: '512',
    parse: toWhole(0, 4096),
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
    flags: '--raters <n>',
    description: 'emoji-prefs: pairs of its own images that so many simulated raters vote on, instead',
    parse: toWhole(1, 1000),
  },
  {
    flags: '--own-images <n>',
    description: 'with --raters: images of a caption that the base draws by its recommended settings',
    default: '8',
    parse: toWhole(2, 64),
  },
  {
    flags: '--scorer <name>',
    description: 'emoji-prefs: orders two of its own images of a caption, such as clip:FOLDER; makes `own` pairs',
  },
  {
    flags: '--shard-size <mb>',
    description: 'prepare: a shard ends after so many megabytes',
    default: '256',
    parse: toWhole(1, 8192),
  },
  {
    flags: '--shard-samples <n>',
    description: 'prepare: and after so many samples',
    default: 'no limit',
    parse: toWhole(1, 1e9),
  },
  { flags: '--verify', description: "inspect: also compare each shard's sha256" },
  {
    flags: '--samples <n>',
    description: 'inspect: images or pairs on the contact sheet',
    default: '64',
    parse: toWhole(1, 1000),
  },
  {
    flags: '--seed <n>',
    description: 'chooses them, and the pairs of --sample and --mix; emoji-prefs: makes the pairs',
    default: '0',
    parse: toWhole(0),
  },
  {
    flags: '--vocabulary <n>',
    description: 'tokenizer: most entries',
    default: '3000',
    parse: toWhole(SMALLEST_VOCABULARY, 1_000_000),
  },
  { flags: '--max-length <n>', description: 'tokenizer: tokens of a prompt', default: '24', parse: toWhole(3, 77) },
  {
    flags: '--pad <token>',
    description: 'tokenizer: what fills a prompt up; CLIP-G pads with !',
    choices: ['<|endoftext|>', '!'],
    default: '<|endoftext|>',
  },
] as const satisfies readonly Option[];

export type DataContext = Context<OptionsOf<typeof OPTIONS>, readonly [action: (typeof ACTIONS)[number], what: string]>;
