// What a prepared set says about itself: manifest.json, written last, so that a folder with one is complete.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { throwLack } from '../errors.js';

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
  /** What one sample is: a picture with a caption, or two pictures of one prompt of which one was preferred. */
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
  /** Distinct pictures by split, of pairs. */
  pictures?: Record<string, number>;
  shards: Shard[];
}

const KINDS = { captions: 'pictures with captions', pairs: 'preference pairs' };

const bad = (file: string, what: string): DrmError =>
  new DrmError('BAD_FILE', `[data] ${file}: ${what}; prepare the set again with \`drm data prepare\``, { file });

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isShard(value: unknown): value is Shard {
  const shard = value as Shard | null;
  return (
    typeof shard === 'object' &&
    shard !== null &&
    // A manifest may come from elsewhere; its names must stay inside the folder.
    /^[\w][\w.-]*\.tar$/.test(String(shard.name)) &&
    typeof shard.split === 'string' &&
    isCount(shard.count) &&
    isCount(shard.bytes) &&
    /^[0-9a-f]{64}$/.test(String(shard.sha256))
  );
}

/** Throws DrmError BAD_FILE when the folder is no complete prepared set of this version, or not of the wanted kind. */
export function readManifest(folder: string, kind?: Manifest['kind']): Manifest {
  const file = join(folder, MANIFEST);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throwLack(error);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw bad(file, `cannot be read (${(error as Error).message})`);
    throw new DrmError(
      'BAD_FILE',
      `[data] ${folder}: expected a prepared set with ${MANIFEST}, found none; make one with \`drm data prepare\` (an unfinished one goes on by the same command)`,
      { file },
    );
  }
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch (error) {
    throw bad(file, `expected JSON (${(error as Error).message})`);
  }
  if (manifest?.format !== 'drm-data') throw bad(file, 'expected the manifest of a prepared set, found other JSON');
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
  if (!Array.isArray(manifest.shards)) throw bad(file, 'expected a list of shards');
  const odd = manifest.shards.findIndex((shard) => !isShard(shard));
  if (odd >= 0)
    throw bad(
      file,
      `shard ${odd}: expected name, split, count, bytes and sha256, found ${JSON.stringify(manifest.shards[odd])}`,
    );
  return manifest;
}
