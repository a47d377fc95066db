// What of an output belongs to the moment and the place, not to what the product does: it is left out before anything is
// compared. Each thing that is left out stands here, with the reason, and nowhere else.

/** Fields of JSON, wherever they stand, that are left out. */
export const DROPPED: readonly (readonly [names: RegExp, reason: string])[] = [
  [/^(seconds|seconds_left|.*_seconds|seconds_per_.*|stepSeconds)$/, 'how long something took, or may still take'],
  [/^(.*_per_second|data_wait)$/, 'rates and shares of that time'],
  [/^(cost|time_ratio)$/, 'of `eval images`: seconds of each part, and how many times the plain ones'],
  [/^(time|created)$/, 'the moment of writing'],
  [/^memory_mb$/, 'as much memory as the allocator happened to hold'],
  [/^pid$/, "the process's number"],
  [
    /^(drm|tool|settings_hash)$/,
    "the program's version, and a hash over settings with paths of the work folder in them",
  ],
];

/** Files in which more is left out. */
const DROPPED_IN: readonly (readonly [file: RegExp, names: RegExp, reason: string])[] = [
  [/(^|\/)checkpoint\.json$/, /^(sha256|bytes)$/, 'of files with times in them; the tensors are compared themselves'],
];

/** Fields that are left out of objects that also have another field. */
const DROPPED_BESIDE: readonly (readonly [name: string, beside: string, reason: string])[] = [
  ['bytes', 'passes', "of `grpo --plan`: memory that a phase needs beside the process's own, which varies"],
  ['bytes', 'overhead', "of `grpo --plan`: that memory of the process's own"],
  ['bytes', 'secondsPerIteration', 'of `grpo --plan`: the most of those'],
];

/** Patterns of text that are replaced. */
const REPLACED: readonly (readonly [pattern: RegExp, by: string, reason: string])[] = [
  [/\bdrm \d+\.\d+\.\d+/g, 'drm <version>', "the program's version"],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)?/g, '<moment>', 'a moment of the clock'],
  [/\b\d+(\.\d+)? (ms|s|min)\b(?! left)/g, '<time>', 'how long something took'],
  [/\b\d+(\.\d+)? (s|min|h( \d+ min)?) left\b/g, '<time> left', 'how long it may still take'],
  [/\b(\w+ seconds|seconds per \w+) [\d.e+-]+/g, '$1 <time>', 'how long a part of something took'],
  [/\b\d[\d.e+]* ((?:samples|pairs|images|images|prompts|steps)\/s)/g, '<rate> $1', 'a rate'],
  [/\b(waiting for data) [\d.]+ %/g, '$1 <share>', 'a share of time'],
  [
    /Unknown error|Vips[A-Z]\w+: (?:(?! \(further)[^\n])*/g,
    '<libvips error>',
    "libvips' words on a bad image, which another thread's may take away",
  ],
  [
    /^((?:rollout|reward|update|evaluation) .* {2})\d+ [kMG]B$/gm,
    '$1<memory>',
    "of `grpo --plan`: with the process's own",
  ],
  [/^(time of \S+): .*$/gm, '$1: <shares>', 'of `eval images`: shares of that time'],
  [/\bmemory [\d.]+ [kMGT]?B\b/g, 'memory <amount>', 'as much as the allocator happened to hold'],
];

export interface Places {
  /** What paths of this machine are called, the longest first. */
  names: readonly (readonly [path: string, name: string])[];
}

/** Paths of this machine by their names. */
const withoutPaths = (text: string, { names }: Places): string =>
  names.reduce((sofar, [path, name]) => sofar.replaceAll(path, name), text);

/** A text that a person reads. */
export const normalText = (text: string, places: Places): string =>
  withoutTimeColumn(REPLACED.reduce((sofar, [pattern, by]) => sofar.replace(pattern, by), withoutPaths(text, places)));

/** Tables of `eval images` end in a column of times, as wide as those are. */
function withoutTimeColumn(text: string): string {
  let inside = false;
  const without = (line: string): string => {
    const header = /^(.*?) +(s\/img|time)$/.exec(line);
    inside = header !== null || (inside && line !== '');
    if (header) return `${header[1]} ${header[2]}`;
    return inside ? line.replace(/ +(x )?([\d.]+|-)$/, ' <time>') : line;
  };
  return text.split('\n').map(without).join('\n');
}

/** A progress bar's line in a pipe, "loading  4 %  1.5 MB/39 MB", and what a long step of training is at. */
const BAR = /^(?:after step \d+: )?(\S.*?) {2}\d+ %(?: {2}.*)?$/;

/**
 * What is printed for people. Which progress lines come depends on the clock, and so does where their empty lines stand,
 * so that of progress only the labels count, sorted, after all else.
 */
export function normalOutput(text: string, places: Places): string {
  const labels = new Set<string>();
  const lines = text.split('\n').filter((line) => {
    const label = BAR.exec(line)?.[1];
    if (label !== undefined) labels.add(label);
    return label === undefined && line !== '';
  });
  const progress = [...labels].sort().map((label) => `progress ${label}`);
  return normalText([...lines, ...progress].join('\n'), places);
}

type Dropped = (name: string) => boolean;
const anywhere: Dropped = (name) => DROPPED.some(([names]) => names.test(name));
const inFile =
  (file: string): Dropped =>
  (name) =>
    anywhere(name) || DROPPED_IN.some(([files, names]) => files.test(file) && names.test(name));

/** A JSON value without the dropped fields; the others keep their order, which is the product's, too. */
export function normalValue(value: unknown, places: Places, dropped: Dropped = anywhere): unknown {
  if (typeof value === 'string') return normalText(value, places);
  if (Array.isArray(value)) return value.map((item) => normalValue(item, places, dropped));
  if (typeof value !== 'object' || value === null) return value;
  const beside = (name: string) => DROPPED_BESIDE.some(([field, other]) => name === field && other in value);
  const kept = Object.entries(value).filter(([name]) => !dropped(name) && !beside(name));
  return Object.fromEntries(
    kept.map(([name, item]) => [withoutPaths(name, places), normalValue(item, places, dropped)]),
  );
}

/** A JSON document, a field a line; as text where it is none. */
export function normalJson(text: string, places: Places, file = ''): string {
  try {
    return JSON.stringify(normalValue(JSON.parse(text), places, inFile(file)), null, 1);
  } catch {
    return normalText(text, places);
  }
}

interface Progress {
  event: 'progress';
  id: string;
  label: string;
  unit: string;
}

const isProgress = (value: unknown): value is Progress =>
  typeof value === 'object' && value !== null && 'event' in value && value.event === 'progress';

/**
 * A stream of events, or any file of JSON lines, an event a line. Which progress is reported depends on the clock, so that
 * of progress only the kinds count, sorted, after all else.
 */
export function normalLines(text: string, places: Places): string {
  const kinds = new Set<string>();
  const lines = text.split('\n').flatMap((line) => {
    if (line === '') return [];
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return [normalText(line, places)];
    }
    if (!isProgress(value)) return [JSON.stringify(normalValue(value, places))];
    const { id, label, unit } = value;
    kinds.add(normalText(`progress ${id} ${label} ${unit}`, places));
    return [];
  });
  return [...lines, ...[...kinds].sort()].join('\n');
}

/** An HTML page, a tag a line, so that a difference is short. Images inside become digests. */
export function normalPage(text: string, places: Places, digest: (bytes: Buffer) => string): string {
  const images = text.replace(
    /data:([\w/+-]+);base64,([\w+/=]+)/g,
    (_, kind: string, data: string) => `data:${kind} ${digest(Buffer.from(data, 'base64'))}`,
  );
  return normalText(images, places)
    .replaceAll(/(?<!\n)</g, '\n<')
    .trimStart();
}
