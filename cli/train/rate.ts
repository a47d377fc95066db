// Learning rates. The formulas are learning_rate() of csrc/optim/optimizer.cc, in doubles on both sides.

export interface RateOptions {
  peak: number;
  shape: 'constant' | 'linear' | 'cosine';
  /** Steps of linear warm-up. */
  warmUp: number;
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
}

/** Of step `step` (from 0) of `total`. */
export function learningRate(step: number, total: number, { peak, shape, warmUp, floor }: RateOptions): number {
  if (step < warmUp) return (peak * (step + 1)) / warmUp;
  const done = Math.min(1, (step - warmUp) / Math.max(1, total - warmUp));
  switch (shape) {
    case 'constant':
      return peak;
    case 'linear':
      return peak * (1 - (1 - floor) * done);
    case 'cosine':
      return peak * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * done))) / 2);
  }
}
