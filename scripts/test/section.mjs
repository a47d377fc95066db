// What every section of the test run needs: running a command with its output seen, kept, or both.
import { spawn } from 'node:child_process';
import { root } from '../setup/paths.mjs';

/** A section's result. */
export const counts = (passed, failed, skipped = 0) => ({ passed, failed, skipped });

/** Our own pipe hides from the command whether a terminal is behind it. */
const colour = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' };

/** Runs a command; `show` passes its output through. Resolves to { code, output }; a signal counts as code 1. */
export function capture(command, args, { show = false, env = { ...process.env, ...colour } } = {}) {
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.setEncoding('utf8');
    from.on('data', (text) => {
      output += text;
      if (show) to.write(text);
    });
  }
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 1, output: `${output}${error.message}\n` }));
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

/** The numbers of a last line `N passed, N failed`, if there is one. */
export function lastCounts(output) {
  const found = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1);
  return found && counts(Number(found[1]), Number(found[2]));
}
