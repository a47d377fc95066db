// Means with confidence intervals by resampling (Efron 1979, percentiles).
import { philox } from '../random/philox.js';

export interface Estimate {
  mean: number;
  /** 95 % interval. */
  low: number;
  high: number;
  /** Independent groups that it rests on. */
  n: number;
}

/** Keeps this use of random numbers apart from all others ("boot"). */
const PURPOSE = 0x626f6f74;
const RESAMPLES = 2000;
/** Draws at most, so that a million groups take seconds; with so many the interval is sure with fewer resamples. */
const DRAWS = 2e8;
const FEWEST_RESAMPLES = 200;

/**
 * The mean over groups of their means, and how far it could lie elsewhere. Images of one prompt are one group: they
 * are alike, and counting each for itself would make the interval too narrow. The same values give the same interval.
 */
export function estimate(groups: readonly (readonly number[])[]): Estimate {
  const means = groups.filter((group) => group.length > 0).map(average);
  return resample(
    means,
    means.map(() => 1),
  );
}

/** Likewise the mean over all values, of whatever group: a group of many counts for many. */
export function pooled(groups: readonly (readonly number[])[]): Estimate {
  const filled = groups.filter((group) => group.length > 0);
  return resample(
    filled.map((group) => group.reduce((sum, value) => sum + value, 0)),
    filled.map((group) => group.length),
  );
}

/** The ratio of two sums over groups, resampled group by group. */
function resample(sums: readonly number[], counts: readonly number[]): Estimate {
  const n = sums.length;
  const mean = total(sums) / total(counts);
  if (n < 2) return { mean, low: mean, high: mean, n };
  const resamples = Math.min(RESAMPLES, Math.max(FEWEST_RESAMPLES, Math.floor(DRAWS / n)));
  const means = Float64Array.from({ length: resamples }, (_, at) => {
    let sum = 0;
    let count = 0;
    for (let block = 0; block * 4 < n; block++) {
      const words = philox([block, at, PURPOSE, 0], [0, 0]);
      for (let i = 0; i < 4 && block * 4 + i < n; i++) {
        const drawn = Math.floor(((words[i] as number) / 2 ** 32) * n);
        sum += sums[drawn] as number;
        count += counts[drawn] as number;
      }
    }
    return sum / count;
  }).sort();
  const at = (share: number) => means[Math.round(share * (resamples - 1))] as number;
  return { mean, low: at(0.025), high: at(0.975), n };
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

export const average = (values: readonly number[]): number =>
  values.length === 0 ? Number.NaN : total(values) / values.length;
