// What of an output belongs to the moment and the place, not to what the product does: it is left out before anything is
// compared. Each thing that is left out stands here, with the reason, and nowhere else.

/** Fields of JSON, wherever they stand, that are left out. */
export const DROPPED: readonly (readonly [names: RegExp, reason: string])[] = [
  [/^(seconds|seconds_left|.*_seconds|stepSeconds|seconds_per_step)$/, 'how long something took, or may still take'],
  [/^(.*_per_second|data_wait)$/, 'rates and shares of that time'],
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

/** Patterns of text that are replaced. */
const REPLACED: readonly (readonly [pattern: RegExp, by: string, reason: string])[] = [
  [/\bdrm \d+\.\d+\.\d+/g, 'drm <version>', "the program's version"],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)?/g, '<moment>', 'a moment of the clock'],
  [/\b\d+(\.\d+)? (ms|s|min)\b(?! left)/g, '<time>', 'how long something took'],
  [/\b\d+(\.\d+)? (s|min|h( \d+ min)?) left\b/g, '<time> left', 'how long it may still take'],
  [/\b\d[\d.e+]* ((?:samples|pairs|pictures|images|prompts|steps)\/s)/g, '<rate> $1', 'a rate'],
  [/\b(waiting for data) [\d.]+ %/g, '$1 <share>', 'a share of time'],
  [/\bmemory [\d.]+ [kMGT]?B\b/g, 'memory <amount>', 'as much as the allocator happened to hold'],
];

export interface Places {
  /** What paths of this machine are called, the longest first. */
  names: readonly (readonly [path: string, name: string])[];
}

/** Paths of this machine by their names. */
const withoutPaths = (text: string, { names }: Places): string =>
  names.reduce((so_far, [path, name]) => so_far.replaceAll(path, name), text);

/** A text that a person reads. */
export const normalText = (text: string, places: Places): string =>
  REPLACED.reduce((so_far, [pattern, by]) => so_far.replace(pattern, by), withoutPaths(text, places));

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
  const kept = Object.entries(value).filter(([name]) => !dropped(name));
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

/** An HTML page, a tag a line, so that a difference is short. Pictures inside become digests. */
export function normalPage(text: string, places: Places, digest: (bytes: Buffer) => string): string {
  const pictures = text.replace(
    /data:([\w/+-]+);base64,([\w+/=]+)/g,
    (_, kind: string, data: string) => `data:${kind} ${digest(Buffer.from(data, 'base64'))}`,
  );
  return normalText(pictures, places)
    .replaceAll(/(?<!\n)</g, '\n<')
    .trimStart();
}
