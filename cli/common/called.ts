// How this program was called, so that the commands which it prints run as they stand.
import { realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join, parse, relative } from 'node:path';

const realPath = (path: string): string | undefined => {
  try {
    return realpathSync(path);
  } catch {
    return undefined; // not there
  }
};

/** 'drm' where PATH leads to this very program, 'npx drm' where npx ran it, else node with its file. */
export function callOf(program: string, env: NodeJS.ProcessEnv, folder: string): string {
  if (env.npm_lifecycle_event === 'npx' && /^drm\b/.test(env.npm_lifecycle_script ?? '')) return 'npx drm';
  const real = realPath(program);
  const folders = (env.PATH ?? '').split(delimiter).filter((one) => one !== '');
  if (real === undefined || folders.some((one) => realPath(join(one, 'drm')) === real)) return 'drm';
  const near = relative(folder, real);
  const file = near.startsWith('..') || isAbsolute(near) || folder === parse(folder).root ? real : near;
  return `node ${/^[\w@%+=:,./-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`}`;
}

let call: string | undefined;

/** Commands in a text begin with how drm was called; where drm is spoken of, it keeps its name. */
export function asCalled(text: string): string {
  if (!/\bdrm /.test(text)) return text;
  call ??= callOf(process.argv[1] ?? '', process.env, process.cwd());
  const instead = call;
  return instead === 'drm'
    ? text
    : text.replace(/(`|: |such as |as in |\$ |\n)drm (?=[a-zA-Z-])/g, (_, before) => `${before}${instead} `);
}
