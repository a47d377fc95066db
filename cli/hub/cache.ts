// The Hugging Face cache, in the layout that Python's huggingface_hub writes, so that both share it:
//   models--org--name/refs/<revision>        the commit that a branch or tag points to
//   models--org--name/snapshots/<commit>/... relative links to
//   models--org--name/blobs/<etag>
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export type RepositoryType = 'model' | 'dataset';

export function hubHome(): string {
  return process.env.HF_HOME || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
}

export function cacheFolder(): string {
  return process.env.HF_HUB_CACHE || join(hubHome(), 'hub');
}

export function repositoryFolder(id: string, type: RepositoryType = 'model'): string {
  return join(cacheFolder(), `${type}s--${id.replaceAll('/', '--')}`);
}

/** The folder of a revision that is in the cache, or undefined. */
export function cachedSnapshot(id: string, revision = 'main', type: RepositoryType = 'model'): string | undefined {
  const folder = repositoryFolder(id, type);
  const reference = join(folder, 'refs', revision);
  const commit = existsSync(reference) ? readFileSync(reference, 'utf8').trim() : revision;
  const snapshot = join(folder, 'snapshots', commit);
  return existsSync(snapshot) ? snapshot : undefined;
}

/** HF_TOKEN, or what `hf auth login` stored. */
export function hubToken(): string | undefined {
  if (process.env.HF_TOKEN) return process.env.HF_TOKEN.trim();
  const file = process.env.HF_TOKEN_PATH || join(hubHome(), 'token');
  return existsSync(file) ? readFileSync(file, 'utf8').trim() || undefined : undefined;
}

/** "org/name", as on the hub. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[\w.-]+$/.test(text) && !text.includes('..');
}
