// Runs a script in a Node process of its own: whether a process ends, and how, can only be seen from outside.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export const root = resolve(import.meta.dirname, '..', '..');
export const dist = (path: string) => pathToFileURL(resolve(root, 'dist', path)).href;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  millis: number;
}

export interface RunOptions {
  args?: string[];
  env?: Record<string, string>;
  /** A process that lives longer hangs: it is killed, which shows as signal SIGKILL. */
  limit?: number;
}

/** What scripts find defined. */
const prelude = `
import { native } from '${dist('binding/native.js')}';
import { runJob } from '${dist('binding/job.js')}';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
const testJob = (options, job = {}) => runJob(job, (addon, listen) => addon.testJob(options, listen));
const print = (value) => console.log(JSON.stringify(value));
`;

export function runScript(script: string, { args = [], env = {}, limit = 30_000 }: RunOptions = {}): Promise<Ended> {
  const started = performance.now();
  const child = spawn(process.execPath, [...args, '--input-type=module', '-e', prelude + script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), limit);
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      done({ code, signal, stdout, stderr, millis: performance.now() - started });
    });
  });
}

/** The JSON that a script printed last, after it ended well. */
export async function resultOf<Result>(script: string, options?: RunOptions): Promise<Result> {
  const ended = await runScript(script, options);
  if (ended.code !== 0 || ended.stderr !== '') {
    throw new Error(`exit code ${ended.code}, signal ${ended.signal}\n${ended.stdout}\n${ended.stderr}`);
  }
  return JSON.parse(ended.stdout.trimEnd().split('\n').at(-1) ?? '');
}
