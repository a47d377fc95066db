// What the benchmarks share: where things are, medians, timed processes.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const drm = join(repository, 'dist/cli/main.js');
export const python = process.env.DRM_BENCH_PYTHON ?? 'python3';

export const median = (values: number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Enough digits for a figure. */
export const rounded = (value: number, digits = 4) => Number(value.toPrecision(digits));

export const machine = () => ({ cpu: cpus()[0]?.model, date: new Date().toISOString().slice(0, 10) });

/** Whether the other side can run; says so where it cannot. */
export function pythonHas(module: string): boolean {
  const found = spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore' }).status === 0;
  if (!found)
    console.error(`NOT COMPARED: ${python} has no ${module}; set DRM_BENCH_PYTHON. Only drm's own figures follow.`);
  return found;
}

export interface Timed {
  seconds: number;
  /** Of all its threads; what other programs do at the same time does not count. */
  cpuSeconds: number;
  stdout: string;
  /** Resident memory as Linux counts it. */
  peakMb: number;
}

/** Clock ticks a second, in which Linux tells a process's time. */
const TICKS = 100;

/** Runs a program to its end. */
export function timed(command: string, args: string[]): Promise<Timed> {
  return new Promise((done, failed) => {
    const started = performance.now();
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    let peakMb = 0;
    let cpuSeconds = 0;
    // VmHWM only grows, so the last reading before the end is the peak but for its last moments.
    const timer = setInterval(() => {
      try {
        const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
        peakMb = Math.max(peakMb, Number(peak ?? 0) / 1024);
        // After the name, which may hold spaces: utime and stime are fields 14 and 15.
        const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ');
        cpuSeconds = Math.max(cpuSeconds, (Number(fields[11]) + Number(fields[12])) / TICKS);
      } catch {
        // it has ended
      }
    }, 5);
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.on('error', failed);
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) done({ seconds: (performance.now() - started) / 1000, cpuSeconds, stdout, peakMb });
      else failed(new Error(`${command} ${args.join(' ')}: exit ${code}\n${stderr}`));
    });
  });
}
