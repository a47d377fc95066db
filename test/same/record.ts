// A record: what each part of each case was, as a digest and as the text that it is of; and two of them compared.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { unifiedDiff } from './diff.js';
import { sha256 } from './digests.js';
import type { Machine } from './machine.js';

export interface Entry {
  digest: string;
  text: string;
}

/** By "case: part". */
export type Entries = Record<string, Entry>;

export interface Behaviour {
  format: 'drm-same 1';
  commit: string;
  machine: Machine;
  entries: Entries;
  /** Cases that could not be run on that tree, and why. */
  skipped: Record<string, string>;
}

export const entryOf = (text: string): Entry => ({ digest: sha256(text), text });

export const entryName = (name: string, part: string): string => `${name}: ${part}`;
export const caseOf = (entry: string): string => entry.slice(0, entry.indexOf(': '));

export function writeRecord(file: string, record: Behaviour): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
}

/** Throws where there is none. */
export function readRecord(file: string): Behaviour {
  if (!existsSync(file))
    throw new Error(`${file}: no record; make one on the tree before the change: npm run test:same -- --record`);
  const record = JSON.parse(readFileSync(file, 'utf8')) as Behaviour;
  if (record.format !== 'drm-same 1') throw new Error(`${file}: expected a record of this script, found another file`);
  return record;
}

export interface Difference {
  name: string;
  lines: string[];
}

export interface Comparison {
  same: number;
  different: Difference[];
}

/** What differs, among the cases for which `counts` says yes; with a few lines on each. */
export function compare(before: Entries, after: Entries, counts: (name: string) => boolean = () => true): Comparison {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => counts(caseOf(name)));
  const different: Difference[] = [];
  for (const name of names) {
    const [old, fresh] = [before[name], after[name]];
    if (old?.digest === fresh?.digest) continue;
    const lines =
      old === undefined
        ? ['is there now, and was not before']
        : fresh === undefined
          ? ['was there before, and is not now']
          : explained(name, old.text, fresh.text);
    different.push({ name, lines });
  }
  return { same: names.length - different.length, different };
}

const explained = (name: string, before: string, after: string): string[] =>
  name.endsWith('.safetensors') ? tensorsThatDiffer(before, after) : unifiedDiff(before, after);

/** By name, a line for each kind of difference: a changed order alone would be one, too. */
export function tensorsThatDiffer(before: string, after: string): string[] {
  const byName = (text: string) => new Map(text.split('\n').map((line) => [line.split('  ')[0] as string, line]));
  const [old, fresh] = [byName(before), byName(after)];
  const kinds: [string, string[]][] = [
    ['other values', [...fresh.keys()].filter((name) => old.has(name) && old.get(name) !== fresh.get(name))],
    ['gone', [...old.keys()].filter((name) => !fresh.has(name))],
    ['new', [...fresh.keys()].filter((name) => !old.has(name))],
  ];
  const lines = kinds.filter(([, names]) => names.length > 0).map(([kind, names]) => `${kind}: ${listed(names)}`);
  const tensors = (map: Map<string, string>) => [...map.keys()].filter((name) => !name.startsWith('metadata ')).length;
  return lines.length > 0 ? [...lines, `of ${tensors(old)} tensors`] : ['the tensors are in another order'];
}

const listed = (names: string[], most = 8): string =>
  names.length > most ? `${names.slice(0, most).join(', ')} and ${names.length - most} more` : names.join(', ');
