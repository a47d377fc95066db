// What steps will take, before they are run: what steps of the kind took on this machine; else what the command itself
// plans; else the config's costs.

import { own } from '../common/shape.js';
import type { ReproduceSettings } from '../config/types.js';
import { duration } from '../ui/figures.js';
import type { ChainFolder } from './folder.js';
import type { Kind, Step } from './step.js';

export interface Estimate {
  /** Undefined where nothing is known. */
  seconds: number | undefined;
  bytes: number | undefined;
  by: 'measured here' | 'its own plan' | 'the config' | 'nothing';
}

interface Measured {
  seconds: number;
  bytes: number;
}

/** Of what was measured to what the costs say; where they say nothing, of one unit. */
type Ratio = Measured;

const ratioOf = (measured: readonly Measured[], reckoned: readonly Measured[], key: keyof Measured): number => {
  const sum = (all: readonly Measured[]) => all.reduce((total, one) => total + one[key], 0);
  return sum(reckoned) > 0 ? sum(measured) / sum(reckoned) : 0;
};

export class Estimator {
  readonly #ratios = new Map<Kind, Ratio>();

  constructor(
    private readonly costs: ReproduceSettings['costs'],
    /** Seconds that the command plans for a step, where it has been asked. */
    private readonly planned: ReadonlyMap<string, number> = new Map(),
  ) {}

  /** By start and unit; of a kind without costs a unit of each is 1. */
  #reckon({ kind, units }: Step): Measured {
    const cost = own(this.costs, kind);
    if (!cost) return { seconds: units, bytes: units };
    return { seconds: cost.start + cost.seconds * units, bytes: cost.bytes + cost.unit_bytes * units };
  }

  /** Learns from the steps that are done; interrupted ones took more than they say. */
  learn(steps: readonly Step[], folder: ChainFolder): this {
    this.#ratios.clear();
    const done = steps.flatMap((step) => {
      const { record } = folder.look(step);
      return record && !record.resumed ? [{ step, record }] : [];
    });
    for (const kind of new Set(done.map(({ step }) => step.kind))) {
      const own = done.filter(({ step }) => step.kind === kind);
      const reckoned = own.map(({ step }) => this.#reckon(step));
      const ratio = (key: keyof Measured) =>
        ratioOf(
          own.map(({ record }) => record),
          reckoned,
          key,
        );
      this.#ratios.set(kind, { seconds: ratio('seconds'), bytes: ratio('bytes') });
    }
    return this;
  }

  of(step: Step): Estimate {
    const { seconds, bytes } = this.#reckon(step);
    const ratio = this.#ratios.get(step.kind);
    if (ratio) return { seconds: seconds * ratio.seconds, bytes: bytes * ratio.bytes, by: 'measured here' };
    const hasCosts = own(this.costs, step.kind) !== undefined;
    const planned = this.planned.get(step.id);
    if (planned !== undefined) return { seconds: planned, bytes: hasCosts ? bytes : undefined, by: 'its own plan' };
    return hasCosts ? { seconds, bytes, by: 'the config' } : { seconds: undefined, bytes: undefined, by: 'nothing' };
  }
}

/** Of steps in order: what the first takes and what all of them that are not done take, in words. */
export function timeLeft(
  steps: readonly Step[],
  folder: ChainFolder,
  estimator: Estimator,
): { first: string; all: string } {
  const left = steps.filter((step) => folder.look(step).state !== 'done').map((step) => estimator.of(step).seconds);
  const words = (all: readonly (number | undefined)[]) =>
    all.some((one) => one === undefined)
      ? 'an unknown time'
      : duration(all.reduce<number>((sum, one) => sum + (one ?? 0), 0));
  return { first: words(left.slice(0, 1)), all: words(left) };
}
