import { defineCommand } from '../common/command.js';
import { ACTIONS, OPTIONS } from './data/options.js';
import { SOURCES } from './data/sources.js';

export const command = defineCommand({
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
  options: OPTIONS,
  makesFiles: ({ args }) => args[0] !== 'inspect',
  async run(context) {
    switch (context.args[0]) {
      case 'prepare':
        return (await import('./data/prepare.js')).prepareSet(context);
      case 'inspect':
        return (await import('./data/inspect.js')).inspectPrepared(context);
      case 'encode':
        return (await import('./data/encode.js')).encodePrepared(context);
      case 'tokenizer':
        return (await import('./data/tokenizer.js')).trainTokenizer(context);
    }
  },
});
