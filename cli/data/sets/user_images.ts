// A user's own images with captions: a list, or a folder with a text file beside each image.
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { decodeText } from '../../common/json.js';
import { Drop } from '../io/drop.js';
import { decodeImage, encodeLossless, squareImage } from '../io/image.js';
import { LARGEST_LINE, recordsOf, survey } from '../io/jsonl.js';
import type { Planned, Sample, Source } from '../prepared/source.js';
import { imageSize, readImage } from './images_at.js';
import { CAPTION, fieldOf, IMAGE, namesPair, SPLIT, splitOfCaption } from './user_fields.js';

export interface UserOptions {
  /** Edge of a square lossless copy; the image's own bytes when left out. */
  size: number | undefined;
  /** Percent of the captions that make a split `test`, chosen by hash; records may name their split themselves. */
  holdOut: number;
}

/** The part that all sources of user images share: what a sidecar-like object says, without its image. */
export function describe(
  record: Record<string, unknown>,
  where: string,
  options: UserOptions,
): { caption: string; split: string; json: Sample['json'] } | Drop {
  if (namesPair(record))
    throw new DrmError(
      'BAD_FILE',
      `[data] ${where}: expected an image with a caption, found a preference pair (chosen, rejected); pairs go into a list of their own`,
    );
  const { [fieldOf(record, CAPTION) ?? 'caption']: caption, ...rest } = record;
  if (typeof caption !== 'string' || caption.trim() === '') return new Drop('no_caption', where);
  const split = record.split ?? splitOfCaption(caption, options.holdOut);
  if (typeof split !== 'string' || !SPLIT.test(split))
    return new Drop('bad_split', `${where}: ${JSON.stringify(split)}`);
  return { caption, split, json: { ...rest, caption, split } };
}

/** Checks, reduces if asked, and names the image. The container is found from the bytes. */
export async function makeSample(
  key: string,
  bytes: Uint8Array,
  where: string,
  json: Sample['json'],
  { size }: UserOptions,
): Promise<Sample | Drop> {
  const image = await decodeImage(bytes);
  if (image instanceof Drop) return new Drop(image.reason, `${where}: ${image.detail}`);
  if (size === undefined) return { key, files: [{ extension: image.extension, bytes }], json };
  const square = await squareImage(image, size);
  if (!square) return new Drop('too_small', `${where}: ${image.width}×${image.height}, smaller than ${size}×${size}`);
  return { key, files: [{ extension: 'webp', bytes: await encodeLossless(square) }], json };
}

export const keyOf = (ordinal: number): string => String(ordinal).padStart(9, '0');

export const settingsOf = ({ size, holdOut }: UserOptions) => ({
  ...(size !== undefined && { size }),
  ...(holdOut > 0 && { hold_out: holdOut }),
});

export async function listSource(file: string, options: UserOptions): Promise<Source> {
  const folder = dirname(file);
  const { sha256, total } = await survey(file);
  async function* records(): AsyncGenerator<Planned | Drop> {
    let ordinal = 0;
    for await (const { record, where } of recordsOf(file)) {
      const key = keyOf(ordinal++);
      if (record instanceof Drop) {
        yield record;
        continue;
      }
      const described = describe(record, where, options);
      const image = record[fieldOf(record, IMAGE) ?? 'image'];
      if (described instanceof Drop) yield described;
      else if (typeof image !== 'string' || image === '') yield new Drop('missing_image', `${where}: no "image"`);
      else
        yield {
          split: described.split,
          note: 0,
          bytes: () => imageSize(resolve(folder, image)),
          make: async () => {
            const at = `${where}, ${image}`;
            const bytes = await readImage(resolve(folder, image), at);
            return bytes instanceof Drop ? bytes : makeSample(key, bytes, at, { ...described.json, image }, options);
          },
        };
    }
  }
  return {
    kind: 'captions',
    notes: [{ name: basename(file) }],
    settings: { source: 'jsonl', input: basename(file), input_sha256: sha256, ...settingsOf(options) },
    ...(total !== undefined && { total }),
    records,
    extras: [],
  };
}

const IMAGES = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i;

export async function folderSource(folder: string, options: UserOptions): Promise<Source> {
  const found = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => (entry.isFile() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const files = found.filter((name) => IMAGES.test(name)).sort();
  if (files.length === 0)
    throw new DrmError(
      'BAD_FILE',
      `[data] ${folder}: expected images with a .txt caption beside each, or a .jsonl, found neither in ${found.length} files`,
      { file: folder },
    );
  const hash = createHash('sha256');
  // IMG.JPG has IMG.TXT; of several that differ by their ending's case alone, the one in small letters, else the first.
  const captions = new Map<string, string>();
  for (const name of found.filter((name) => /\.txt$/i.test(name)).sort()) {
    const stem = name.slice(0, -'.txt'.length);
    if (!captions.has(stem) || name.endsWith('.txt')) captions.set(stem, name);
  }
  for (const name of [...files, ...captions.values()].sort()) hash.update(`${name}\0${statSize(join(folder, name))}\n`);
  async function* records(): AsyncGenerator<Planned | Drop> {
    for (const [ordinal, name] of files.entries()) {
      const stem = name.slice(0, -extname(name).length);
      const text = captions.get(stem);
      if (text === undefined) {
        yield new Drop('no_caption', `${name}: no ${stem}.txt`);
        continue;
      }
      const caption = await readCaption(join(folder, text));
      if (caption instanceof Drop) {
        yield caption;
        continue;
      }
      const described = describe({ caption }, text, options);
      if (described instanceof Drop) yield described;
      else
        yield {
          split: described.split,
          note: 0,
          bytes: () => imageSize(join(folder, name)),
          make: async () => {
            const bytes = await readImage(join(folder, name), name);
            return bytes instanceof Drop
              ? bytes
              : makeSample(keyOf(ordinal), bytes, name, { ...described.json, image: name }, options);
          },
        };
    }
  }
  return {
    kind: 'captions',
    notes: [{ name: basename(resolve(folder)) }],
    settings: {
      source: 'jsonl',
      input: basename(resolve(folder)),
      input_sha256: hash.digest('hex'),
      ...settingsOf(options),
    },
    total: files.length,
    records,
    extras: [],
  };
}

const statSize = (file: string): number => (existsSync(file) ? statSync(file).size : -1); // a dangling link

async function readCaption(file: string): Promise<string | Drop> {
  if (statSize(file) > LARGEST_LINE) return new Drop('bad_caption', `${file}: longer than ${LARGEST_LINE} bytes`);
  try {
    return decodeText(await readFile(file)).replace(/(\r?\n)+$/, ''); // editors end files with a line feed
  } catch (error) {
    return new Drop('bad_caption', `${file}: ${(error as Error).message}`);
  }
}
