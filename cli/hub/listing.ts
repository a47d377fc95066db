// The files of a repository as the hub lists them, checked: a name may lead nowhere else, a size and a hash must be some.
import { DrmError } from '../../binding/error.js';
import { staysInside } from './cache.js';

/** One file of a repository. `hash` is sha256 for large files (LFS), git's blob sha1 for others. */
export interface RemoteFile {
  path: string;
  size: number;
  hash: string;
  lfs: boolean;
}

/** Bytes of one part of a path, on the file systems that people use. */
const LONGEST_NAME = 255;

/** Why a path cannot be stored, or undefined. */
function flawOf(path: unknown): string | undefined {
  if (typeof path !== 'string' || path === '') return 'no name';
  if (!staysInside(path) || path.includes('\\')) return 'a name that leads elsewhere';
  if (!path.isWellFormed()) return 'a name that is no text';
  const longest = Math.max(...path.split('/').map((part) => Buffer.byteLength(part)));
  return longest > LONGEST_NAME ? `a name of ${longest} bytes, where file systems hold ${LONGEST_NAME}` : undefined;
}

/** The files among the entries of a listing. Throws DrmError NETWORK with the first that is none. */
export function checkedFiles(entries: unknown[], id: string): RemoteFile[] {
  const files = new Map<string, RemoteFile>();
  const folders = new Set<string>();
  const sizes = new Map<string, number>();
  const bad = (path: unknown, why: string) => {
    const shown = (JSON.stringify(path) ?? 'nothing').slice(0, 100);
    return new DrmError(
      'NETWORK',
      `[pull] ${id}: the hub names a file that cannot be stored safely: ${shown}: ${why}`,
      {
        id,
      },
    );
  };
  for (const entry of entries) {
    if (typeof entry !== 'object' || entry === null) throw bad(entry, 'expected an object for each file');
    const { type, path, size, oid, lfs } = entry as Record<string, unknown>;
    if (type !== 'file') continue;
    const flaw = flawOf(path);
    if (flaw !== undefined) throw bad(path, flaw);
    const large = typeof lfs === 'object' && lfs !== null ? (lfs as Record<string, unknown>) : undefined;
    const file = { path, size: large ? large.size : size, hash: large ? large.oid : oid, lfs: large !== undefined };
    if (!Number.isSafeInteger(file.size) || (file.size as number) < 0)
      throw bad(path, `expected its size in bytes, found ${(JSON.stringify(file.size) ?? 'none').slice(0, 40)}`);
    if (typeof file.hash !== 'string' || !(large ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(file.hash))
      throw bad(path, `expected its ${large ? 'sha256' : 'git hash'}, found none`);
    const found = file as RemoteFile;
    const before = files.get(found.path);
    if (before && before.hash !== found.hash) throw bad(path, 'it is listed twice, with different contents');
    if ((sizes.get(found.hash) ?? found.size) !== found.size)
      throw bad(path, 'the same content is listed with two sizes');
    sizes.set(found.hash, found.size);
    files.set(found.path, found);
    for (let at = found.path.lastIndexOf('/'); at > 0; at = found.path.lastIndexOf('/', at - 1))
      folders.add(found.path.slice(0, at));
  }
  for (const path of files.keys()) if (folders.has(path)) throw bad(path, 'it is a file and a folder at once');
  return [...files.values()];
}
