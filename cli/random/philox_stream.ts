// Random numbers of one record: a function of seed, purpose and index, so that a resumed preparation draws the same.
import { philox } from './philox.js';

export class PhiloxStream {
  readonly #key: readonly [number, number];
  #words: Uint32Array = new Uint32Array(0);
  #used = 0;
  #block = 0;

  /** `purpose` keeps this use of the seed apart from all others. */
  constructor(
    seed: number,
    private readonly purpose: number,
    private readonly index: number,
    private readonly within = 0,
  ) {
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  }

  word(): number {
    if (this.#used === this.#words.length) {
      this.#words = philox([this.#block++, this.index >>> 0, this.purpose, this.within], this.#key);
      this.#used = 0;
    }
    return this.#words[this.#used++] as number;
  }

  /** In [0, 1). */
  uniform(): number {
    return this.word() / 2 ** 32;
  }

  /** Whole numbers from 0 to `range` - 1, each as often as the others. */
  below(range: number): number {
    const fair = 2 ** 32 - (2 ** 32 % range); // words from here on would favour small numbers
    let word = this.word();
    while (word >= fair) word = this.word();
    return word % range;
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new RangeError('pick: expected something to choose from');
    return from[this.below(from.length)] as T;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }
}
