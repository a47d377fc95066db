// The hub's HTTP interface: what a repository holds, and its files' bytes.
import { DrmError } from '../../binding/error.js';
import { hubToken, type RepositoryType } from './cache.js';

/** One file of a repository. `hash` is sha256 for large files (LFS), git's blob sha1 for others. */
export interface RemoteFile {
  path: string;
  size: number;
  hash: string;
  lfs: boolean;
}

const ATTEMPTS = 5;
const FIRST_WAIT_MS = 500;

export function endpoint(): string {
  return (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
}

const wait = (ms: number, signal: AbortSignal) =>
  new Promise<void>((done, failed) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      failed(signal.reason);
    });
  });

/** What an answer that is no success means for the user. */
function refusal(status: number, code: string, what: string, id: string): DrmError {
  const page = `${endpoint()}/${id}`;
  const token = hubToken() !== undefined;
  const details = { status: String(status), id };
  if (status === 401 || status === 403 || code === 'GatedRepo') {
    const next =
      code === 'GatedRepo' || status === 403
        ? `this model is gated: accept its licence at ${page}${token ? ', with the account that HF_TOKEN belongs to, and see that the token may read gated repositories' : ', then set HF_TOKEN to a token of that account'}`
        : token
          ? 'the hub does not accept this HF_TOKEN, or the repository does not exist; make a new token in your hub settings'
          : `the repository is private, gated or does not exist; check the name, accept the licence at ${page} if there is one, and set HF_TOKEN`;
    return new DrmError('NETWORK', `[pull] ${what}: the hub answered ${status}; ${next}`, details);
  }
  if (status === 404) {
    const next =
      code === 'RevisionNotFound'
        ? 'there is no such branch, tag or commit; check --revision'
        : code === 'EntryNotFound'
          ? 'there is no such file'
          : 'there is no such repository; check the spelling (org/name), and --repo-type dataset for data sets';
    return new DrmError('NETWORK', `[pull] ${what}: the hub answered 404; ${next}`, details);
  }
  if (status === 429)
    return new DrmError(
      'NETWORK',
      `[pull] ${what}: the hub asks to slow down (429), also after ${ATTEMPTS} tries; wait some minutes and run the same command, which goes on where it stopped`,
      details,
    );
  return new DrmError(
    'NETWORK',
    `[pull] ${what}: the hub answered ${status}; try again later, the same command goes on where it stopped`,
    details,
  );
}

/**
 * GET with the token, redirects followed by hand so that the token stays with the hub's own origin, and bounded tries
 * when the hub is busy or the connection breaks. Throws DrmError NETWORK, or the signal's reason.
 */
export async function get(
  url: string,
  what: string,
  id: string,
  signal: AbortSignal,
  headers: Record<string, string> = {},
): Promise<Response> {
  const home = new URL(endpoint()).origin;
  for (let attempt = 1; ; attempt++) {
    let problem: string;
    let pause = FIRST_WAIT_MS * 2 ** (attempt - 1);
    try {
      let at = new URL(url);
      for (let hop = 0; ; hop++) {
        const token = hubToken();
        const authorization: Record<string, string> =
          token && at.origin === home ? { authorization: `Bearer ${token}` } : {};
        const response = await fetch(at, { headers: { ...headers, ...authorization }, redirect: 'manual', signal });
        const location = response.headers.get('location');
        if (response.status >= 300 && response.status < 400 && location && hop < 10) {
          await response.body?.cancel();
          at = new URL(location, at);
          continue;
        }
        if (response.ok) return response;
        await response.body?.cancel();
        const failure = refusal(response.status, response.headers.get('x-error-code') ?? '', what, id);
        if (response.status !== 429 && response.status < 500) throw failure;
        if (attempt >= ATTEMPTS) throw failure;
        const asked = Number(response.headers.get('retry-after'));
        if (asked > 0) pause = Math.min(asked, 120) * 1000;
        problem = '';
        break;
      }
    } catch (error) {
      if (signal.aborted || error instanceof DrmError) throw error;
      problem = ((error as Error).cause as Error | undefined)?.message || (error as Error).message;
    }
    if (attempt >= ATTEMPTS)
      throw new DrmError(
        'NETWORK',
        `[pull] ${what}: ${endpoint()} cannot be reached (${problem}); check the network, a proxy or HF_ENDPOINT`,
        { id },
      );
    await wait(pause, signal);
  }
}

const apiPath = (type: RepositoryType) => `${endpoint()}/api/${type}s`;

export async function resolveRevision(
  id: string,
  type: RepositoryType,
  revision: string,
  signal: AbortSignal,
): Promise<string> {
  const response = await get(
    `${apiPath(type)}/${id}/revision/${encodeURIComponent(revision)}`,
    `${id} at ${revision}`,
    id,
    signal,
  );
  const { sha } = (await response.json()) as { sha?: unknown };
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha))
    throw new DrmError(
      'NETWORK',
      `[pull] ${id}: expected a commit from the hub, found ${JSON.stringify(sha)}; is HF_ENDPOINT a hub?`,
      { id },
    );
  return sha;
}

interface TreeEntry {
  type?: string;
  path?: string;
  size?: number;
  oid?: string;
  lfs?: { oid?: string; size?: number };
}

/** A name that stays inside its folder, whatever the hub says. */
function safe(path: string): boolean {
  return (
    path !== '' &&
    !path.startsWith('/') &&
    !path.includes('\\') &&
    !path.split('/').some((part) => part === '' || part === '.' || part === '..')
  );
}

export async function listFiles(
  id: string,
  type: RepositoryType,
  commit: string,
  signal: AbortSignal,
): Promise<RemoteFile[]> {
  const files: RemoteFile[] = [];
  let next: string | undefined = `${apiPath(type)}/${id}/tree/${commit}?recursive=true`;
  while (next) {
    const response = await get(next, `the files of ${id}`, id, signal);
    for (const entry of (await response.json()) as TreeEntry[]) {
      if (entry.type !== 'file') continue;
      const hash = entry.lfs?.oid ?? entry.oid ?? '';
      if (typeof entry.path !== 'string' || !safe(entry.path) || !/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(hash))
        throw new DrmError(
          'NETWORK',
          `[pull] ${id}: the hub names a file that cannot be stored safely: ${JSON.stringify(entry.path)}`,
          { id },
        );
      files.push({ path: entry.path, size: entry.lfs?.size ?? entry.size ?? 0, hash, lfs: entry.lfs !== undefined });
    }
    const link = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
    next = link && new URL(link, next).toString();
  }
  return files;
}

export function fileUrl(id: string, type: RepositoryType, commit: string, path: string): string {
  return `${endpoint()}/${type === 'dataset' ? 'datasets/' : ''}${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
}
