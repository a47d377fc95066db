// What stands in for other programs and downloads in tests of the scripts.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { writeZip } from './zip_writer.mjs';

const scripts = resolve(import.meta.dirname, '..', '..', 'scripts');

/** The address of a file of scripts/, for an import. */
export const script = (name) => pathToFileURL(join(scripts, name)).href;

/** A checkout in `folder` that has the scripts alone: what they write of a checkout goes there. Gives addresses as `script`. */
export function checkoutOf(folder) {
  const copy = join(folder, 'checkout', 'scripts');
  cpSync(scripts, copy, { recursive: true });
  return (name) => pathToFileURL(join(copy, name)).href;
}

/** Runs a script in Node with just this environment (and where Node is); `folder` is the user's home. */
export function runNode(folder, text, env = {}) {
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', text], {
    encoding: 'utf8',
    env: { HOME: folder, ...env },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** A folder with programs: { name: shell script }. */
export function programs(folder, texts) {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const [name, text] of Object.entries(texts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return bin;
}

/** A python3 without torch whose pip "downloads" the wheel at `path`. */
export const pip = (path) => `
  [ "$1" = -c ] && exit 0
  [ "$3" = --version ] && exit 0
  while [ $# -gt 0 ]; do [ "$1" = --dest ] && dest=$2; shift; done
  /bin/mkdir -p "$dest" && /bin/cp ${path} "$dest/"`;

/** A wheel `name` with these contents ({ path: text }); `changed` differs from what its RECORD says. */
export function fakeWheel(folder, name, contents, changed = {}) {
  const sha = (content) => createHash('sha256').update(content).digest('base64url');
  const record = Object.entries(contents).map(([path, text]) => `${path},sha256=${sha(text)},${text.length}`);
  const entries = { ...contents, ...changed, [`${name}.dist-info/RECORD`]: `${record.join('\n')}\n` };
  const path = join(folder, `${name}-cp311-cp311-linux_x86_64.whl`);
  writeFileSync(
    path,
    writeZip(Object.entries(entries).map(([name, text]) => ({ name, content: Buffer.from(text), mode: 0o755 }))),
  );
  return path;
}
