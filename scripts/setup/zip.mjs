// Reads zip archives (wheels, libtorch archives) with Node alone: python3 -m zipfile and unzip may both be missing, and
// neither unpacks a part of an archive while hashing it. Zip64 included: CUDA libraries exceed 4 GB.
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw, inflateRawSync } from 'node:zlib';

const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;
/** Larger entries are streamed; the thousands of headers go faster in one piece each. */
const STREAM_FROM = 4 << 20;

async function readAt(file, position, length) {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length)
    throw new Error(`zip: expected ${length} bytes at ${position}, the file ends after ${bytesRead}`);
  return buffer;
}

/** Where the central directory is: { offset, size, count }. */
async function findDirectory(file, fileSize) {
  // The end record is 22 bytes and a comment of at most 64 KB.
  const tailSize = Math.min(fileSize, 22 + 0xffff);
  const tail = await readAt(file, fileSize - tailSize, tailSize);
  let at = tail.length - 22;
  while (at >= 0 && !(tail.readUInt32LE(at) === END && at + 22 + tail.readUInt16LE(at + 20) === tail.length)) --at;
  if (at < 0) throw new Error('zip: no end-of-directory record: not a zip file, or cut off');
  const locatorAt = at - 20;
  if (locatorAt >= 0 && tail.readUInt32LE(locatorAt) === END64_LOCATOR) {
    const record = await readAt(file, Number(tail.readBigUInt64LE(locatorAt + 8)), 56);
    if (record.readUInt32LE(0) !== END64) throw new Error('zip: broken zip64 end-of-directory record');
    return {
      count: Number(record.readBigUInt64LE(32)),
      size: Number(record.readBigUInt64LE(40)),
      offset: Number(record.readBigUInt64LE(48)),
    };
  }
  return { count: tail.readUInt16LE(at + 10), size: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16) };
}

/** Replaces fields of 0xffffffff by the zip64 extra field's, which holds just those, in this order. */
function applyZip64(entry, extra) {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 0x0001) continue;
    let value = at + 4;
    for (const field of ['size', 'compressedSize', 'offset']) {
      if (entry[field] !== 0xffffffff) continue;
      entry[field] = Number(extra.readBigUInt64LE(value));
      value += 8;
    }
  }
}

function parseDirectory(directory, count) {
  const entries = [];
  let at = 0;
  for (let i = 0; i < count; ++i) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== CENTRAL) {
      throw new Error(`zip: broken directory at entry ${i} of ${count}`);
    }
    const nameLength = directory.readUInt16LE(at + 28);
    const extraLength = directory.readUInt16LE(at + 30);
    const commentLength = directory.readUInt16LE(at + 32);
    const entry = {
      name: directory.toString('utf8', at + 46, at + 46 + nameLength),
      encrypted: (directory.readUInt16LE(at + 8) & 1) !== 0,
      method: directory.readUInt16LE(at + 10),
      compressedSize: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      mode: (directory.readUInt32LE(at + 38) >>> 16) & 0o777,
      offset: directory.readUInt32LE(at + 42),
    };
    applyZip64(entry, directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength));
    entries.push(entry);
    at += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

/** Counts and hashes what flows through. */
class Digest extends Transform {
  hash = createHash('sha256');
  size = 0;
  _transform(chunk, _encoding, done) {
    this.hash.update(chunk);
    this.size += chunk.length;
    done(null, chunk);
  }
}

export class Zip {
  static async open(path) {
    const zip = new Zip();
    zip.file = await open(path, 'r');
    try {
      const { size } = await zip.file.stat();
      const { offset, size: directorySize, count } = await findDirectory(zip.file, size);
      if (offset + directorySize > size) throw new Error('zip: the directory lies outside the file');
      zip.entries = parseDirectory(await readAt(zip.file, offset, directorySize), count);
    } catch (error) {
      await zip.close();
      throw error;
    }
    return zip;
  }

  close() {
    return this.file.close();
  }

  async #dataOffset(entry) {
    const local = await readAt(this.file, entry.offset, 30);
    if (local.readUInt32LE(0) !== LOCAL)
      throw new Error(`zip: ${entry.name}: no local header where the directory says`);
    return entry.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  }

  /** The content of a small entry. */
  async read(entry) {
    if (entry.encrypted) throw new Error(`zip: ${entry.name} is encrypted`);
    if (entry.method !== STORED && entry.method !== DEFLATED) {
      throw new Error(`zip: ${entry.name}: compression method ${entry.method} is not supported`);
    }
    const packed = await readAt(this.file, await this.#dataOffset(entry), entry.compressedSize);
    const content =
      entry.method === STORED ? packed : inflateRawSync(packed, { maxOutputLength: Math.max(entry.size, 1) });
    if (content.length !== entry.size) {
      throw new Error(`zip: ${entry.name}: expected ${entry.size} bytes, found ${content.length}`);
    }
    return content;
  }

  /** Unpacks to `folder`/`as` and returns the content's SHA-256 as a Buffer. */
  async extract(entry, folder, as = entry.name) {
    // A name such as ../../.bashrc must not leave the folder.
    if (isAbsolute(as) || as.includes('\\') || as.split('/').includes('..')) {
      throw new Error(`zip: ${JSON.stringify(entry.name)} points outside the target folder`);
    }
    const path = join(folder, as);
    mkdirSync(dirname(path), { recursive: true });
    const mode = entry.mode || 0o644;
    if (entry.size < STREAM_FROM) {
      const content = await this.read(entry);
      await writeFile(path, content, { mode });
      return createHash('sha256').update(content).digest();
    }
    if (entry.encrypted || (entry.method !== STORED && entry.method !== DEFLATED)) await this.read(entry); // says why
    const start = await this.#dataOffset(entry);
    const digest = new Digest();
    const target = await open(path, 'w', mode);
    await pipeline([
      this.file.createReadStream({ start, end: start + entry.compressedSize - 1, autoClose: false }),
      ...(entry.method === DEFLATED ? [createInflateRaw()] : []),
      digest,
      target.createWriteStream(),
    ]);
    if (digest.size !== entry.size) {
      throw new Error(`zip: ${entry.name}: expected ${entry.size} bytes, found ${digest.size}`);
    }
    return digest.hash.digest();
  }
}
