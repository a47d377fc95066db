// Scorers by name. A new one is its own file and a line here.
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { nearest } from '../common/nearest.js';
import { packageRoot } from '../common/root.js';
import type { Scorer, ScorerOptions } from './scorer.js';

interface Kind {
  /** As in `--scorer clip:FOLDER`. */
  usage: string;
  /** The files of its weights. */
  weights(at: string): Promise<string[]>;
  load(name: string, at: string, options: ScorerOptions): Promise<Scorer>;
}

const KINDS: Record<string, Kind> = {
  clip: {
    usage: 'clip:FOLDER',
    weights: async (at) => (await import('./clip.js')).clipFiles(at).weights,
    load: async (name, at, options) => (await import('./clip.js')).loadClip(name, at, options),
  },
};

/** Scorers that need no folder from the user: what they stand for. */
const NAMED: Record<string, string> = {
  judge: `clip:${join(packageRoot, 'models/judge')}`,
};

export const scorerNames = (): string[] => Object.keys(NAMED);
export const scorerKinds = (): string[] => Object.keys(KINDS);

const known = (): string => [...Object.keys(NAMED), ...Object.values(KINDS).map((kind) => kind.usage)].join(', ');

/** Throws DrmError USAGE for a name that is none. */
function find(name: string): { kind: Kind; at: string } {
  const full = Object.hasOwn(NAMED, name) ? (NAMED[name] as string) : name;
  const colon = full.indexOf(':');
  const kind = colon > 0 && Object.hasOwn(KINDS, full.slice(0, colon)) ? KINDS[full.slice(0, colon)] : undefined;
  const at = full.slice(colon + 1);
  if (kind && at !== '') return { kind, at };
  const guess = nearest(colon > 0 ? full.slice(0, colon) : name, [...Object.keys(NAMED), ...Object.keys(KINDS)]);
  throw new DrmError(
    'USAGE',
    `--scorer ${name}: expected one of ${known()}${guess ? `; did you mean ${KINDS[guess]?.usage ?? guess}?` : ''}`,
    { scorer: name },
  );
}

/** Throws DrmError USAGE for a name that is none, and what the scorer's own loading throws. */
export async function loadScorer(name: string, options: ScorerOptions): Promise<Scorer> {
  const { kind, at } = find(name);
  return kind.load(name, at, options);
}

export async function scorerWeights(name: string): Promise<string[]> {
  const { kind, at } = find(name);
  return kind.weights(at);
}
