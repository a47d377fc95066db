// The order in which training sees samples: a function of seed and step alone, so that a resumed run goes on with the
// very pictures that the uninterrupted one would have seen.

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of a product. */
function mulhi(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const middle = ah * bl + ((al * bl) >>> 16);
  const low = (middle & 0xffff) + al * bh;
  return (ah * bh + Math.floor(middle / 0x10000) + Math.floor(low / 0x10000)) >>> 0;
}

/** Philox4x32-10 (Salmon et al. 2011): four random words of a counter and a key. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): Uint32Array {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = mulhi(M0, c0);
    const low0 = Math.imul(M0, c0) >>> 0;
    const high1 = mulhi(M1, c2);
    const low1 = Math.imul(M1, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return Uint32Array.of(c0, c1, c2, c3);
}

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
