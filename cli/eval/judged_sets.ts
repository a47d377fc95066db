// The prepared sets that `drm eval pairs` is given, opened, each with what its protocols need.
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { type Manifest, readManifest } from '../data/prepared/manifest.js';
import { PairSet } from '../data/prepared/pair_set.js';
import type { ProtocolName } from '../data/sets/published.js';
import { epochOrder } from '../random/order.js';
import { needsRankings } from './pair_accuracy.js';
import { PairScores } from './pair_scores.js';

interface OpenPairs {
  set: PairSet;
  scores: PairScores;
}

export interface JudgedSet extends OpenPairs {
  folder: string;
  /** What it is called beside others. */
  label: string;
  /** Pairs that tie-aware counting takes its threshold from. */
  validation?: OpenPairs;
}

export interface AskedSets {
  folders: readonly string[];
  /** All by default; of several sets each has those of these that it holds. */
  splits?: readonly string[] | undefined;
  /** DIR or DIR:SPLIT, for tie-aware counting. */
  validation?: string | undefined;
  protocols?: readonly ProtocolName[] | undefined;
  /** Pairs of each set, chosen by seed. */
  most?: number | undefined;
  seed: number;
}

const ends = <T>(all: readonly T[]) => (all.length === 1 ? 's' : '');

function splitsOf(folder: string, { splits: all }: Manifest, asked: readonly string[] | undefined, alone: boolean) {
  if (asked === undefined || alone) return asked;
  const held = asked.filter((split) => all[split] !== undefined);
  if (held.length > 0) return held;
  throw new DrmError(
    'BAD_REQUEST',
    `[data] ${folder}: expected split ${asked.join(' or ')}, found ${Object.keys(all).join(', ')}`,
    { file: folder },
  );
}

async function openPairs(
  folder: string,
  split: readonly string[] | undefined,
  { most, seed }: Pick<AskedSets, 'most' | 'seed'>,
  signal: AbortSignal,
): Promise<OpenPairs> {
  const set = await PairSet.open(folder, split === undefined ? {} : { split });
  try {
    const which =
      most !== undefined && most < set.length
        ? epochOrder(seed, 0, set.length).slice(0, most).sort()
        : Array.from({ length: set.length }, (_, i) => i);
    return { set, scores: await PairScores.open(set, which, signal) };
  } catch (error) {
    await set.close();
    throw error;
  }
}

const unfit = (folder: string, why: string) => new DrmError('USAGE', `--protocol tie-aware: ${folder} ${why}`);

/** Folder and split that the threshold of tie-aware counting is found on. Throws DrmError USAGE saying what is missing. */
function validationOf(folder: string, manifest: Manifest, { splits, validation }: AskedSets) {
  const names = Object.keys(manifest.splits);
  const judged = splits?.filter((name) => names.includes(name)) ?? names;
  const [split = ''] = judged;
  if (judged.length !== 1)
    throw unfit(
      folder,
      `has the splits ${names.join(', ')}: expected one that is judged; give --split, such as --split test_unique`,
    );
  const colon = validation?.lastIndexOf(':') ?? -1;
  const [where = folder, named] =
    validation === undefined || existsSync(validation) || colon < 1
      ? [validation]
      : [validation.slice(0, colon), validation.slice(colon + 1)];
  const other = where === folder ? manifest : readManifest(where, 'pairs');
  const wanted = named ?? split.replace('test', 'validation');
  for (const [at, { settings }] of [
    [folder, manifest],
    [where, other],
  ] as const)
    if (settings.ties !== true)
      throw unfit(at, 'was prepared without its ties, which this protocol counts; prepare it again with --keep-ties');
  if (other.splits[wanted] === undefined || (where === folder && wanted === split))
    throw unfit(
      where,
      `has no split ${wanted === split ? 'but the judged one' : wanted} (${Object.keys(other.splits).join(', ')}), on which the threshold for ties is found; name prepared pairs of it with --validation DIR:SPLIT`,
    );
  return { folder: where, split: wanted };
}

/** Labels that tell the folders apart. */
function labelsOf(folders: readonly string[]): string[] {
  const names = folders.map((folder) => basename(folder));
  return new Set(names).size === names.length ? names : [...folders];
}

/**
 * All sets, in order. `warn` hears of protocols that do not fit one of several. Throws DrmError USAGE for a protocol that
 * fits none, and what opening a set throws.
 */
export async function openSets(
  asked: AskedSets,
  signal: AbortSignal,
  warn: (message: string) => void,
): Promise<JudgedSet[]> {
  const { folders, protocols = [] } = asked;
  const labels = labelsOf(folders);
  const sets: JudgedSet[] = [];
  const unfitting: DrmError[] = [];
  try {
    for (const [i, folder] of folders.entries()) {
      const manifest = readManifest(folder, 'pairs');
      const splits = splitsOf(folder, manifest, asked.splits, folders.length === 1);
      const opened: JudgedSet = {
        folder,
        label: labels[i] as string,
        ...(await openPairs(folder, splits, asked, signal)),
      };
      sets.push(opened);
      if (!protocols.includes('tie-aware')) continue;
      try {
        const from = validationOf(folder, manifest, asked);
        opened.validation = await openPairs(from.folder, [from.split], { seed: asked.seed }, signal);
      } catch (error) {
        if (!(error instanceof DrmError) || error.code !== 'USAGE') throw error;
        unfitting.push(error);
      }
    }
    for (const protocol of protocols) {
      const fits = ({ scores, validation }: JudgedSet) =>
        protocol === 'tie-aware' ? validation !== undefined : !needsRankings(protocol) || scores.ranked;
      const without = sets.filter((set) => !fits(set));
      if (without.length === 0) continue;
      const why =
        protocol === 'tie-aware'
          ? unfitting.map(({ message }) => message).join('; ')
          : `--protocol ${protocol} counts rankings, as HPDv2's and ImageReward's, and ${without.map(({ folder }) => folder).join(', ')} hold${ends(without)} pairs alone`;
      if (without.length === sets.length) throw new DrmError('USAGE', `${why}; or leave the protocol out`);
      warn(`${why}: left out there`);
    }
    return sets;
  } catch (error) {
    await closeSets(sets);
    throw error;
  }
}

export async function closeSets(sets: readonly JudgedSet[]): Promise<void> {
  for (const { set, validation } of sets) {
    await set.close();
    await validation?.set.close();
  }
}
