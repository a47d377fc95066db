// Images on disk with their settings inside, put in place whole or not at all.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { DrmError } from '../../binding/error.js';
import { writeAtomically } from '../common/files.js';
import { extensionOf, type Format } from './formats.js';
import { addText, readText } from './png_text.js';
import { textsOfXmp, xmpOf } from './xmp.js';

export interface Image {
  /** RGB, row by row, three bytes a pixel. */
  pixels: Uint8Array;
  width: number;
  height: number;
}

const rgb = ({ width, height }: Image) => ({ raw: { width, height, channels: 3 as const } });

export async function encodePng(image: Image, texts: Record<string, string> = {}): Promise<Buffer> {
  const png = await sharp(image.pixels, rgb(image)).png({ compressionLevel: 6 }).toBuffer();
  return Object.keys(texts).length > 0 ? addText(png, texts) : png;
}

/** WebP and JPEG lose what the eye hardly sees. */
export async function encodeImage(image: Image, format: Format, texts: Record<string, string>): Promise<Buffer> {
  if (format === 'png') return encodePng(image, texts);
  const { parameters = '' } = texts;
  const made = sharp(image.pixels, rgb(image))
    .withXmp(xmpOf(texts))
    // Where A1111 and its kin look; this writer knows ASCII alone, so that XMP has the text as it is.
    .withExif({ IFD2: { UserComment: parameters } });
  return (
    format === 'webp' ? made.webp({ quality: 92 }) : made.jpeg({ quality: 94, chromaSubsampling: '4:4:4' })
  ).toBuffer();
}

/** The texts inside an image of any of the formats. Throws DrmError BAD_FILE for a damaged PNG. */
export async function textsOf(file: string): Promise<Record<string, string>> {
  const bytes = await readFile(file);
  const isPng = bytes.subarray(1, 4).toString('latin1') === 'PNG';
  if (isPng) return readText(bytes);
  const { xmp } = await sharp(bytes).metadata();
  return xmp ? textsOfXmp(xmp.toString('utf8')) : {};
}

/** The first of `stem.png`, `stem-2.png`, ... that does not exist, or whose pixels and settings are these already. */
export async function writeImage(folder: string, stem: string, bytes: Buffer, format: Format = 'png'): Promise<string> {
  for (let i = 1; ; i++) {
    const path = join(folder, `${stem}${i === 1 ? '' : `-${i}`}.${extensionOf(format)}`);
    if (!existsSync(path)) {
      await writeAtomically(path, bytes);
      return path;
    }
    if (bytes.equals(await readFile(path))) return path; // the same run again
  }
}

/** One sheet: images left to right, `columns` a row, with a gap. All must have one size. */
export async function contactSheet(images: Image[], columns: number, gap = 8): Promise<Buffer> {
  const first = images[0];
  if (!first) throw new DrmError('INTERNAL', '[grid] no images');
  const rows = Math.ceil(images.length / columns);
  const place = (n: number, size: number) => gap + n * (size + gap);
  return sharp({
    create: {
      width: place(columns, first.width),
      height: place(rows, first.height),
      channels: 3,
      background: '#ffffff',
    },
  })
    .composite(
      images.map((image, i) => ({
        input: Buffer.from(image.pixels.buffer, image.pixels.byteOffset, image.pixels.byteLength),
        ...rgb(image),
        left: place(i % columns, first.width),
        top: place(Math.floor(i / columns), first.height),
      })),
    )
    .png()
    .toBuffer();
}

/** A file name of a prompt: its first words in lower case letters and digits. */
export function slug(prompt: string): string {
  const words = prompt
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-+|-+$/g, '');
  return Array.from(words).slice(0, 40).join('').replace(/-+$/, '') || 'image';
}
