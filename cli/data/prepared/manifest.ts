// What a prepared set says about itself: manifest.json, written last, so that a folder with one is complete.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { fileFault, type JsonFile, readObject, shaped } from '../../common/json.js';
import { anything, count, listOf, mapOf, matching, objectOf, optional, type Shape, text } from '../../common/shape.js';
import { BLOCK } from '../io/tar.js';

export const MANIFEST = 'manifest.json';
/** Counts breaking changes of the layout of a prepared folder. */
export const FORMAT_VERSION = 1;

export interface Shard {
  /** File name in the set's folder. */
  name: string;
  split: string;
  /** Samples inside. */
  count: number;
  bytes: number;
  sha256: string;
}

/** Where records came from, and on what terms. */
export interface SourceNote {
  name: string;
  version?: string;
  author?: string;
  url?: string;
  licence?: string;
  licence_url?: string;
}

export interface Manifest {
  format: 'drm-data';
  version: number;
  /** What one sample is: an image with a caption, or two images of one prompt of which one was preferred. */
  kind: 'captions' | 'pairs';
  tool: string;
  /** What decided the result; the same settings give the same bytes. */
  settings: Record<string, unknown>;
  records: number;
  kept: number;
  dropped: Record<string, number>;
  sources: (SourceNote & { kept: number })[];
  /** Samples by split. */
  splits: Record<string, number>;
  /** Distinct images by split, of pairs. */
  images?: Record<string, number>;
  shards: Shard[];
}

const KINDS = { captions: 'images with captions', pairs: 'preference pairs' };

const FILE: JsonFile = { part: 'data', advice: 'prepare the set again with `drm data prepare`' };

const bad = (file: string, what: string): DrmError => fileFault(file, what, FILE);

const counts = mapOf(count);

/** It may come from elsewhere: its name must stay inside the folder. */
export const SHARD = objectOf<Shard>({
  name: matching(/^\w[\w.-]*\.tar$/, 'the name of a .tar'),
  split: text,
  count,
  bytes: count,
  sha256: matching(/^[0-9a-f]{64}$/, 'a sha256'),
});

/** Of a manifest whose format, version and kind are known. */
const REST = objectOf<Omit<Manifest, 'format' | 'version' | 'kind'>>(
  {
    tool: text,
    settings: mapOf(anything),
    records: count,
    kept: count,
    dropped: counts,
    sources: listOf(
      objectOf<Manifest['sources'][number]>({
        name: text,
        kept: count,
        version: optional(text),
        author: optional(text),
        url: optional(text),
        licence: optional(text),
        licence_url: optional(text),
      } as { [K in keyof Manifest['sources'][number]]-?: Shape<Manifest['sources'][number][K]> }),
    ),
    splits: counts,
    images: optional(counts) as Shape<Record<string, number>>,
    shards: listOf(SHARD),
  },
  { images: 'pictures' },
);

/** Of a sample: its sidecar and that's header. Memory is taken by these counts. */
const LEAST_SAMPLE = 2 * BLOCK;

/** Throws DrmError BAD_FILE when the folder is no complete prepared set of this version, or not of the wanted kind. */
export function readManifest(folder: string, kind?: Manifest['kind']): Manifest {
  const file = join(folder, MANIFEST);
  if (!existsSync(file))
    throw new DrmError(
      'BAD_FILE',
      `[data] ${folder}: expected a prepared set with ${MANIFEST}, found none; make one with \`drm data prepare\` (an unfinished one goes on by the same command)`,
      { file },
    );
  const manifest = readObject(file, FILE) as unknown as Manifest;
  if (manifest.format !== 'drm-data') throw bad(file, 'expected the manifest of a prepared set, found other JSON');
  if (manifest.version !== FORMAT_VERSION)
    throw bad(file, `expected format version ${FORMAT_VERSION}, found ${JSON.stringify(manifest.version)}`);
  if (!Object.hasOwn(KINDS, manifest.kind))
    throw bad(file, `expected ${Object.values(KINDS).join(' or ')}, found kind ${JSON.stringify(manifest.kind)}`);
  if (kind !== undefined && manifest.kind !== kind)
    throw new DrmError(
      'BAD_FILE',
      `[data] ${folder}: expected ${KINDS[kind]}, found ${KINDS[manifest.kind]}; name another set, or prepare one (\`drm data prepare --help\` says from what)`,
      { file },
    );
  shaped(file, manifest, REST, FILE);
  for (const { name, split, count: samples, bytes } of manifest.shards) {
    if (!Object.hasOwn(manifest.splits, split)) throw bad(file, `${name}: expected its split ${split} among splits`);
    if (samples * LEAST_SAMPLE > bytes) throw bad(file, `${name}: ${samples} samples do not fit into ${bytes} bytes`);
  }
  return manifest;
}
