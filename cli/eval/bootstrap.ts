// Means with confidence intervals by resampling (Efron 1979, percentiles).
import { philox } from '../data/order.js';

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

/**
 * The mean over groups of their means, and how far it could lie elsewhere. Pictures of one prompt are one group: they
 * are alike, and counting each for itself would make the interval too narrow. The same values give the same interval.
 */
export function estimate(groups: readonly (readonly number[])[]): Estimate {
  const means = groups.filter((group) => group.length > 0).map(average);
  const n = means.length;
  const mean = average(means);
  if (n < 2) return { mean, low: mean, high: mean, n };
  const resampled = Float64Array.from({ length: RESAMPLES }, (_, resample) => {
    let sum = 0;
    for (let block = 0; block * 4 < n; block++) {
      const words = philox([block, resample, PURPOSE, 0], [0, 0]);
      for (let i = 0; i < 4 && block * 4 + i < n; i++)
        sum += means[Math.floor(((words[i] as number) / 2 ** 32) * n)] as number;
    }
    return sum / n;
  }).sort();
  const at = (share: number) => resampled[Math.round(share * (RESAMPLES - 1))] as number;
  return { mean, low: at(0.025), high: at(0.975), n };
}

export const average = (values: readonly number[]): number =>
  values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length;
