// Is it learning or cheating? Reads the figures of a policy's training and says in words when they go wrong. Pure: a
// function of the figures it was given, and its state is plain data, so that a resumed run sees what the first one did.

import { anything, count, listOf, mapOf, objectOf, type Shape, text } from '../common/shape.js';
import type { GrpoSettings } from '../config/types.js';
import type { Values } from '../train/training_task.js';
import { quantity, shortNumber } from '../ui/figures.js';

/** Names that rules had before, in configs and runs that people have. */
const FORMERLY = { 'pictures-change': 'images-change' } as const;

type Former = keyof typeof FORMERLY;
export type Rule = Exclude<GrpoSettings['stop_when'][number], Former>;

export const ruleOf = (name: Rule | Former): Rule => (name in FORMERLY ? FORMERLY[name as Former] : (name as Rule));

export interface Alarm {
  rule: Rule;
  message: string;
}

/** An evaluation, with what the judge said of each image: images of two evaluations are of the same prompts and seeds. */
export interface Evaluated {
  step: number;
  values: Values;
  judged: number[];
}

export interface MonitorState {
  /** The last figures of each iteration, oldest first. */
  recent: Record<string, number[]>;
  /** Means over the first iterations, of figures that are held against what they were. */
  first: Record<string, { sum: number; count: number }>;
  iterations: number;
  evaluations: { first?: Evaluated; best?: Evaluated };
  /** Evaluations in a row at which the judge fell. */
  fallen: number;
  /** What holds now: it is told of when it begins to. */
  on: Partial<Record<Rule, string>>;
}

export const MONITOR_STATE = objectOf({
  recent: mapOf(listOf(anything)),
  first: mapOf(anything),
  iterations: count,
  evaluations: mapOf(anything),
  fallen: count,
  on: mapOf(text),
}) as Shape<MonitorState>;

export interface MonitorOptions {
  clipRange: number;
  updates: number;
}

/** Iterations that a figure is looked at over, so that a single one that is odd says nothing. */
const SPAN = 5;
/** Kept of each figure. */
const KEPT = 50;
const WATCHED = ['group_deviation', 'zero_variance', 'ratio', 'clip_fraction', 'kl', 'grad_norm'];

/** Of what it was in the first iterations, the deviation within groups is all but gone. */
const EQUAL = 0.05;
const MOSTLY = 0.5;
const CLIPPED = 0.8;
/** On-policy nothing is clipped, but for rounding. */
const CLIPPED_ON_POLICY = 0.01;
const DRIFT_IN_CLIP_RANGES = 2;
const KL = { span: 10, after: 30, growth: 3 };
const JUMP = { times: 10, after: 10 };
/** The judge's fall has to be so many standard errors, at so many evaluations in a row, on so many images at least. */
const FALL = { errors: 3, times: 2, images: 4 };
const IMAGES: { figure: string; least: number; most: number; words: [string, string] }[] = [
  { figure: 'brightness', least: 0.6, most: 1.6, words: ['dark', 'pale'] },
  { figure: 'saturation', least: 0.5, most: 1.5, words: ['grey', 'lurid'] },
  { figure: 'high_frequency', least: 0.5, most: 1.5, words: ['blurred', 'grainy or full of edges'] },
];

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] as number;
}

const percent = (share: number) => `${Number((100 * share).toFixed(share < 0.1 ? 1 : 0))} %`;

/** Mean and standard error of the differences, image by image. */
function difference(now: readonly number[], before: readonly number[]): { mean: number; error: number } {
  const each = now.map((value, i) => value - (before[i] as number));
  const m = mean(each);
  return { mean: m, error: Math.sqrt(mean(each.map((d) => (d - m) ** 2)) / Math.max(1, each.length - 1)) };
}

export class Monitor {
  constructor(
    private readonly options: MonitorOptions,
    readonly state: MonitorState = { recent: {}, first: {}, iterations: 0, evaluations: {}, fallen: 0, on: {} },
  ) {}

  /** An iteration's figures; gives what is wrong since now. */
  iteration(values: Values): Alarm[] {
    const { state } = this;
    const before = { ...state.recent };
    state.iterations += 1;
    for (const name of WATCHED) {
      const value = values[name];
      if (value === undefined || !Number.isFinite(value)) continue;
      state.recent[name] = [...(state.recent[name] ?? []), value].slice(-KEPT);
      const first = state.first[name] ?? { sum: 0, count: 0 };
      if (first.count < SPAN) state.first[name] = { sum: first.sum + value, count: first.count + 1 };
    }
    return this.#begun([
      ['rewards-equal', this.#rewardsEqual()],
      ['groups-equal', this.#groupsEqual()],
      ['ratio-drifts', this.#ratioDrifts()],
      ['ratio-clipped', this.#ratioClipped()],
      ['kl-grows', this.#klGrows()],
      ['gradient-jumps', gradientJumps(before.grad_norm ?? [], values.grad_norm)],
    ]);
  }

  /** An evaluation's figures, likewise. */
  evaluation(now: Evaluated): Alarm[] {
    const { evaluations } = this.state;
    const { first, best } = evaluations;
    const alarms = this.#begun([
      ['judge-falls', this.#judgeFalls(now, best)],
      ['images-change', first && imagesChange(now, first)],
    ]);
    evaluations.first ??= now;
    if (now.judged.length > 0 && (!best || mean(now.judged) > mean(best.judged))) evaluations.best = now;
    return alarms;
  }

  /** Of these rules, those that hold and did not before. */
  #begun(told: [Rule, string | undefined][]): Alarm[] {
    const was = this.state.on;
    const on: MonitorState['on'] = { ...was };
    for (const [rule, message] of told) {
      if (message === undefined) delete on[rule];
      else on[rule] = message;
    }
    this.state.on = on;
    return told.flatMap(([rule, message]) =>
      message === undefined || was[rule] !== undefined ? [] : [{ rule, message }],
    );
  }

  /** Mean over the last iterations; undefined where there are too few. */
  #lately(name: string, span = SPAN): number | undefined {
    const all = this.state.recent[name] ?? [];
    return all.length >= span ? mean(all.slice(-span)) : undefined;
  }

  #rewardsEqual(): string | undefined {
    const { sum = 0, count = 0 } = this.state.first.group_deviation ?? {};
    const now = this.#lately('group_deviation');
    const then = sum / count;
    if (now === undefined || now > EQUAL * then) return undefined;
    return `the rewards of a group have become all but equal: they deviate by ${shortNumber(now)}${then > 0 ? `, ${percent(now / then)} of what it was at first` : ''}, and nothing tells better from worse any more. If it was so from the start, raise noise_level or --k/--group; if images have become alike, go back to an earlier checkpoint and raise kl_beta`;
  }

  #groupsEqual(): string | undefined {
    const share = this.#lately('zero_variance');
    if (share === undefined || share <= MOSTLY) return undefined;
    return `${percent(share)} of the groups have rewards that are all equal, and teach nothing: the reward does not tell their images apart. Raise noise_level or --k/--group, or choose harder prompts`;
  }

  #ratioDrifts(): string | undefined {
    const { clipRange } = this.options;
    const ratio = this.#lately('ratio');
    if (ratio === undefined || Math.abs(ratio - 1) <= DRIFT_IN_CLIP_RANGES * clipRange) return undefined;
    return `the ratio drifts: its mean is 1 ${ratio < 1 ? '-' : '+'} ${shortNumber(Math.abs(ratio - 1))}, ${shortNumber(Math.abs(ratio - 1) / clipRange)} clip ranges from 1, so that clipping acts on one side alone. Lower the learning rate, or take fewer updates an iteration (--set updates_per_iteration=1)`;
  }

  #ratioClipped(): string | undefined {
    const { updates } = this.options;
    const share = this.#lately('clip_fraction');
    if (share === undefined) return undefined;
    if (updates === 1)
      return share > CLIPPED_ON_POLICY
        ? `${percent(share)} of the ratios are clipped although each update is the first on its trajectories, where they are 1: sampling and training disagree. Take --set micro_batch=0, or fp32`
        : undefined;
    // The first update of an iteration is on-policy: its ratios are 1.
    const later = (share * updates) / (updates - 1);
    if (later <= CLIPPED) return undefined;
    return `${percent(later)} of the ratios are clipped after an iteration's first update, so that little of it is learned from. Lower the learning rate, or raise clip_range`;
  }

  #klGrows(): string | undefined {
    const all = this.state.recent.kl ?? [];
    if (this.state.iterations < KL.after || all.length < 2 * KL.span) return undefined;
    const now = mean(all.slice(-KL.span));
    const then = mean(all.slice(-2 * KL.span, -KL.span));
    if (!(then > 0) || now <= KL.growth * then) return undefined;
    return `the divergence from the base grows fast: KL ${shortNumber(then)} → ${shortNumber(now)} within ${KL.span} iterations. Raise kl_beta or lower the learning rate before the images go`;
  }

  #judgeFalls(now: Evaluated, best: Evaluated | undefined): string | undefined {
    const { state } = this;
    if (!best || now.judged.length < FALL.images || now.judged.length !== best.judged.length) return undefined;
    const { mean: change, error } = difference(now.judged, best.judged);
    const [was, is] = [best.values.reward ?? Number.NaN, now.values.reward ?? Number.NaN];
    state.fallen = change < -FALL.errors * error && is > was ? state.fallen + 1 : 0;
    if (state.fallen < FALL.times) return undefined;
    return `the judge falls while the reward rises: ${shortNumber(mean(best.judged))} after ${best.step} iterations, ${shortNumber(mean(now.judged))} now (${shortNumber(change)} ± ${shortNumber(error)} on the same ${now.judged.length} prompts), the reward ${shortNumber(was)} → ${shortNumber(is)}. The policy has begun to please the reward instead of people: compare the sample sheets, and raise kl_beta or stop earlier`;
  }
}

function gradientJumps(before: readonly number[], now: number | undefined): string | undefined {
  if (now === undefined || before.length < JUMP.after) return undefined;
  const usual = median(before);
  if (!(now > JUMP.times * usual)) return undefined;
  return `the gradient's norm is ${shortNumber(now)}, ${shortNumber(now / usual)} times what is usual (${shortNumber(usual)}); if it stays there, lower the learning rate`;
}

function imagesChange(now: Evaluated, first: Evaluated): string | undefined {
  const told = IMAGES.flatMap(({ figure, least, most, words: [low, high] }) => {
    const [was, is] = [first.values[figure], now.values[figure]];
    if (was === undefined || is === undefined || !(was > 0)) return [];
    const times = is / was;
    return times >= least && times <= most
      ? []
      : [
          `${times < least ? low : high} (${figure.replaceAll('_', ' ')} ${quantity(figure, was)} → ${quantity(figure, is)})`,
        ];
  });
  if (told.length === 0) return undefined;
  return `the images have become ${told.join(' and ')} since the beginning: look at the sample sheets; rewards are often cheated this way`;
}
