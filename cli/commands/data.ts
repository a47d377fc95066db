import { DrmError } from '../../binding/error.js';
import type { Command, Context } from '../command.js';
import type { Drop, Source } from '../data/source.js';
import { flagOf, numberOption } from '../options.js';

const ACTIONS = ['prepare', 'inspect', 'encode', 'tokenizer'];
/** Preference pairs as their publishers have them. */
const PAIR_SETS = ['hpdv3', 'hpdv2', 'imagereward', 'pickapic'];
const SOURCES = [...PAIR_SETS, 'jsonl', 'webdataset', 'emoji', 'emoji-prefs'];

export const command: Command = {
  name: 'data',
  summary: 'prepare preference pairs or pictures with captions for training, and look at what was prepared',
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
      description: `prepare: a source (${SOURCES.join(', ')}); inspect, encode, tokenizer: a prepared folder`,
    },
  ],
  options: [
    { flags: '--from <path>', description: 'prepare: the file or folder to read' },
    {
      flags: '--size <n>',
      description: 'prepare: edge of a square, lossless copy; pairs are squashed to it, captioned pictures cropped',
      default: '64 for emoji and emoji-prefs, else the original',
    },
    { flags: '--max-pairs <n>', description: 'prepare: the first n pairs that can be used', default: 'all' },
    {
      flags: '--images <path>',
      description: 'prepare: folder or archive with the pictures',
      default: 'beside the list',
    },
    {
      flags: '--rewrite <from=to>',
      description: 'prepare: picture paths that begin with from begin with to; may be repeated',
      repeatable: true,
    },
    { flags: '--min-confidence <x>', description: 'prepare: drops training pairs below', default: '0.95 for hpdv3' },
    { flags: '--keep-ties', description: 'prepare: keeps ties, marked, for protocols that count them' },
    { flags: '--self-contained', description: 'prepare: writes the pictures with every pair that uses them' },
    { flags: '--list <file>', description: 'prepare hpdv3: the training list', default: 'train.json' },
    {
      flags: '--mix <list=images[:n]>',
      description: 'prepare hpdv3: trains on this list, too, or on n of its pairs; may be repeated',
      repeatable: true,
    },
    { flags: '--sample <n>', description: 'prepare hpdv3: n pairs of the training list', default: 'all' },
    { flags: '--split <name>', description: 'only this split', default: 'all' },
    { flags: '--hold-out <percent>', description: 'prepare: captions that make a split `test`', default: '0' },
    {
      flags: '--model <model>',
      description: 'encode: the base whose VAE and text encoders run; emoji-prefs: whose own pictures are compared',
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
    { flags: '--shard-size <mb>', description: 'prepare: a shard ends after so many megabytes', default: '256' },
    { flags: '--shard-samples <n>', description: 'prepare: and after so many samples', default: 'no limit' },
    { flags: '--verify', description: "inspect: also compare each shard's sha256" },
    { flags: '--samples <n>', description: 'inspect: pictures or pairs on the contact sheet', default: '64' },
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
  async run(context) {
    const [action] = context.args as string[];
    if (action === 'prepare') return prepareCommand(context);
    if (action === 'inspect') return inspectCommand(context);
    if (action === 'encode') return encodeCommand(context);
    if (action === 'tokenizer') return tokenizerCommand(context);
    throw new DrmError('USAGE', `data ${action}: expected ${ACTIONS.join(', ')}`);
  },
};

function wholeNumber(context: Context, name: string, flag: string, most: number, least = 1): number | undefined {
  const given = context.options[name];
  if (given === undefined) return undefined;
  const value = Number(given);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new DrmError('USAGE', `${flag} ${given}: expected a whole number from ${least} to ${most}`);
  return value;
}

async function prepareCommand(context: Context): Promise<void> {
  const { args, global, events, signal } = context;
  const started = performance.now();
  const [, kind] = args as string[];
  const out = global.out;
  if (out === undefined)
    throw new DrmError('USAGE', `data prepare ${kind}: expected a folder to write to; give --out DIR`);
  const { prepare } = await import('../data/prepare.js');
  const source = await openSource(context, out);
  // emoji-prefs thins itself out evenly instead.
  const most = kind === 'emoji-prefs' ? undefined : wholeNumber(context, 'maxPairs', '--max-pairs', 1e9);
  if (most !== undefined && source.kind !== 'pairs')
    throw new DrmError('USAGE', `--max-pairs ${most}: expected preference pairs, found pictures with captions`);
  events.emit({
    event: 'started',
    version: 1,
    command: 'data prepare',
    facts: { source: String(kind), out, ...(source.total !== undefined && { records: source.total }) },
  });
  // A few of each kind are shown; all are counted. What the emoji set leaves out is its definition.
  const shown = new Map<string, number>();
  const onDrop = ({ reason, detail }: Drop) => {
    const times = (shown.get(reason) ?? 0) + 1;
    shown.set(reason, times);
    if (kind !== 'emoji' && times <= 3)
      events.emit({
        event: 'warning',
        message: `${reason}: ${detail}${times === 3 ? ' (further ones are only counted)' : ''}`,
      });
  };
  const result = await prepare(source, out, {
    limits: {
      bytes: (wholeNumber(context, 'shardSize', '--shard-size', 8192) ?? 256) * 1_000_000,
      samples: wholeNumber(context, 'shardSamples', '--shard-samples', 1e9) ?? Number.POSITIVE_INFINITY,
    },
    ...(most !== undefined && { most }),
    signal,
    onProgress: (step, total) =>
      events.emit({
        event: 'progress',
        id: 'prepare',
        label: 'preparing',
        step,
        total,
        unit: source.kind === 'pairs' ? 'pair' : 'picture',
        seconds: (performance.now() - started) / 1000,
      }),
    onStage: (label, step, total, unit) =>
      events.emit({
        event: 'progress',
        id: label,
        label,
        step,
        total,
        unit,
        seconds: (performance.now() - started) / 1000,
      }),
    onDrop,
  }).catch((error: unknown) => {
    if (!(error instanceof DrmError && error.code === 'CANCELLED')) throw error;
    throw new DrmError('CANCELLED', `${error.message}; to go on: ${repeat(context)}`);
  });
  const { manifest, resumed, present } = result;
  if (present) events.emit({ event: 'info', message: `${out} is complete already` });
  else if (resumed > 0) events.emit({ event: 'info', message: `${resumed} records were prepared by an earlier run` });
  events.emit({ event: 'result', text: out, data: { folder: out, ...manifest } });
  events.emit({
    event: 'done',
    seconds: (performance.now() - started) / 1000,
    facts: { records: manifest.records, kept: manifest.kept, ...manifest.dropped, shards: manifest.shards.length },
  });
}

/** The command line that was given, for a shell. */
function repeat({ args, options, global }: Context): string {
  const quoted = (text: string) => (/^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const flags = PREPARE_FLAGS.flatMap((name) => {
    const value = options[name];
    if (value === undefined || value === false) return [];
    if (value === true) return [flagOf(name)];
    return [value].flat().flatMap((one) => [flagOf(name), String(one)]);
  });
  return ['drm', 'data', ...(args as string[]), ...flags, '--out', String(global.out)].map(quoted).join(' ');
}

const PREPARE_FLAGS = [
  'from',
  'size',
  'split',
  'model',
  'early',
  'maxPairs',
  'images',
  'rewrite',
  'minConfidence',
  'keepTies',
  'selfContained',
  'list',
  'mix',
  'sample',
  'seed',
  'holdOut',
  'shardSize',
  'shardSamples',
];

async function openSource(context: Context, out: string): Promise<Source> {
  const { args, options } = context;
  const kind = String(args[1]);
  const size = wholeNumber(context, 'size', '--size', 4096);
  const split = String(options.split ?? 'all');
  if (kind === 'emoji') {
    const { emojiSource, EMOJI_SPLITS } = await import('../data/emoji.js');
    const known = ['all', ...EMOJI_SPLITS] as const;
    const only = known.find((name) => name === split);
    if (!only) throw new DrmError('USAGE', `--split ${split}: expected ${known.join(', ')}`);
    return emojiSource(size ?? 64, only);
  }
  if (kind === 'emoji-prefs') {
    const { openEmojiPrefs } = await import('../data/open_emoji_prefs.js');
    return openEmojiPrefs(context, {
      size: size ?? 64,
      maxPairs: wholeNumber(context, 'maxPairs', '--max-pairs', 1e9),
    });
  }
  if (!SOURCES.includes(kind))
    throw new DrmError('USAGE', `data prepare ${kind}: expected a source (${SOURCES.join(', ')})`);
  if (options.from === undefined)
    throw new DrmError('USAGE', `data prepare ${kind}: expected what to read; give --from FILE or --from FOLDER`);
  const { openPairSet, pairSetOptions } = await import('../data/sets/open.js');
  const pairs = pairSetOptions(options, out, size);
  if (PAIR_SETS.includes(kind)) return openPairSet(kind, pairs, options);
  if (split !== 'all')
    throw new DrmError('USAGE', `--split ${split}: ${kind} has no splits of its own; see --hold-out`);
  const user = { size, holdOut: wholeNumber(context, 'holdOut', '--hold-out', 99, 0) ?? 0 };
  if (kind === 'webdataset')
    return (await import('../data/webdataset.js')).webdatasetSource(String(options.from), user);
  const minConfidence = numberOption(options, 'minConfidence');
  const { userSource } = await import('../data/user_pictures.js');
  return userSource(String(options.from), user, { ...pairs, ...user, minConfidence });
}

async function encodeCommand(context: Context): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const folder = String(args[1]);
  const { DataSetEncoder } = await import('../../binding/index.js');
  const { encodeSet } = await import('../data/encoded.js');
  const { PairSet } = await import('../data/pair_set.js');
  const { chooseDevice } = await import('../device.js');
  const { resolveModel } = await import('../hub/resolve.js');
  const { loadTokenizers } = await import('../text/tokenizer.js');
  const { partsFit, warnOfCuts } = await import('../train/fit.js');
  const { encodedKey, pictureSize, promptBytes } = await import('../train/tasks/encoded.js');
  const model = String(options.model ?? 'tiny');
  const base = await resolveModel(model);
  const size = wholeNumber(context, 'size', '--size', 4096) ?? Math.min(512, pictureSize(base));
  const t5Length = wholeNumber(context, 't5Length', '--t5-length', 4096, 0) ?? (base.tokenizers.t5 ? 512 : 0);
  partsFit(size, base.source);
  const set = await PairSet.open(folder);
  const { device, dtype } = await chooseDevice({ device: global.device, dtype: global.dtype ?? 'auto' });
  const tokenizer = loadTokenizers(base.tokenizers);
  const facts = { model, size, device, dtype, pairs: set.length, pictures: set.pictureCount };
  events.emit({ event: 'started', version: 1, command: 'data encode', facts });
  using encoder = await DataSetEncoder.load(base.source, t5Length, { device, dtype }, { signal });
  try {
    const key = { ...(await encodedKey(base, size, t5Length, tokenizer.clipLength)), dtype };
    const encoded = await encodeSet(set, encoder, tokenizer, key, {
      model,
      promptBytes: promptBytes(base, t5Length + tokenizer.clipLength, dtype),
      signal,
      onProgress: (what, step, total) =>
        events.emit({
          event: 'progress',
          id: what,
          label: `encoding ${what}`,
          step,
          total,
          unit: what === 'pictures' ? 'picture' : 'pair',
          seconds: (performance.now() - started) / 1000,
        }),
      onBad: (message) => events.emit({ event: 'warning', message }),
      onCut: (texts, of) => warnOfCuts(texts, of, events),
    });
    const { manifest } = encoded;
    events.emit({ event: 'result', text: encoded.folder, data: { folder: encoded.folder, ...manifest } });
    const bad = Object.keys(manifest.bad).length;
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { pictures: manifest.pictures, prompts: manifest.prompts, ...(bad > 0 && { bad }) },
    });
  } finally {
    await set.close();
  }
}

async function tokenizerCommand(context: Context): Promise<void> {
  const { args, options, global, events } = context;
  const started = performance.now();
  const folder = String(args[1]);
  if (global.out === undefined)
    throw new DrmError('USAGE', `data tokenizer ${folder}: expected a folder to write to; give --out DIR`);
  const { CaptionedSet } = await import('../data/captioned_set.js');
  const { clipTokenizerFiles, SMALLEST_VOCABULARY, writeTokenizer } = await import('../text/train_bpe.js');
  const { Tokenizer } = await import('../text/tokenizer.js');
  const vocabulary = wholeNumber(context, 'vocabulary', '--vocabulary', 1_000_000, SMALLEST_VOCABULARY) ?? 3000;
  const maxLength = wholeNumber(context, 'maxLength', '--max-length', 77, 3) ?? 24;
  const split = options.split === undefined || options.split === 'all' ? {} : { split: String(options.split) };
  const set = await CaptionedSet.open(folder, split);
  const captions = Array.from({ length: set.length }, (_, i) => set.caption(i));
  const pad = options.pad === '!' ? '!' : '<|endoftext|>';
  await writeTokenizer(global.out, clipTokenizerFiles(captions, { vocabulary, maxLength, pad }));
  // What was written is read as any user of the folder reads it.
  const tokenizer = Tokenizer.fromFolder(global.out);
  let tokens = 0;
  let longest = 0;
  let cut = 0;
  for (const caption of captions) {
    const { length } = await tokenizer.ids(caption);
    tokens += length;
    longest = Math.max(longest, length);
    if (length > maxLength) cut += 1;
  }
  if (cut > 0)
    events.emit({
      event: 'warning',
      message: `${cut} of ${captions.length} captions are longer than ${maxLength} tokens and will be cut; --max-length ${longest} would hold all`,
    });
  const facts = { captions: captions.length, tokens_per_caption: tokens / captions.length, longest };
  events.emit({ event: 'result', text: global.out, data: { folder: global.out, ...facts } });
  events.emit({ event: 'done', seconds: (performance.now() - started) / 1000, facts });
}

async function inspectCommand(context: Context): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const folder = String(args[1]);
  const seed = wholeNumber(context, 'seed', '--seed', Number.MAX_SAFE_INTEGER, 0) ?? 0;
  const count = wholeNumber(context, 'samples', '--samples', 1000) ?? 64;
  const split = options.split === undefined || options.split === 'all' ? {} : { split: String(options.split) };
  const opening = { ...split, verify: options.verify === true };
  const out = global.out ?? folder;
  const { readManifest } = await import('../data/manifest.js');
  const { prepareFolder } = await import('../files.js');
  const isPairs = readManifest(folder).kind === 'pairs';
  const onProgress = (label: string, step: number, total: number) =>
    events.emit({
      event: 'progress',
      id: label,
      label,
      step,
      total,
      unit: label === 'reading' ? 'pair' : 'picture',
      seconds: (performance.now() - started) / 1000,
    });
  try {
    const { text, found, sheet, samples, bad } = await (isPairs ? inspectedPairs() : inspectedPictures());
    for (const warning of bad.slice(0, 5)) events.emit({ event: 'warning', message: warning });
    events.emit({ event: 'result', text, data: { ...found, contact_sheet: sheet } });
    events.emit({ event: 'image', path: sheet.png, width: sheet.width, height: sheet.height });
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { ...samples, bad: bad.length, page: sheet.html },
    });
  } catch (error) {
    if (signal.aborted) throw new DrmError('CANCELLED', 'stopped; nothing was written');
    throw error;
  }

  async function inspectedPictures() {
    const { CaptionedSet } = await import('../data/captioned_set.js');
    const { inspectSet, inspectionText, writeContactSheet } = await import('../data/inspect.js');
    const set = await CaptionedSet.open(folder, opening);
    try {
      await prepareFolder(out);
      const found = await inspectSet(set, seed, signal, (done, total) => onProgress('opening pictures', done, total));
      const sheet = await writeContactSheet(set, found, out, { count, seed });
      return {
        text: inspectionText(found),
        found,
        sheet,
        samples: { samples: found.samples },
        bad: found.pictures.bad,
      };
    } finally {
      await set.close();
    }
  }

  async function inspectedPairs() {
    const { PairSet } = await import('../data/pair_set.js');
    const { inspectPairs, pairInspectionText, writePairSheet } = await import('../data/inspect_pairs.js');
    const set = await PairSet.open(folder, opening);
    try {
      await prepareFolder(out);
      const found = await inspectPairs(set, seed, signal, onProgress);
      const sheet = await writePairSheet(set, found, out, { count, seed });
      return {
        text: pairInspectionText(found),
        found,
        sheet,
        samples: { pairs: found.pairs },
        bad: found.pictures.bad,
      };
    } finally {
      await set.close();
    }
  }
}
