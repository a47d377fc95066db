// Work done ahead of the step that needs it, so many steps and no more: that bounds the memory.
import { DrmError } from '../../../binding/error.js';

/** Lets in so many at a time, first come, first served. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((enter) => this.#waiting.push(enter));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

export interface PrefetchOptions {
  /** Where to begin, for a resumed run. */
  firstStep?: number;
  /** Steps from 0 that there are; without end by default. */
  steps?: number;
  /** Steps prepared ahead. */
  ahead?: number;
}

export class Prefetcher<T> {
  readonly #queue: Promise<T | Error>[] = [];
  readonly #steps: number;
  readonly #prefetcher: number;
  #next: number;
  #waited = 0;
  #closed = false;

  constructor(
    private readonly load: (step: number) => Promise<T>,
    { firstStep = 0, steps = Number.POSITIVE_INFINITY, ahead = 4 }: PrefetchOptions,
  ) {
    this.#next = firstStep;
    this.#steps = steps;
    this.#prefetcher = ahead;
  }

  /** Seconds that next() had to wait. */
  get waitedSeconds(): number {
    return this.#waited;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** What the next step needs; undefined after the last. Rejects with the error that its loading ended with. */
  async next(): Promise<T | undefined> {
    if (this.#closed) throw new DrmError('INTERNAL', '[data] next() on a closed loader');
    this.#fill();
    const first = this.#queue.shift();
    if (!first) return undefined;
    const start = performance.now();
    const loaded = await first;
    this.#waited += (performance.now() - start) / 1000;
    this.#fill();
    if (loaded instanceof Error) throw loaded;
    return loaded;
  }

  #fill(): void {
    while (!this.#closed && this.#queue.length < this.#prefetcher && this.#next < this.#steps)
      this.#queue.push(
        this.load(this.#next++).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))),
      );
  }

  /** Ends the work ahead. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#queue.splice(0));
  }
}
