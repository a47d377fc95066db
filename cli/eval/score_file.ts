// Scores that any program gave, judged by the preference sets' own protocols: `drm eval pairs --scores FILE`.
//
// FILE is JSON. Either a table with --from LIST: one row a record of the list, one number an image of the record, in the
// list's order. Or an object with a table for each list, under the set's name and split:
//   { "hpdv3_test": [[7.1, 2.9], ...], "hpdv2_test": [[...], ...], "imagereward_test": [...], "pickapic_test_unique": [...] }
// A table may be wrapped as { "scores": [...] }; Pick-a-Pic's as { "scores_validation": [...], "scores_test": [...] }, since
// its threshold for ties is found on the validation split. null: the image could not be scored.
import { dirname } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { isObject, readJson } from '../common/json.js';
import { brief } from '../common/shape.js';
import type { ProtocolName } from '../data/sets/published.js';
import {
  type ChoiceList,
  findListFiles,
  type JudgedList,
  knownSets,
  type RankedList,
  readJudgedList,
  splitKey,
} from './judged_lists.js';
import type { Unusable } from './list_images.js';
import {
  bestThreshold,
  type Figure,
  meanOverPrompts,
  pooledRankings,
  rankAgreement,
  type ScoredChoice,
  type ScoredRanking,
  strict,
  strictChoices,
  tieAware,
} from './protocols.js';

type Table = (number | null)[][];

export interface ListScores {
  /** As in the file; the list's own name where there is one table alone. */
  name: string;
  list: string[];
  scores: Table;
  validation?: { list: string[]; scores: Table };
}

export interface ListFigures {
  list: string;
  files: string[];
  records: number;
  figures: Figure[];
  /** Sentences worth telling. */
  notes: string[];
}

const bad = (file: string, what: string): DrmError => new DrmError('BAD_FILE', `[eval] ${file}: ${what}`, { file });

function checkTable(file: string, name: string, table: unknown): Table {
  const where = name === '' ? '' : `${name}: `;
  if (!Array.isArray(table)) throw bad(file, `${where}expected a table of scores, one row a record of the list`);
  const odd = table.findIndex(
    (row) => !Array.isArray(row) || !row.every((score) => score === null || Number.isFinite(score)),
  );
  if (odd >= 0) throw bad(file, `${where}row ${odd}: expected numbers or null, found ${brief(table[odd])}`);
  return table as Table;
}

/** The tables of a score file, each with the files of its list. `from` is the list itself, or the folder of the lists. */
export function readScores(file: string, from: string | undefined): ListScores[] {
  const value = readJson(file, { part: 'eval' });
  const tables = isObject(value) ? value : {};
  const alone = Array.isArray(value) ? value : (tables.scores ?? undefined);
  if (alone !== undefined) {
    if (from === undefined || !/\.(json|parquet)$/i.test(from))
      throw new DrmError('USAGE', `--scores ${file}: a table alone does not say its list; give --from LIST.json`);
    return [{ name: from, list: [from], scores: checkTable(file, '', alone) }];
  }
  const root = from ?? dirname(file);
  const entries = Object.entries(tables).filter(([, table]) => table !== null);
  if (entries.length === 0) throw bad(file, 'expected at least one table of scores, found none');
  return entries.map(([name, entry]): ListScores => {
    const key = splitKey(name);
    if (!key)
      throw bad(
        file,
        `${JSON.stringify(name)}: expected the name of a set and its split (${knownSets()
          .map((set) => `${set}_SPLIT`)
          .join(', ')})`,
      );
    const { set, split } = key;
    const held = isObject(entry) ? entry : {};
    const scores = checkTable(file, name, Array.isArray(entry) ? entry : (held.scores ?? held.scores_test));
    const list = findListFiles(root, set, split);
    if ((held.scores_validation ?? undefined) === undefined) return { name, list, scores };
    return {
      name,
      list,
      scores,
      validation: {
        list: findListFiles(root, set, split.replace('test', 'validation')),
        scores: checkTable(file, `${name}, validation`, held.scores_validation),
      },
    };
  });
}

/** The table's rows must be the list's records, image for image. */
function checkShape(name: string, list: JudgedList, scores: Table): void {
  const [file = ''] = list.files;
  const shape = (what: string) =>
    new DrmError('BAD_SHAPE', `[eval] ${name}: ${what}; scores must be in the order of ${file}`, { file });
  if (scores.length !== list.records.length)
    throw shape(`expected ${list.records.length} rows of scores, found ${scores.length}`);
  for (const [i, row] of scores.entries()) {
    const images = list.kind === 'choices' ? 2 : (list.records[i] as { images: string[] }).images.length;
    if (row.length !== images) throw shape(`row ${i}: expected ${images} scores, found ${row.length}`);
  }
}

const given = (score: number | null | undefined): number | undefined => score ?? undefined;

function choicesOf(list: ChoiceList, scores: Table): ScoredChoice[] {
  return list.records.flatMap(({ prompt: group, label }, i): ScoredChoice[] =>
    label === undefined ? [] : [{ label, scores: [given(scores[i]?.[0]), given(scores[i]?.[1])], group }],
  );
}

/** A record with equal ranks has no preferred image: `tied` counts those. */
function strictRecords(rankings: readonly (ScoredRanking & { prompt: string })[]): Figure {
  const decided = rankings.filter(({ ranks: [first, second] }) => first !== second);
  const counted = strict(
    decided.map(({ prompt: group, ranks: [first = 0, second = 0], scores: [one, two] }) =>
      first < second ? { chosen: one, rejected: two, group } : { chosen: two, rejected: one, group },
    ),
  );
  return { ...counted, tied: rankings.length - decided.length };
}

const OF_RANKINGS: Partial<Record<ProtocolName, (rankings: readonly ScoredRanking[]) => Figure>> = {
  rank: rankAgreement,
  pooled: pooledRankings,
  'mean-over-prompts': meanOverPrompts,
};

export interface JudgeOptions {
  /** Instead of the lists' own; each list takes those that fit it. */
  protocols?: readonly ProtocolName[];
  /** Whose images cannot be used. Without it no image is looked at. */
  unusable?: (list: RankedList) => Promise<Unusable>;
}

const FITTING: Record<JudgedList['kind'], readonly ProtocolName[]> = {
  pairs: ['strict'],
  rankings: ['rank', 'pooled', 'mean-over-prompts'],
  choices: ['strict', 'tie-aware'],
};

/** What a table of scores is worth. */
export async function judgeScores(entry: ListScores, { protocols, unusable }: JudgeOptions): Promise<ListFigures> {
  const { name, scores } = entry;
  const list = await readJudgedList(entry.list);
  checkShape(name, list, scores);
  const notes: string[] = [];
  const wanted = protocols?.filter((protocol) => FITTING[list.kind].includes(protocol)) ?? list.protocols;
  const result = { list: name, files: list.files, records: list.records.length, notes };
  if (list.kind === 'choices') {
    const choices = choicesOf(list, scores);
    if (choices.length < list.records.length)
      notes.push(`${name}: ${list.records.length - choices.length} rows without a label that says anything left out`);
    const threshold = wanted.includes('tie-aware') ? await validationThreshold(entry, notes) : undefined;
    const figures = wanted.flatMap((protocol) =>
      protocol === 'strict' ? [strictChoices(choices)] : threshold === undefined ? [] : [tieAware(choices, threshold)],
    );
    return { ...result, figures };
  }
  const out = await unusable?.(list);
  if (out?.looked === false)
    notes.push(`${name}: its images are not beside ${list.files[0]}; pairs fail only where a score is null`);
  else if (out && out.names.size > 0)
    notes.push(`${name}: images that cannot be used: ${out.missing} missing, ${out.undecodable} undecodable`);
  const rankings = list.records.map(({ prompt, images, ranks }, i) => ({
    prompt,
    ranks,
    scores: images.map((image, place) => (out?.names.has(image) ? undefined : given(scores[i]?.[place]))),
  }));
  const figures = wanted.flatMap((protocol) => {
    if (protocol === 'strict') return [strictRecords(rankings)];
    const count = OF_RANKINGS[protocol];
    return count ? [count(rankings)] : [];
  });
  return { ...result, figures };
}

async function validationThreshold({ name, validation }: ListScores, notes: string[]): Promise<number | undefined> {
  if (!validation) {
    notes.push(`${name}: tie-aware counting takes its threshold from the validation split (scores_validation)`);
    return undefined;
  }
  const list = await readJudgedList(validation.list);
  checkShape(`${name}, validation`, list, validation.scores);
  if (list.kind !== 'choices') throw bad(validation.list[0] ?? '', 'expected a list of choices');
  return bestThreshold(choicesOf(list, validation.scores));
}
