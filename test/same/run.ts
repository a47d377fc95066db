// Runs the program and describes what came of it.
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Case } from './cases.js';
import { contentText } from './digests.js';
import { normalLines, normalOutput, normalText, type Places } from './normal.js';

export const THREADS = 2;

/** As in a pipe, alike on all machines; threads that wait sleep, so that a busy machine does not slow all down. */
const ENVIRONMENT = { CI: '1', NO_COLOR: '1', COLUMNS: '80', TZ: 'UTC', LC_ALL: 'C', OMP_WAIT_POLICY: 'PASSIVE' };

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs node with these words, in a folder. */
export function runNode(argv: readonly string[], cwd: string): Promise<Outcome> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, argv, {
      cwd,
      env: { ...process.env, ...ENVIRONMENT },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
    child.on('error', failed);
    child.on('close', (code) =>
      done({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }),
    );
  });
}

export class Product {
  readonly places: Places;

  constructor(
    /** The program's main.js. */
    readonly main: string,
    /** Where the cases work. */
    readonly work: string,
  ) {
    const paths: [string, string][] = [
      [realpathSync(work), '<work>'],
      [work, '<work>'],
      [this.root, '<drm>'],
    ];
    this.places = { names: paths.sort(([a], [b]) => b.length - a.length) };
  }

  /** The checkout that the program is of. */
  get root(): string {
    return resolve(dirname(this.main), '../..');
  }

  run(argv: readonly string[]): Promise<Outcome> {
    return runNode([this.main, ...argv], this.work);
  }

  /** What the case does, part by part: how it ended, what it said, what it wrote. */
  async observe(one: Case): Promise<Record<string, string>> {
    const place = (name: string) => `out/${name === 'out' ? one.name : name}`;
    one.before?.((name) => join(this.work, place(name)));
    const argv = one.argv.map((word) => word.replaceAll(/\{([^}]+)\}/g, (_, name: string) => place(name)));
    if (!one.bare) argv.push('--threads', String(THREADS), '--device', 'cpu');
    if (!one.bare && !argv.includes('--dtype')) argv.push('--dtype', 'fp32');
    if (!one.plain) argv.push('--json');
    const { code, stdout, stderr } = await this.run(argv);
    if (code !== one.code) throw new Error(`drm ${argv.join(' ')}: ended with ${code}: ${lastLines(stderr || stdout)}`);
    const parts: Record<string, string> = { exit: String(code) };
    if (one.plain) parts.stdout = normalText(stdout, this.places);
    else parts.events = normalLines(stdout, this.places);
    if (stderr !== '') parts.stderr = normalOutput(stderr, this.places);
    const out = join(this.work, place('out'));
    if (!existsSync(out)) return parts;
    for (const [name, text] of Object.entries(await contentText(out, this.places))) parts[`out/${name}`] = text;
    return parts;
  }
}

const lastLines = (text: string): string => text.trimEnd().split('\n').slice(-3).join('\n').slice(-2000);
