// What a run's steps amount to: means since the last report, speed, the share of time spent waiting for data.

import { COUNTS } from '../ui/figures.js';

/** As plain data, so that a resumed run reports what the uninterrupted one would. Times of the machine are left out. */
export interface MeterState {
  samples: number;
  /** Of training, up to now. */
  seconds: number;
  /** Of these, of the steps themselves. */
  stepSeconds?: number;
  sums: Record<string, { sum: number; count: number }>;
}

/** Steps over which the time a step takes is averaged for the time left. */
const PACE_STEPS = 200;

export class Meter {
  samples = 0;
  startedAt = performance.now();
  /** Of earlier sittings. */
  #before = 0;
  #stepSeconds = 0;
  #sums = new Map<string, { sum: number; count: number }>();
  #window = { samples: 0, waited: 0, busy: 0 };
  #stepBegan = performance.now();
  #pace = 0;
  #paced = 0;
  #reportedAt = performance.now();
  #stepsSinceReport = 0;

  /** The clock runs from here. */
  start(): void {
    this.startedAt = performance.now();
    this.#reportedAt = this.startedAt;
  }

  /** Training time, that of earlier sittings included. */
  seconds(): number {
    return this.#before + (performance.now() - this.startedAt) / 1000;
  }

  /** A step's data is about to be asked for. */
  begin(): void {
    this.#stepBegan = performance.now();
  }

  /** A step is done. Values that are not finite do not count into their means. */
  add(values: Record<string, number>, samples: number, waited: number): void {
    this.samples += samples;
    this.#window.samples += samples;
    this.#window.waited += waited;
    const busy = (performance.now() - this.#stepBegan) / 1000;
    this.#window.busy += busy;
    this.#stepSeconds += busy;
    this.#stepsSinceReport += 1;
    for (const [key, value] of Object.entries(values)) {
      const entry = (!COUNTS.includes(key) && this.#sums.get(key)) || { sum: 0, count: 0 };
      if (Number.isFinite(value)) {
        entry.sum += value;
        entry.count += 1;
      }
      this.#sums.set(key, entry);
    }
  }

  /** Means and speeds since the last call. A value that was never finite is NaN. */
  take(unit = 'sample'): {
    means: Record<string, number>;
    seconds: number;
    stepSeconds: number;
    secondsPerStep: number;
  } {
    const means: Record<string, number> = {};
    for (const [key, { sum, count }] of this.#sums) means[key] = count > 0 ? sum / count : Number.NaN;
    const { samples, waited, busy } = this.#window;
    if (busy > 0) {
      means[`${unit}s_per_second`] = samples / busy;
      means.data_wait = Math.min(1, waited / busy);
    }
    means.memory_mb ??= process.memoryUsage.rss() / 1e6;
    this.#sums.clear();
    this.#window = { samples: 0, waited: 0, busy: 0 };

    // The pace holds everything between two reports, evaluations and checkpoints too: that is what is left to wait for.
    const now = performance.now();
    const steps = Math.max(1, this.#stepsSinceReport);
    const perStep = (now - this.#reportedAt) / 1000 / steps;
    this.#paced = Math.min(PACE_STEPS, this.#paced + steps);
    this.#pace += (perStep - this.#pace) * Math.min(1, steps / this.#paced);
    this.#reportedAt = now;
    this.#stepsSinceReport = 0;
    return { means, seconds: this.seconds(), stepSeconds: this.#stepSeconds, secondsPerStep: this.#pace };
  }

  state(): MeterState {
    return {
      samples: this.samples,
      seconds: this.seconds(),
      stepSeconds: this.#stepSeconds,
      sums: Object.fromEntries(this.#sums),
    };
  }

  restore({ samples, seconds, stepSeconds = seconds, sums }: MeterState): void {
    this.samples = samples;
    this.#before = seconds;
    this.#stepSeconds = stepSeconds;
    this.#sums = new Map(Object.entries(sums).map(([key, { sum, count }]) => [key, { sum, count }]));
  }
}
