// The Hugging Face cache, in the layout that Python's huggingface_hub writes, so that both share it:
//   models--org--name/refs/<revision>        the commit that a branch or tag points to
//   models--org--name/snapshots/<commit>/... relative links to
//   models--org--name/blobs/<etag>
// Where there are no symbolic links (or HF_HUB_DISABLE_SYMLINKS), the snapshot holds the files themselves.
import { readFileSync, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';

export type RepositoryType = 'model' | 'dataset';

/** A variable's value; an empty one counts as unset. */
const variable = (name: string): string | undefined => process.env[name] || undefined;

/** Whether a variable says yes, as huggingface_hub reads it. */
export const isOn = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

function home(user: string): string | undefined {
  try {
    if (user === '') return homedir();
    if (user === userInfo().username) return userInfo().homedir;
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((entry) => entry.startsWith(`${user}:`));
    return line?.split(':')[5];
  } catch {
    return undefined; // a user without an entry, as containers have them
  }
}

/** `~`, `~user`, then `$NAME` and `${NAME}`, as Python's expanduser and expandvars: what is not known stays as it is. */
export function expandPath(path: string): string {
  const [, user, rest] = /^~([^/]*)(.*)$/s.exec(path) ?? [];
  const folder = user === undefined ? undefined : home(user);
  const whole = folder === undefined ? path : `${folder.replace(/\/+$/, '')}${rest}` || '/';
  return whole.replace(
    /\$(?:([A-Za-z0-9_]+)|\{([^}]*)\})/g,
    (text, bare?: string, braced?: string) => process.env[bare ?? braced ?? ''] ?? text,
  );
}

export function hubHome(): string {
  return expandPath(variable('HF_HOME') ?? join(variable('XDG_CACHE_HOME') ?? '~/.cache', 'huggingface'));
}

export function cacheFolder(): string {
  return expandPath(variable('HF_HUB_CACHE') ?? variable('HUGGINGFACE_HUB_CACHE') ?? join(hubHome(), 'hub'));
}

export function repositoryFolder(id: string, type: RepositoryType = 'model'): string {
  return join(cacheFolder(), `${type}s--${id.replaceAll('/', '--')}`);
}

/** A name that stays inside its folder. */
export const staysInside = (path: string): boolean =>
  !path.includes('\0') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');

/** The folder of a revision that is in the cache, or undefined. */
export function cachedSnapshot(id: string, revision = 'main', type: RepositoryType = 'model'): string | undefined {
  if (!staysInside(revision)) return undefined;
  const folder = repositoryFolder(id, type);
  let commit = revision;
  try {
    commit = readFileSync(join(folder, 'refs', revision), 'utf8').trim();
  } catch {} // a commit has no reference
  if (!staysInside(commit)) return undefined;
  const snapshot = join(folder, 'snapshots', commit);
  return statSync(snapshot, { throwIfNoEntry: false })?.isDirectory() ? snapshot : undefined;
}

/** No request may leave this machine for the hub. */
export const isOffline = (): boolean => isOn(variable('HF_HUB_OFFLINE') ?? variable('TRANSFORMERS_OFFLINE'));

const cleaned = (text: string | undefined): string | undefined => text?.replace(/[\r\n]/g, '').trim() || undefined;

/**
 * HF_TOKEN, or what `hf auth login` stored; line breaks in it and spaces around it are passed over, as Python does.
 * Throws DrmError BAD_CONFIG for what is no token, never with any of it: messages get copied into bug reports.
 */
export function hubToken(): string | undefined {
  let from = variable('HF_TOKEN') ? 'HF_TOKEN' : 'HUGGING_FACE_HUB_TOKEN';
  let token = cleaned(variable(from));
  if (token === undefined) {
    from = expandPath(variable('HF_TOKEN_PATH') ?? join(hubHome(), 'token'));
    try {
      token = cleaned(readFileSync(from, 'utf8'));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(code)) return undefined;
      throw new DrmError(
        'BAD_CONFIG',
        `[hub] ${from}: expected a readable file with a hub token (${code}); check HF_TOKEN_PATH and the file's permissions, or set HF_TOKEN`,
        { file: from },
      );
    }
  }
  // What a header can carry in one word.
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
    throw new DrmError(
      'BAD_CONFIG',
      `[hub] ${from}: expected a hub token, one word of plain letters and digits, found spaces or other characters in it; copy it again from your hub settings`,
      { key: from },
    );
  return token;
}

/** The hub's address without a slash at the end. Throws DrmError BAD_CONFIG when HF_ENDPOINT is none. */
export function endpoint(): string {
  const text = (variable('HF_ENDPOINT') ?? 'https://huggingface.co').trim().replace(/\/+$/, '');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bad = (found: string) =>
    new DrmError(
      'BAD_CONFIG',
      `[hub] HF_ENDPOINT: expected a hub's address such as https://huggingface.co, found ${found}; correct or unset it`,
      { key: 'HF_ENDPOINT' },
    );
  // The text is shown only when it can hold no password.
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw bad(text.includes('@') ? 'no URL' : JSON.stringify(text));
  if (url.username !== '' || url.password !== '') throw bad('a user or password in it; access is by HF_TOKEN');
  if (url.search !== '' || url.hash !== '') throw bad('a query or fragment in it');
  return text;
}

/** "org/name", as on the hub. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[\w.-]+$/.test(text) && !text.includes('..');
}
