import { type CommandGroup, defineCommand } from '../common/command.js';
import { ENCODE_OPTIONS, FOLDER, INSPECT_OPTIONS, PREPARE_OPTIONS, TOKENIZER_OPTIONS } from './data/options.js';
import { SOURCES } from './data/sources.js';

const prepare = defineCommand({
  name: 'prepare',
  summary: 'write preference pairs or images with captions as shards that training reads',
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
  ],
  arguments: [{ name: '<source>', description: 'what kind of files --from holds', choices: Object.keys(SOURCES) }],
  options: PREPARE_OPTIONS,
  makesFiles: () => true,
  run: async (context) => (await import('./data/prepare.js')).prepareSet(context),
});

const inspect = defineCommand({
  name: 'inspect',
  summary: 'figures and a contact sheet of a prepared set',
  examples: [
    { command: 'drm data inspect data/hpdv3', does: 'counts, sizes and a contact sheet' },
    { command: 'drm data inspect data/hpdv3 --verify --split test', does: "also compares each shard's checksum" },
  ],
  arguments: FOLDER,
  options: INSPECT_OPTIONS,
  run: async (context) => (await import('./data/inspect.js')).inspectPrepared(context),
});

const encode = defineCommand({
  name: 'encode',
  summary: 'latents and prompt embeds of prepared pairs beside their shards',
  examples: [
    {
      command: 'drm data encode data/hpdv3 --model sd3.5-medium --size 512 --dtype bf16',
      does: 'latents and prompt embeds beside the shards, which `drm train` then reads',
    },
    { command: 'drm data encode data/emoji-prefs', does: 'the same for the embedded model' },
  ],
  arguments: FOLDER,
  options: ENCODE_OPTIONS,
  makesFiles: () => true,
  run: async (context) => (await import('./data/encode.js')).encodePrepared(context),
});

const tokenizer = defineCommand({
  name: 'tokenizer',
  summary: "a tokenizer of CLIP's kind from the captions of a prepared set",
  examples: [
    { command: 'drm data tokenizer data/emoji --out runs/tokenizer', does: 'that of the embedded model' },
    {
      command: "drm data tokenizer data/emoji --pad '!' --out runs/tokenizer-g",
      does: 'with the padding that CLIP-G has',
    },
  ],
  arguments: FOLDER,
  options: TOKENIZER_OPTIONS,
  makesFiles: () => true,
  run: async (context) => (await import('./data/tokenizer.js')).trainTokenizer(context),
});

export const command: CommandGroup = {
  name: 'data',
  summary: 'prepare preference pairs or images with captions for training, and look at what was prepared',
  examples: [...prepare.examples.slice(1), ...inspect.examples.slice(0, 1)],
  subcommands: [prepare, inspect, encode, tokenizer],
};
