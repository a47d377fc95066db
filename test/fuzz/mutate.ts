// Good inputs spoilt: an input is a function of seed and number alone.
import { PhiloxStream } from '../../cli/random/philox_stream.js';

const FUZZ = 0x66757a7a; // keeps these draws apart from all others

/** Inputs do not grow beyond this; what is large is large by what it says of itself. */
const LONGEST = 1 << 18;

/** Numbers at which readers go wrong. */
const NUMBERS = [0, 1, 2, 3, 7, 8, 63, 64, 127, 128, 255, 256, 511, 512, 513, 0x7fff, 0x8000, 0xffff, 0x10000]
  .concat([0xffffff, 0x1000000, 0x3fffffff, 0x40000000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff])
  .concat([2 ** 32, 2 ** 40, 2 ** 53 - 1, 2 ** 53, -1, -2, -128, -(2 ** 31)]);

export interface Spoiling {
  seed: number;
  /** The input's number. */
  input: number;
  words: readonly string[];
}

type Change = (bytes: Buffer, draws: PhiloxStream, seeds: readonly Uint8Array[], words: readonly string[]) => Buffer;

const somewhere = (bytes: Buffer, draws: PhiloxStream): number => draws.below(bytes.length + 1);
const within = (bytes: Buffer, draws: PhiloxStream): number => draws.below(Math.max(1, bytes.length));
/** Short ones are more frequent. */
const length = (draws: PhiloxStream): number => 1 + draws.below(draws.pick([2, 8, 64, 1024]));
const replaced = (bytes: Buffer, at: number, count: number, by: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(Math.min(bytes.length, at + count))]);

function encoded(draws: PhiloxStream): Buffer {
  const number = draws.pick(NUMBERS);
  const kind = draws.below(6);
  if (kind === 0) return Buffer.from(String(number));
  if (kind === 1) return Buffer.from(Math.abs(number).toString(8).padStart(11, '0'));
  if (kind === 2) {
    // A variable-length integer, as Parquet's and Snappy's are.
    const bytes: number[] = [];
    for (let left = BigInt.asUintN(64, BigInt(number)); ; left >>= 7n) {
      bytes.push(Number(left & 127n) | (left > 127n ? 128 : 0));
      if (left <= 127n) return Buffer.from(bytes);
    }
  }
  const whole = Buffer.alloc(8);
  whole.writeBigInt64LE(BigInt.asIntN(64, BigInt(number)));
  const part = whole.subarray(0, draws.pick([1, 2, 4, 8]));
  return draws.below(2) === 0 ? part : Buffer.from(part).reverse();
}

const CHANGES: readonly Change[] = [
  (bytes, draws) => {
    const at = within(bytes, draws);
    if (bytes.length > 0) bytes[at] = (bytes[at] as number) ^ (1 << draws.below(8));
    return bytes;
  },
  (bytes, draws) => {
    if (bytes.length > 0) bytes[within(bytes, draws)] = draws.below(256);
    return bytes;
  },
  (bytes, draws) => {
    const number = encoded(draws); // in place of as many bytes, so that what follows stays where it is
    return replaced(bytes, within(bytes, draws), number.length, number);
  },
  (bytes, draws) => replaced(bytes, somewhere(bytes, draws), 0, encoded(draws)),
  (bytes, draws) => bytes.subarray(0, somewhere(bytes, draws)),
  (bytes, draws) => replaced(bytes, within(bytes, draws), length(draws), Buffer.alloc(0)),
  (bytes, draws) => {
    const from = within(bytes, draws);
    const part = bytes.subarray(from, from + length(draws));
    return replaced(bytes, somewhere(bytes, draws), draws.below(2) * part.length, part);
  },
  (bytes, draws) => {
    const from = within(bytes, draws);
    const part = bytes.subarray(from, from + length(draws));
    return replaced(bytes, from, 0, Buffer.concat(Array.from({ length: 1 + draws.below(64) }, () => part)));
  },
  (bytes, draws, seeds) => {
    const other = Buffer.from(draws.pick(seeds));
    const from = within(other, draws);
    const part = other.subarray(from, from + length(draws));
    return replaced(bytes, somewhere(bytes, draws), draws.below(2) * part.length, part);
  },
  (bytes, draws, seeds) => {
    const other = Buffer.from(draws.pick(seeds)); // the beginning of one, the end of another
    return Buffer.concat([bytes.subarray(0, somewhere(bytes, draws)), other.subarray(somewhere(other, draws))]);
  },
  (bytes, draws) => replaced(bytes, within(bytes, draws), length(draws), Buffer.alloc(length(draws), draws.below(256))),
  (bytes, draws, _, words) => {
    if (words.length === 0) return bytes;
    const word = Buffer.from(draws.pick(words));
    return replaced(bytes, somewhere(bytes, draws), draws.below(2) * word.length, word);
  },
];

export function mutate(seeds: readonly Uint8Array[], { seed, input, words }: Spoiling): Uint8Array {
  const draws = new PhiloxStream(seed, FUZZ, input);
  let bytes = Buffer.from(draws.pick(seeds)); // a copy, which changes may write to
  for (let left = draws.pick([1, 1, 1, 2, 2, 3, 5, 10]); left > 0; left--) {
    bytes = Buffer.from(draws.pick(CHANGES)(bytes, draws, seeds, words));
    if (bytes.length > LONGEST) bytes = bytes.subarray(0, LONGEST);
  }
  return bytes;
}
