// Runs the real command line in a process of its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const drm = join(repository, 'dist/cli/main.js');
/** On PATH, as an installed drm is: hints then say `drm`. */
const installed = mkdtempSync(join(tmpdir(), 'drm-test-bin-'));
symlinkSync(drm, join(installed, 'drm'));
process.once('exit', () => rmSync(installed, { recursive: true, force: true }));
const PATH = [installed, process.env.PATH ?? ''].join(delimiter);

export const fixture = join(repository, 'test/golden/pipeline');

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Another program than drm. */
  program?: string;
  /** Called with the process at once. */
  onStart?: (kill: (signal: NodeJS.Signals) => void) => void;
  /** Called with the process once its output contains `when`. */
  onOutput?: { when: string; act: (kill: (signal: NodeJS.Signals) => void) => void };
}

export function runDrm(args: string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [options.program ?? drm, ...args], {
      cwd: options.cwd ?? repository,
      env: { ...process.env, PATH, CI: '1', NO_COLOR: '1', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    options.onStart?.((signal) => child.kill(signal));
    let stdout = '';
    let stderr = '';
    let acted = false;
    const look = () => {
      const { onOutput } = options;
      if (!onOutput || acted || !(stdout + stderr).includes(onOutput.when)) return;
      acted = true;
      onOutput.act((signal) => child.kill(signal));
    };
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
      look();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
      look();
    });
    child.on('error', failed);
    child.on('close', (code) => done({ code, stdout, stderr }));
  });
}

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A folder that goes when the test file ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'drm-test-'));
  folders.push(folder);
  return folder;
}

/** The smallest real run. */
export const quick = ['sample', '--model', fixture, '--steps', '2', '--height', '32', '--width', '48'];
