// The tar headers of our own shards: POSIX ustar, regular files, times and owners zero, so that the same samples give
// the same bytes on every machine. Foreign archives are read by a library (webdataset.ts).
import { DrmError } from '../../../binding/error.js';

export const BLOCK = 512;
/** Two blocks of zeros end an archive. */
export const END = Buffer.alloc(2 * BLOCK);
const LARGEST = 8 ** 11 - 1; // eleven octal digits

export const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

export const checksumOf = (block: Buffer): number => {
  let sum = 8 * 0x20; // the field itself counts as spaces
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i] as number;
  return sum;
};

export function tarHeader(name: string, size: number): Buffer {
  if (Buffer.byteLength(name) > 100 || size > LARGEST)
    throw new DrmError('INTERNAL', `[data] ${name}: ${size} bytes do not fit a ustar header`);
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108); // uid
  block.write('0000000\0', 116); // gid
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136); // time
  block.write('0', 156);
  block.write('ustar\x0000', 257);
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** Name and size of a regular file's header, undefined for the zeros at the end. Throws a plain sentence on anything else. */
export function parseTarHeader(block: Buffer): { name: string; size: number } | undefined {
  if (block.length < BLOCK) throw new Error('the archive ends inside a header');
  if (block.every((byte) => byte === 0)) return undefined;
  const text = (from: number, to: number) => {
    const field = block.toString('latin1', from, to);
    return field.slice(0, field.indexOf('\0') < 0 ? undefined : field.indexOf('\0'));
  };
  if (Number.parseInt(text(148, 156), 8) !== checksumOf(block)) throw new Error('a header has a wrong checksum');
  if (text(156, 157) !== '0') throw new Error('expected regular files only');
  const size = text(124, 136);
  if (!/^[0-7]{11}$/.test(size)) throw new Error('a header has a malformed size');
  return { name: text(0, 100), size: Number.parseInt(size, 8) };
}
