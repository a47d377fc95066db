// Text inside PNG files: written so that an image carries its settings, read so that `drm sample --from` can repeat it.
// sharp keeps no text of its own, so the chunks are put in and taken out here (PNG specification, iTXt and tEXt).
import { crc32, inflateSync } from 'node:zlib';
import { DrmError } from '../../binding/error.js';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const LARGEST_TEXT = 16 << 20; // a compressed chunk may claim any size

interface Chunk {
  type: string;
  data: Buffer;
  /** Where the chunk begins in the file. */
  offset: number;
}

function damaged(what: string): never {
  throw new DrmError('BAD_FILE', `[png] ${what}; the file is damaged or no PNG`);
}

function* chunks(png: Buffer): Generator<Chunk> {
  if (!png.subarray(0, 8).equals(SIGNATURE)) damaged('expected a PNG signature');
  let offset = 8;
  while (offset < png.length) {
    if (offset + 12 > png.length) damaged('the last chunk is cut off');
    const length = png.readUInt32BE(offset);
    const end = offset + 12 + length;
    if (length > 0x7fffffff || end > png.length) damaged('a chunk is longer than the file');
    const type = png.toString('latin1', offset + 4, offset + 8);
    const body = png.subarray(offset + 4, offset + 8 + length);
    if (crc32(body) !== png.readUInt32BE(offset + 8 + length)) damaged(`chunk ${type}: its checksum is wrong`);
    yield { type, data: body.subarray(4), offset };
    if (type === 'IEND') return;
    offset = end;
  }
  damaged('expected a closing IEND chunk');
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

/** The PNG with these texts (keyword of 1 to 79 Latin letters -> any Unicode text) before its first data chunk. */
export function addText(png: Buffer, texts: Record<string, string>): Buffer {
  let at = -1;
  for (const c of chunks(png)) if (c.type === 'IDAT' && at < 0) at = c.offset;
  if (at < 0) damaged('expected image data');
  const added = Object.entries(texts).map(([keyword, text]) =>
    // keyword, no compression, no language, no translated keyword, UTF-8 text
    chunk(
      'iTXt',
      Buffer.concat([Buffer.from(keyword, 'latin1'), Buffer.from([0, 0, 0, 0, 0]), Buffer.from(text, 'utf8')]),
    ),
  );
  return Buffer.concat([png.subarray(0, at), ...added, png.subarray(at)]);
}

/** All texts of a PNG by keyword. Throws DrmError BAD_FILE when the file is no intact PNG. */
export function readText(png: Buffer): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const { type, data } of chunks(png)) {
    const end = data.indexOf(0);
    if (end < 1) continue;
    const keyword = data.toString('latin1', 0, end);
    if (type === 'tEXt') texts[keyword] = data.toString('latin1', end + 1);
    if (type !== 'iTXt' || data.length < end + 3) continue;
    const language = data.indexOf(0, end + 3);
    const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
    if (translated < 0) continue;
    const body = data.subarray(translated + 1);
    try {
      texts[keyword] = (data[end + 1] === 1 ? inflateSync(body, { maxOutputLength: LARGEST_TEXT }) : body).toString(
        'utf8',
      );
    } catch {
      damaged(`text ${keyword}: could not be unpacked`);
    }
  }
  return texts;
}
