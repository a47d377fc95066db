// What a base's frozen parts make of a pair set, beside its shards: latents of the images and embeds of the prompts, so
// that a training over days, or a second one, does not encode them again. Written in numbered files, each complete or
// absent, so that an interrupted encoding goes on.
//
// encoded/<name>/ holds latents-00000.safetensors with latents-00000.json (the ids of its rows, and the images that could
// not be decoded), prompts-… likewise (the sha256 of each text), and encoded.json, written last.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { DataSetEncoder } from '../../../binding/index.js';
import type { Dtype } from '../../../binding/types.js';
import { bytesOf } from '../../common/device.js';
import { writeAtomically } from '../../common/files.js';
import { type JsonFile, readShaped } from '../../common/json.js';
import { count, listOf, mapOf, matching, objectOf, oneOf, type Shape, text } from '../../common/shape.js';
import type { PromptTokenizer } from '../../text/tokenizer.js';
import type { PairSet } from '../prepared/pair_set.js';
import { squaresOf } from './pair_loader.js';

export const ENCODED = 'encoded';
const MANIFEST = 'encoded.json';

/** What decides the numbers; the same key gives the same files. */
export interface EncodedKey {
  /** sha256 of the weights of the VAE, and of the text encoders together. */
  vae: string;
  text_encoders: string;
  size: number;
  t5_length: number;
  clip_length: number;
  dtype: Dtype;
}

export interface EncodedManifest extends EncodedKey {
  format: 'drm-encoded';
  version: 1;
  model: string;
  images: number;
  prompts: number;
  /** Images that could not be decoded, and why. */
  bad: Record<string, string>;
  latents_files: string[];
  prompts_files: string[];
}

const nameOf = (key: EncodedKey): string =>
  `${key.size}px-${createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 12)}`;

export const folderOf = (set: string, key: EncodedKey): string => join(set, ENCODED, nameOf(key));

export const textKey = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);

/** Bytes of one file's tensors at most, about. */
const FILE_BYTES = 128e6;

export interface EncodeOptions {
  /** Name of the model, for people. */
  model: string;
  /** Bytes of one prompt's embeds. */
  promptBytes: number;
  signal: AbortSignal;
  onProgress: (what: 'images' | 'prompts', step: number, total: number) => void;
  onBad: (message: string) => void;
  onCut: (texts: string[], of: number) => void;
}

const stem = (kind: 'latents' | 'prompts', index: number) => `${kind}-${String(index).padStart(5, '0')}`;

/** Beside each file: the ids of its rows, and what has none, with the reason. Written after the file. */
interface Sidecar {
  rows: string[];
  bad: Record<string, string>;
}

const sidecarFile = (folder: string, name: string) => join(folder, `${name}.json`);

const AGAIN: JsonFile = { part: 'data', advice: 'encode the set again with `drm data encode`' };
const SIDECAR = objectOf<Sidecar>({ rows: listOf(text), bad: mapOf(text) });
const readSidecar = (folder: string, name: string) => readShaped(sidecarFile(folder, name), SIDECAR, AGAIN);

/** Names of files in the folder and nowhere else. */
const NAMES = listOf(matching(/^\w[\w-]*$/, 'the name of a file'));
const ENCODED_MANIFEST = objectOf<EncodedManifest>(
  {
    format: oneOf('drm-encoded'),
    version: oneOf(1),
    model: text,
    vae: text,
    text_encoders: text,
    size: count,
    t5_length: count,
    clip_length: count,
    dtype: text as Shape<EncodedKey['dtype']>,
    images: count,
    prompts: count,
    bad: mapOf(text),
    latents_files: NAMES,
    prompts_files: NAMES,
  },
  { images: 'pictures' },
);

/** Of a finished file that is about these; undefined when there is none, or the set has been prepared anew since. */
function finished(folder: string, name: string, wanted: readonly string[]): Sidecar | undefined {
  if (!existsSync(sidecarFile(folder, name))) return undefined;
  let sidecar: Sidecar;
  try {
    sidecar = readSidecar(folder, name);
  } catch {
    return undefined; // damaged: encoded again
  }
  const known = new Set([...sidecar.rows, ...Object.keys(sidecar.bad)]);
  return known.size === wanted.length && wanted.every((id) => known.has(id)) ? sidecar : undefined;
}

/** Encodes all of an open set that is not yet encoded. Resolves to the folder and what it says of itself. */
export async function encodeSet(
  set: PairSet,
  encoder: DataSetEncoder,
  tokenizer: PromptTokenizer,
  key: EncodedKey,
  options: EncodeOptions,
): Promise<{ folder: string; manifest: EncodedManifest }> {
  const folder = folderOf(set.folder, key);
  await mkdir(folder, { recursive: true });
  const { bad, files: latents } = await encodeImages(set, encoder, folder, key, options);
  const { texts, files: prompts } = await encodePrompts(set, encoder, tokenizer, folder, key, options);
  const manifest: EncodedManifest = {
    format: 'drm-encoded',
    version: 1,
    model: options.model,
    ...key,
    images: set.imageCount - Object.keys(bad).length,
    prompts: texts,
    bad,
    latents_files: latents,
    prompts_files: prompts,
  };
  await writeAtomically(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  return { folder, manifest };
}

const stopIfAsked = (signal: AbortSignal) => {
  if (signal.aborted) throw new DrmError('CANCELLED', 'stopped; what is encoded is kept, and the same command goes on');
};

async function encodeImages(
  set: PairSet,
  encoder: DataSetEncoder,
  folder: string,
  { size, dtype }: EncodedKey,
  { signal, onProgress, onBad }: EncodeOptions,
): Promise<{ bad: Record<string, string>; files: string[] }> {
  const bad: Record<string, string> = {};
  const files: string[] = [];
  const squares = squaresOf(set, { size, keepBytes: 0, onWarning: onBad });
  // Pixels cross as bytes, latents are about (2 x 16 / 64) numbers a pixel.
  const each = size ** 2 * Math.max(3, bytesOf(dtype) / 2);
  const perFile = Math.max(1, Math.min(4096, Math.floor(FILE_BYTES / each)));
  for (let first = 0; first < set.imageCount; first += perFile) {
    const name = stem('latents', first / perFile);
    const wanted = Array.from({ length: Math.min(perFile, set.imageCount - first) }, (_, i) => first + i);
    const ids = wanted.map((image) => set.imageId(image));
    let sidecar = finished(folder, name, ids);
    if (!sidecar) {
      stopIfAsked(signal);
      sidecar = { rows: [], bad: {} };
      const pixels: Uint8Array[] = [];
      for (const [i, square] of (await Promise.all(wanted.map((image) => squares.get(image)))).entries()) {
        const id = ids[i] as string;
        if (square) {
          sidecar.rows.push(id);
          pixels.push(square);
        } else sidecar.bad[id] = String(squares.faultOf(wanted[i] as number)?.message);
      }
      if (pixels.length > 0) {
        const images = pixels.map((_, row) => row);
        const batch = { samples: [], images, pixels: Buffer.concat(pixels), height: size, width: size };
        await encoder.latents(batch, join(folder, `${name}.safetensors`), { signal });
      }
      await writeAtomically(sidecarFile(folder, name), JSON.stringify(sidecar));
    }
    Object.assign(bad, sidecar.bad);
    if (sidecar.rows.length > 0) files.push(name);
    onProgress('images', first + wanted.length, set.imageCount);
  }
  return { bad, files };
}

async function encodePrompts(
  set: PairSet,
  encoder: DataSetEncoder,
  tokenizer: PromptTokenizer,
  folder: string,
  { t5_length }: EncodedKey,
  { promptBytes, signal, onProgress, onCut }: EncodeOptions,
): Promise<{ texts: number; files: string[] }> {
  // Keys, not texts: a million prompts stay some tens of megabytes.
  const seen = new Set<string>();
  const perFile = Math.max(1, Math.min(4096, Math.floor(FILE_BYTES / promptBytes)));
  const files: string[] = [];
  const cut: string[] = [];
  let texts: string[] = [];
  const flush = async () => {
    if (texts.length === 0) return;
    const name = stem('prompts', files.length);
    const rows = texts.map(textKey);
    if (!finished(folder, name, rows)) {
      stopIfAsked(signal);
      const tokens = [];
      for (const text of texts) {
        const prompt = await tokenizer.encode(text, t5_length);
        if (prompt.truncated.length > 0) cut.push(text);
        tokens.push(prompt.tokens);
      }
      await encoder.prompts(tokens, join(folder, `${name}.safetensors`), { signal });
      await writeAtomically(sidecarFile(folder, name), JSON.stringify({ rows, bad: {} } satisfies Sidecar));
    }
    files.push(name);
    texts = [];
  };
  for (let pair = 0; pair < set.length; pair++) {
    const { prompt } = await set.record(pair);
    const key = textKey(prompt);
    if (!seen.has(key)) {
      seen.add(key);
      texts.push(prompt);
      if (texts.length === perFile) await flush();
    }
    if (pair % 1000 === 0 || pair + 1 === set.length) onProgress('prompts', pair + 1, set.length);
  }
  await flush();
  onCut(cut, seen.size);
  return { texts: seen.size, files };
}

/** An encoded set, to be read by a training. */
export interface Encoded {
  folder: string;
  manifest: EncodedManifest;
  /** Files with the ids of their rows. */
  latents: { path: string; ids: string[] }[];
  prompts: { paths: string[]; row: (text: string) => number | undefined };
}

/** What is encoded of a set under this key (dtype aside); undefined when there is none or it is unfinished. */
export function openEncoded(set: string, key: Omit<EncodedKey, 'dtype'>): Encoded | undefined {
  for (const dtype of ['fp32', 'fp16', 'bf16'] as const) {
    const folder = folderOf(set, { ...key, dtype });
    if (!existsSync(join(folder, MANIFEST))) continue;
    const manifest = readShaped(join(folder, MANIFEST), ENCODED_MANIFEST, AGAIN);
    const path = (name: string) => join(folder, `${name}.safetensors`);
    const rows = new Map<string, number>();
    for (const name of manifest.prompts_files)
      for (const text of readSidecar(folder, name).rows) rows.set(text, rows.size);
    return {
      folder,
      manifest,
      latents: manifest.latents_files.map((name) => ({
        path: path(name),
        ids: readSidecar(folder, name).rows,
      })),
      prompts: { paths: manifest.prompts_files.map(path), row: (text) => rows.get(textKey(text)) },
    };
  }
  return undefined;
}
