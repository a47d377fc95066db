// Starting other programs: their whole output goes to build/logs, and a failure quotes its last lines.
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, relative } from 'node:path';
import { SetupError } from './errors.mjs';
import { logDir, root } from './paths.mjs';

/** Compilers started at once. DRM_JOBS lowers it where memory or patience is short. */
export function jobs() {
  const asked = Number.parseInt(process.env.DRM_JOBS ?? '', 10);
  return asked > 0 ? asked : cpus().length;
}

/** Short questions ("which version?"): { ok, out, err }; never throws. */
export function ask(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000, ...options });
  const err = result.error ? String(result.error.message) : (result.stderr ?? '');
  return { ok: !result.error && result.status === 0, out: (result.stdout ?? '').trim(), err: err.trim() };
}

/** Opens build/logs/<name>.log afresh; several commands of one step write to the same one. */
export function openLog(name) {
  mkdirSync(logDir, { recursive: true });
  const path = join(logDir, `${name}.log`);
  return { path, stream: createWriteStream(path, { flags: 'w' }) };
}

/** The end of a log, and before it the first errors, which a long help text or a cascade may have pushed out of it. */
function excerpt(text, last = 30, first = 5) {
  const lines = text.trimEnd().split('\n');
  const early = lines.slice(0, -last).filter((line) => /\berror\b.*\w/i.test(line));
  return [...early.slice(0, first), ...(early.length > 0 ? ['  …'] : []), ...lines.slice(-last)].join('\n');
}

/**
 * Runs to the end with output in `log`. On failure throws a SetupError with the log's first errors and
 * last 30 lines, and `advice`.
 */
export async function run(command, args, { log, advice, cwd = root, env = process.env }) {
  log.stream.write(`$ ${[command, ...args].join(' ')}\n`);
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.pipe(log.stream, { end: false });
  child.stderr.pipe(log.stream, { end: false });
  const ended = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? '' : signal ? `signal ${signal}` : `exit code ${code}`));
  });
  if (ended === '') return;
  await new Promise((resolve) => log.stream.end(resolve));
  const shown = relative(root, log.path);
  throw new SetupError(
    [
      `\n${excerpt(readFileSync(log.path, 'utf8'))}`,
      `\n[setup] ${command} failed: ${ended}. Its whole output: ${shown}.`,
      ...(advice ? [`What to do: ${advice}`] : []),
    ].join('\n'),
  );
}
