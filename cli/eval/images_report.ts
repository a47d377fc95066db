// What `drm eval images` found, as JSON and as people read it.
import type { SampleSettings } from '../config/types.js';
import { cutStart } from '../text/columns.js';
import { percent, plusMinus, table } from '../ui/table.js';
import { average, type Estimate, estimate } from './bootstrap.js';
import type { Diversity } from './diversity.js';
import type { Judgement, Verdict } from './judge.js';

/** A setting against the first one on the same prompts and seeds: differences of the two, prompt by prompt. */
export interface PairedDifference {
  scorer: string;
  score: Estimate;
  top1?: Estimate;
  diversity?: Estimate;
}

/** Where the seconds of an image went; only a CPU has done the work when a call returns. */
export interface Cost {
  policy: number;
  reward: number;
  branch: number;
}

export interface Row {
  setting: string;
  folder: string;
  settings: SampleSettings;
  images: number;
  /** Undefined when all images are of earlier runs that did not say. */
  seconds_per_image?: number;
  /** Of the first row's. */
  time_ratio?: number;
  cost?: Cost;
  verdicts: Verdict[];
  /** Of all rows but the first. */
  against_first?: PairedDifference[];
  /** By the distance that was asked for; of all rows but the first with the difference to it. */
  diversity?: Diversity & { against_first?: Estimate };
}

export interface Results {
  drm: string;
  model: string;
  weights: string;
  reference?: { folder: string; images: number; captions: number; verdicts: Verdict[] };
  rows: Row[];
}

/** By a distance: both have the same prompts in the same order. */
export const furtherThan = (one: readonly number[], first: readonly number[]): Estimate =>
  estimate(one.map((value, i) => [value - (first[i] as number)]));

/** Both have the same prompts in the same order. */
function paired(one: number[][] | undefined, first: number[][] | undefined): Estimate | undefined {
  if (!one || !first) return undefined;
  return estimate(one.map((group, i) => [average(group) - average(first[i] as number[])]));
}

export function against(one: Judgement, first: Judgement): PairedDifference {
  const top1 = paired(one.top1, first.top1);
  const diversity = paired(one.diversity, first.diversity);
  return {
    scorer: one.verdict.scorer,
    score: paired(one.score, first.score) as Estimate,
    ...(top1 && { top1 }),
    ...(diversity && { diversity }),
  };
}

const HEAD = ['setting', 'score', 'top-1 %', 'top-5 %', 'CMMD', 'unbiased', 's/img'];

function cells(setting: string, { score, retrieval, cmmd }: Verdict, seconds?: number): string[] {
  return [
    setting,
    plusMinus(score, 4),
    retrieval ? percent(retrieval.top1) : '-',
    retrieval ? percent(retrieval.top5) : '-',
    cmmd ? cmmd.biased.toFixed(3) : '-',
    cmmd ? cmmd.unbiased.toFixed(3) : '-',
    seconds === undefined ? '-' : seconds.toFixed(2),
  ];
}

const signed = (value: string): string => (value.startsWith('-') ? value : `+${value}`);

/** What the first row and its kind lack: differences to it, diversity, the price. */
function comparison(rows: readonly Row[], at: number): string[] {
  const [first] = rows;
  const diverse = rows.some(({ verdicts }) => verdicts[at]?.diversity);
  if (rows.length < 2 && !diverse) return [];
  const head = [
    rows.length > 1 ? `against ${first?.setting}` : 'setting',
    ...(rows.length > 1 ? ['score', 'top-1 points'] : []),
    ...(diverse ? ['diversity'] : []),
    ...(rows.length > 1 ? ['time'] : []),
  ];
  const lines = rows.map(({ setting, verdicts, against_first: all, time_ratio: ratio }) => {
    const ahead = all?.[at];
    const diversity = verdicts[at]?.diversity;
    return [
      setting,
      ...(rows.length > 1
        ? [ahead ? signed(plusMinus(ahead.score, 4)) : '-', ahead?.top1 ? signed(percent(ahead.top1)) : '-']
        : []),
      ...(diverse ? [diversity ? plusMinus(diversity, 4) : '-'] : []),
      ...(rows.length > 1 ? [ratio === undefined ? '-' : `x ${ratio.toFixed(2)}`] : []),
    ];
  });
  const words = diverse ? ["diversity: 1 - cosine of image features, over all pairs of a prompt's images"] : [];
  return [table(head, lines), ...words];
}

const shares = ({ policy, reward, branch }: Cost, seconds: number): string =>
  `policy ${((100 * policy) / seconds).toFixed(0)} %, reward ${((100 * reward) / seconds).toFixed(0)} %, branching ${((100 * branch) / seconds).toFixed(1)} %`;

/** Of the dearest setting. */
function priceOf(rows: readonly Row[]): string[] {
  const dear = rows
    .filter(({ cost }) => cost && cost.reward > 0)
    .sort((a, b) => (b.seconds_per_image ?? 0) - (a.seconds_per_image ?? 0))[0];
  return dear?.cost && dear.seconds_per_image !== undefined
    ? [`time of ${dear.setting || 'an image'}: ${shares(dear.cost, dear.seconds_per_image)}`]
    : [];
}

/** What the distance of a prompt's images says, setting by setting. */
function diversityOf(model: string, rows: readonly Row[]): string[] {
  const [first] = rows;
  if (!first?.diversity) return [];
  const { distance, definition, pairs, mean } = first.diversity;
  const several = rows.length > 1;
  const lines = rows.map(({ setting, diversity }) => [
    setting || model,
    diversity ? plusMinus(diversity.mean, 4) : '-',
    ...(several ? [diversity?.against_first ? signed(plusMinus(diversity.against_first, 4)) : '-'] : []),
  ]);
  const head = ['setting', 'distance', ...(several ? [`against ${first.setting}`] : [])];
  return [
    `diversity by ${distance}: ${definition}\n${pairs} pairs of images of ${mean.n} prompts\n${table(head, lines)}`,
  ];
}

/** Scorers side by side in 80 columns. */
const ABREAST = 3;

/** All scores at once: the settings down, the scorers across, as papers have them. */
function overview(model: string, rows: readonly Row[]): string[] {
  const scorers = rows[0]?.verdicts.map(({ scorer }) => scorer) ?? [];
  if (scorers.length < 2) return [];
  const parts: string[] = [];
  for (let from = 0; from < scorers.length; from += ABREAST) {
    const some = Array.from(scorers.slice(from, from + ABREAST).keys(), (i) => from + i);
    const lines = rows.map(({ setting, verdicts }) => [
      setting || model,
      ...some.map((at) => plusMinus((verdicts[at] as Verdict).score, 4)),
    ]);
    parts.push(table(['setting', ...some.map((at) => cutStart(scorers[at] as string, 20))], lines));
  }
  return [parts.join('\n\n')];
}

/** Tables for each judge: their numbers cannot be compared, those of settings can. */
export function report(model: string, { rows, reference }: Results): string {
  const scorers = rows[0]?.verdicts ?? [];
  return scorers
    .map(({ scorer, unit, images, retrieval }, at) => {
      const lines = rows.map((row) => cells(row.setting || model, row.verdicts[at] as Verdict, row.seconds_per_image));
      const real = reference?.verdicts.find((verdict) => verdict.scorer === scorer);
      if (real) lines.push(cells('real images', real));
      const among = retrieval ? `, captions found among ${retrieval.among}` : '';
      const tables = [table(HEAD, lines), ...comparison(rows, at)].join('\n');
      return `${scorer}: ${unit} of ${images} images${among}\n${tables}`;
    })
    .concat(diversityOf(model, rows), overview(model, rows), priceOf(rows))
    .join('\n\n');
}
