// Decoded images that several rewards see one after the other. As many are kept as memory allows, the first ones: each
// reward goes through all of them in order, so that a cache of the last ones would never have the next.
import { freemem } from 'node:os';

/** Of the memory that is free: the networks need the rest. */
const SHARE = 8;

const bytesOf = (seen: object): number =>
  'pixels' in seen && seen.pixels instanceof Uint8Array ? seen.pixels.length : 0;

export class KeptImages {
  readonly #kept = new Map<string, object>();
  #left: number;

  /** Of `rewards` that see them: for one alone nothing is kept. */
  constructor(rewards: number, bytes = freemem() / SHARE) {
    this.#left = rewards > 1 ? bytes : 0;
  }

  /** `key` tells one image from another, and goes with one sort of `make`, whose results have their pixels as `pixels`. */
  async get<T extends object>(key: string, make: () => Promise<T>): Promise<T> {
    const known = this.#kept.get(key);
    if (known) return known as T;
    const made = await make();
    const bytes = bytesOf(made);
    if (bytes <= this.#left) {
      this.#left -= bytes;
      this.#kept.set(key, made);
    }
    return made;
  }
}
