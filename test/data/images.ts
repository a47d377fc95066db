// Small images and archives for the data tests, and what a folder holds.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';
import sharp from 'sharp';
import { checksumOf, tarHeader } from '../../cli/data/io/tar.js';

/** An image whose pixels tell which one it is: first the number, then a gradient. */
export function pixelsOf(number: number, width = 40, height = 32): Buffer {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = (i * 7 + number * 31) % 256;
  return pixels;
}

export const pngOf = (number: number, width = 40, height = 32): Promise<Buffer> =>
  sharp(pixelsOf(number, width, height), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();

export function write(folder: string, files: Record<string, string | Uint8Array>): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** `count` images with a captions.jsonl. */
export async function writeImages(folder: string, count: number): Promise<string> {
  const files: Record<string, string | Uint8Array> = {};
  for (let i = 0; i < count; i++) files[`images/${i}.png`] = await pngOf(i);
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({ image: `images/${i}.png`, caption: `picture ${i}` }),
  );
  return write(folder, { ...files, 'captions.jsonl': `${lines.join('\n')}\n` });
}

/** Every file below the folder with its content's hash. */
export function contentOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    names
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex'),
      ]),
  );
}

export interface TarMember {
  name: string;
  bytes: Uint8Array | string;
  /** What the header says of the size. */
  claims?: number;
  /** Of links: what they lead to. */
  link?: { type: '1' | '2'; target: string };
}

export const linkIn = (name: string, target: string, kind: 'hard' | 'symbolic' = 'symbolic'): TarMember => ({
  name,
  bytes: '',
  link: { type: kind === 'hard' ? '1' : '2', target },
});

/** A tar of these members. */
export function tarOf(members: TarMember[], end = true): Buffer {
  const blocks = members.flatMap(({ name, bytes, claims, link }) => {
    const content = Buffer.from(bytes);
    const header = tarHeader(name, claims ?? content.length);
    if (link) {
      header.write(link.type, 156);
      header.write(link.target, 157);
      header.write(`${checksumOf(header).toString(8).padStart(6, '0')}\0 `, 148);
    }
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, ...(end ? [Buffer.alloc(1024)] : [])]);
}

/** A flat zip of these members; `mode` makes a symbolic link (0o120777) of one. */
export function zipOf(members: { name: string; bytes: Uint8Array; mode?: number }[]): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  const known = new Map<Uint8Array, { packed: Buffer; sum: number }>(); // large members may be the same one
  let at = 0;
  for (const { name, bytes, mode = 0o100644 } of members) {
    const { packed, sum } = known.get(bytes) ?? { packed: deflateRawSync(bytes, { level: 1 }), sum: crc32(bytes) };
    known.set(bytes, { packed, sum });
    const common = Buffer.alloc(26); // what both headers have, from the version that reads it to the length of extras
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(8, 4); // deflate
    common.writeUInt32LE(sum, 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE((mode << 16) >>> 0, 6);
    rest.writeUInt32LE(at, 10);
    files.push(Buffer.from('PK\x03\x04', 'latin1'), common, Buffer.from(name), packed);
    directory.push(Buffer.from('PK\x01\x02\x14\x03', 'latin1'), common, rest, Buffer.from(name));
    at += 30 + Buffer.byteLength(name) + packed.length;
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...files, ...directory, end]);
}
