// What files hold, as text: a line a tensor, a member of an archive, a field; bytes that are no text as their digest. Two
// such texts can be compared line by line, which says what differs and not only that something does.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { inflateSync } from 'node:zlib';
import sharp from 'sharp';
import { normalJson, normalLines, normalPage, normalText, normalValue, type Places } from './normal.js';

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** Name, dtype, shape and digest of each tensor, and what else the header says. */
export function tensorsText(file: Buffer, places: Places): string {
  const data = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, data)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const { __metadata__: metadata, ...tensors } = header;
  const lines = Object.entries(tensors).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const digest = sha256(file.subarray(data + from, data + to));
      return `${name}  ${dtype} [${shape.join(', ')}]  ${digest}`;
    },
  );
  return [...(metadata === undefined ? [] : [`metadata ${metadataText(metadata, places)}`]), ...lines].join('\n');
}

/** Values of the metadata are texts, some of them JSON themselves. */
function metadataText(metadata: unknown, places: Places): string {
  const read = Object.entries(metadata as Record<string, string>).map(([name, value]) => {
    try {
      return [name, JSON.parse(value) as unknown];
    } catch {
      return [name, value];
    }
  });
  return JSON.stringify(normalValue(Object.fromEntries(read), places));
}

/** Texts inside a PNG (tEXt, and iTXt, compressed or not). */
export function pngTexts(png: Buffer): Record<string, string> {
  const texts: Record<string, string> = {};
  for (let at = 8; at + 8 <= png.length; at += 12 + png.readUInt32BE(at)) {
    const type = png.toString('latin1', at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + png.readUInt32BE(at));
    const end = data.indexOf(0);
    const name = data.toString('latin1', 0, end);
    if (type === 'tEXt') texts[name] = data.toString('latin1', end + 1);
    if (type !== 'iTXt') continue;
    const language = end + 3;
    const translated = data.indexOf(0, language) + 1;
    const text = data.subarray(data.indexOf(0, translated) + 1);
    texts[name] = (data[end + 1] === 1 ? inflateSync(text) : text).toString('utf8');
  }
  return texts;
}

/** Pixels, not the bytes of the file: an encoder may compress otherwise. And what a PNG says of itself. */
async function imageText(file: Buffer, isPng: boolean, places: Places): Promise<string> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  const texts = isPng ? Object.entries(pngTexts(file)) : [];
  return [
    `pixels ${info.width} x ${info.height} x ${info.channels}  ${sha256(data)}`,
    ...texts.map(([name, text]) => `text ${name}: ${normalJson(text, places)}`),
  ].join('\n');
}

/** Members of an archive, and the archive as a whole: its bytes are promised. */
export function tarText(file: Buffer): string {
  const lines: string[] = [];
  for (let at = 0; at + 512 <= file.length; ) {
    const name = file.toString('utf8', at, at + 100).replace(/\0.*$/s, '');
    if (name === '') break;
    const size = Number.parseInt(file.toString('latin1', at + 124, at + 136), 8);
    lines.push(`${name}  ${size} bytes  ${sha256(file.subarray(at + 512, at + 512 + size))}`);
    at += 512 + 512 * Math.ceil(size / 512);
  }
  return [...lines, `whole  ${file.length} bytes  ${sha256(file)}`].join('\n');
}

async function fileText(name: string, file: Buffer, places: Places): Promise<string> {
  switch (extname(name)) {
    case '.safetensors':
      return tensorsText(file, places);
    case '.png':
      return imageText(file, true, places);
    case '.webp':
    case '.jpg':
      return imageText(file, false, places);
    case '.tar':
      return tarText(file);
    case '.json':
      return normalJson(file.toString(), places, name);
    case '.jsonl':
      return normalLines(file.toString(), places);
    case '.html':
      return normalPage(file.toString(), places, sha256);
    case '.txt':
    case '.md':
    case '.svg':
      return normalText(file.toString(), places);
    default:
      return `${file.length} bytes  ${sha256(file)}`;
  }
}

/** What each file below this place holds, by its name there; of a file, its own name. */
export async function contentText(place: string, places: Places): Promise<Record<string, string>> {
  const names = statSync(place).isFile()
    ? ['']
    : readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(place, name)).isFile());
  const texts: Record<string, string> = {};
  for (const name of names.sort()) {
    const path = join(place, name);
    texts[name === '' ? `file${extname(place)}` : name] = await fileText(path, readFileSync(path), places);
  }
  return texts;
}
