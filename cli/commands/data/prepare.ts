// `drm data prepare`: which source, which limits, what is said meanwhile.
import { DrmError } from '../../../binding/error.js';
import { progressOf, secondsSince } from '../../common/events.js';
import { commandLine, flagOf, needed } from '../../common/options.js';
import { own } from '../../common/shape.js';
import type { Drop } from '../../data/io/drop.js';
import { prepare } from '../../data/prepared/prepare.js';
import type { PrepareContext } from './options.js';
import { type DataSource, SOURCES } from './sources.js';

export async function prepareSet(context: PrepareContext): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const [kind] = args;
  const from = own(SOURCES, kind) as DataSource; // one of the choices that the argument has
  const { read, out } = needed(`data prepare ${kind}`, {
    read: { value: from.embedded ? '' : options.from, what: 'what to read', give: '--from FILE or --from FOLDER' },
    out: { value: global.out, what: 'a folder to write to', give: '--out DIR' },
  });
  const source = await from.open({ context, from: read, out, size: options.size, split: options.split ?? 'all' });
  const most = from.thinsItself ? undefined : options.maxPairs;
  if (most !== undefined && source.kind !== 'pairs')
    throw new DrmError('USAGE', `--max-pairs ${most}: expected preference pairs, found images with captions`);
  events.emit({
    event: 'started',
    version: 1,
    command: 'data prepare',
    facts: { source: kind, out, ...(source.total !== undefined && { records: source.total }) },
  });
  // A few of each kind are shown; all are counted.
  const shown = new Map<string, number>();
  const onDrop = ({ reason, detail }: Drop) => {
    const times = (shown.get(reason) ?? 0) + 1;
    shown.set(reason, times);
    if (!from.dropsQuietly && times <= 3)
      events.emit({
        event: 'warning',
        message: `${reason}: ${detail}${times === 3 ? ' (further ones are only counted)' : ''}`,
      });
  };
  const result = await prepare(source, out, {
    limits: {
      bytes: (options.shardSize ?? 256) * 1_000_000,
      samples: options.shardSamples ?? Number.POSITIVE_INFINITY,
    },
    ...(most !== undefined && { most }),
    signal,
    onProgress: progressOf(
      events,
      { id: 'prepare', label: 'preparing', unit: source.kind === 'pairs' ? 'pair' : 'image' },
      started,
    ),
    onStage: (label, step, total, unit) => progressOf(events, { id: label, label, unit }, started)(step, total),
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
    seconds: secondsSince(started),
    facts: { records: manifest.records, kept: manifest.kept, ...manifest.dropped, shards: manifest.shards.length },
  });
}

/** The command line that was given, for a shell. */
function repeat({ args, options, global }: PrepareContext): string {
  const flags = Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined || value === false) return [];
    if (value === true) return [flagOf(name)];
    return [value].flat().flatMap((one) => [flagOf(name), String(one)]);
  });
  return commandLine(['data', 'prepare', ...args, ...flags, '--out', String(global.out)]);
}
