// `drm data prepare`: which source, which limits, what is said meanwhile.
import { DrmError } from '../../../binding/error.js';
import type { Context } from '../../common/command.js';
import { commandLine, flagOf, numberOption, wholeOption } from '../../common/options.js';
import type { Drop } from '../../data/io/drop.js';
import { prepare } from '../../data/prepared/prepare.js';
import type { Source } from '../../data/prepared/source.js';
import { openPairSet, pairSetOptions } from '../../data/sets/open.js';
import { PAIR_SETS, SOURCES } from './sources.js';

export async function prepareSet(context: Context): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const [, kind] = args as string[];
  const out = global.out;
  if (out === undefined)
    throw new DrmError('USAGE', `data prepare ${kind}: expected a folder to write to; give --out DIR`);
  const source = await openSource(context, out);
  // emoji-prefs thins itself out evenly instead.
  const most = kind === 'emoji-prefs' ? undefined : wholeOption(options, 'maxPairs', 1, 1e9);
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
      bytes: (wholeOption(options, 'shardSize', 1, 8192) ?? 256) * 1_000_000,
      samples: wholeOption(options, 'shardSamples', 1, 1e9) ?? Number.POSITIVE_INFINITY,
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
  const flags = PREPARE_FLAGS.flatMap((name) => {
    const value = options[name];
    if (value === undefined || value === false) return [];
    if (value === true) return [flagOf(name)];
    return [value].flat().flatMap((one) => [flagOf(name), String(one)]);
  });
  return commandLine(['data', ...(args as string[]), ...flags, '--out', String(global.out)]);
}

const PREPARE_FLAGS = [
  'from',
  'size',
  'split',
  'model',
  'early',
  'also',
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
  const size = wholeOption(options, 'size', 1, 4096);
  const split = String(options.split ?? 'all');
  if (kind === 'emoji') {
    const { EMOJI_SPLITS } = await import('../../data/emoji/emoji.js');
    const { emojiSource } = await import('../../data/emoji/emoji_source.js');
    const { FURTHER_STYLES } = await import('../../data/emoji/further_emoji.js');
    const known = ['all', ...EMOJI_SPLITS] as const;
    const only = known.find((name) => name === split);
    if (!only) throw new DrmError('USAGE', `--split ${split}: expected ${known.join(', ')}`);
    const also = [options.also ?? []].flat().map(String);
    const unknown = also.find((style) => !FURTHER_STYLES.includes(style));
    if (unknown !== undefined)
      throw new DrmError('USAGE', `--also ${unknown}: expected ${FURTHER_STYLES.join(', ')}; may be repeated`);
    return emojiSource(size ?? 64, only, also);
  }
  if (kind === 'emoji-prefs') {
    const { openEmojiPrefs } = await import('./emoji_prefs.js');
    return openEmojiPrefs(context, {
      size: size ?? 64,
      maxPairs: wholeOption(options, 'maxPairs', 1, 1e9),
    });
  }
  if (!SOURCES.includes(kind))
    throw new DrmError('USAGE', `data prepare ${kind}: expected a source (${SOURCES.join(', ')})`);
  if (options.from === undefined)
    throw new DrmError('USAGE', `data prepare ${kind}: expected what to read; give --from FILE or --from FOLDER`);
  const pairs = pairSetOptions(options, out, size);
  if (PAIR_SETS.includes(kind)) return openPairSet(kind, pairs, options);
  if (split !== 'all')
    throw new DrmError('USAGE', `--split ${split}: ${kind} has no splits of its own; see --hold-out`);
  const user = { size, holdOut: wholeOption(options, 'holdOut', 0, 99) ?? 0 };
  if (kind === 'webdataset')
    return (await import('../../data/sets/webdataset.js')).webdatasetSource(String(options.from), user);
  const minConfidence = numberOption(options, 'minConfidence');
  const { userSource } = await import('../../data/sets/user_source.js');
  return userSource(String(options.from), user, { ...pairs, ...user, minConfidence });
}
