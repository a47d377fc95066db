// The order in which training sees samples: a function of seed and step alone, so that a resumed run goes on with the
// very images that the uninterrupted one would have seen.
import { philox } from './philox.js';

/** Keeps this use of the seed apart from all others ("data"). */
const PURPOSE = 0x64617461;

/** A permutation of 0 .. length-1 for one epoch, by Fisher and Yates. */
export function epochOrder(seed: number, epoch: number, length: number): Uint32Array {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  const order = Uint32Array.from({ length }, (_, i) => i);
  let block = 0;
  let words: Uint32Array = new Uint32Array(0);
  let used = 0;
  const word = () => {
    if (used === words.length) {
      words = philox([block++, epoch >>> 0, PURPOSE, 0], key);
      used = 0;
    }
    return words[used++] as number;
  };
  for (let i = length - 1; i > 0; i--) {
    const range = i + 1;
    const fair = 2 ** 32 - (2 ** 32 % range); // words from here on would favour small numbers
    let drawn = word();
    while (drawn >= fair) drawn = word();
    const j = drawn % range;
    const kept = order[i] as number;
    order[i] = order[j] as number;
    order[j] = kept;
  }
  return order;
}

/**
 * Which samples each step trains on. No sample repeats within an epoch; a batch that an epoch's end cuts goes on with
 * the next one.
 */
export function sampleOrder(seed: number, length: number, batch: number): (step: number) => number[] {
  if (!Number.isSafeInteger(seed) || seed < 0 || !(length > 0) || !(batch > 0))
    throw new RangeError(
      `sampleOrder(${seed}, ${length}, ${batch}): expected a seed from 0, and length and batch from 1`,
    );
  const epochs = new Map<number, Uint32Array>();
  const epochAt = (epoch: number): Uint32Array => {
    let order = epochs.get(epoch);
    if (!order) {
      // Prefetching runs ahead over an epoch's end by some batches: two are kept.
      if (epochs.size >= 2) epochs.delete(Math.min(...epochs.keys()));
      order = epochOrder(seed, epoch, length);
      epochs.set(epoch, order);
    }
    return order;
  };
  return (step) =>
    Array.from({ length: batch }, (_, i) => {
      const at = step * batch + i;
      return epochAt(Math.floor(at / length))[at % length] as number;
    });
}
