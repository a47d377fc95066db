// The folder of a chain:
//   reproduce.json          the config that it is for
//   steps/<id>.json         the record of a step that is done
//   results/<id>-<stamp>/   what it left; the stamp is of its command line and of the records of what it needed, so that
//                           results of other settings never lie in the same folder
//   logs/<id>.log           what its command said
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { diskError, makeFolder, prepareFolder, sweepUnfinished, writeAtomically } from '../common/files.js';
import { readShaped } from '../common/json.js';
import { FileLock, nameOf } from '../common/lock.js';
import { flag, listOf, mapOf, number, objectOf, text } from '../common/shape.js';
import { VERSION } from '../common/version.js';
import type { Step } from './step.js';

const CONFIG_FILE = 'reproduce.json';
const LOCK_FILE = 'reproduce.lock';

/** What is kept of a step that is done. */
export interface StepRecord {
  id: string;
  stamp: string;
  /** After `drm`, --out among them. */
  argv: string[];
  /** The sha256 of the records of what it needed, by their ids. */
  inputs: Record<string, string>;
  /** ISO 8601, of the last sitting. */
  began: string;
  seconds: number;
  /** It was interrupted: `seconds` are those of the last sitting. */
  resumed: boolean;
  /** Of its results. */
  bytes: number;
  /** As the command named it, '' where it did not; and what that is. */
  device: string;
  machine: string;
  drm: string;
}

const RECORD = objectOf<StepRecord>({
  ...{ id: text, stamp: text, argv: listOf(text), inputs: mapOf(text), began: text, seconds: number, resumed: flag },
  ...{ bytes: number, device: text, machine: text, drm: text },
});

export interface StepState {
  /**
   * `anew`: it was done with other settings or other inputs. `waits`: what it needs is not done, so that nothing more is
   * known; `changes`: likewise, and it was done.
   */
  state: 'done' | 'resumes' | 'runs' | 'anew' | 'waits' | 'changes';
  /** Of a step that is done. */
  record?: StepRecord;
  /** Of all but those that wait. */
  stamp?: string;
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

/** Words that every command gets, and that are part of what it computes: --device, --dtype. */
export type SharedWords = readonly string[];

export class ChainFolder {
  constructor(
    readonly path: string,
    private readonly prompts: string,
    private readonly shared: SharedWords,
  ) {}

  /** Throws DrmError BAD_REQUEST for a folder of something else; reads only. */
  check(config: string): void {
    const file = join(this.path, CONFIG_FILE);
    const refuse = (found: string) => {
      throw new DrmError(
        'BAD_REQUEST',
        `[reproduce] ${this.path}: expected a new or empty folder, or one of ${config}, found ${found}; name another with --out`,
        { folder: this.path },
      );
    };
    if (existsSync(this.path) && !statSync(this.path).isDirectory()) refuse('a file');
    if (existsSync(file)) {
      const { config: other } = readShaped(file, objectOf({ config: text }), { part: 'reproduce' });
      if (other !== config) refuse(`that of ${other}`);
      return;
    }
    const present = existsSync(this.path) ? readdirSync(this.path).filter((name) => !name.startsWith('.')) : [];
    if (present.some((name) => name !== LOCK_FILE)) refuse(present.slice(0, 3).join(', '));
  }

  /** Takes the folder for this config and this process. Throws DrmError BAD_REQUEST, DISK. */
  async claim(config: string): Promise<FileLock> {
    this.check(config);
    await prepareFolder(this.path);
    const lock = join(this.path, LOCK_FILE);
    const got = await FileLock.take(lock).catch((error: unknown) => {
      throw diskError(lock, error);
    });
    if (!(got instanceof FileLock))
      throw new DrmError(
        'BAD_REQUEST',
        `[reproduce] ${this.path}: expected to be alone in it, found ${nameOf(got)} at work there; wait for it or stop it, or name another folder with --out`,
        { folder: this.path, pid: String(got.pid) },
      );
    for (const name of ['steps', 'results', 'logs']) await makeFolder(join(this.path, name));
    await sweepUnfinished(this.path, [CONFIG_FILE]);
    if (!existsSync(join(this.path, CONFIG_FILE)))
      await writeAtomically(join(this.path, CONFIG_FILE), `${JSON.stringify({ config, drm: VERSION }, null, 2)}\n`);
    return got;
  }

  logOf = ({ id }: Step): string => join(this.path, 'logs', `${id}.log`);
  #recordFile = (id: string): string => join(this.path, 'steps', `${id}.json`);

  #read(id: string): { record: StepRecord; hash: string } | undefined {
    const file = this.#recordFile(id);
    if (!existsSync(file)) return undefined;
    const advice = 'remove it, and the step is done again';
    return { record: readShaped(file, RECORD, { part: 'reproduce', advice }), hash: sha256(readFileSync(file)) };
  }

  /** Where a step with this stamp leaves its results. */
  resultsOf = ({ id }: Step, stamp: string): string => join(this.path, 'results', `${id}-${stamp.slice(0, 8)}`);

  /** How far a step is. Throws DrmError BAD_FILE for a damaged record. */
  look(step: Step): StepState {
    const known = this.#read(step.id);
    const needed = step.needs.map((one) => this.look(one));
    if (needed.some(({ state }) => state !== 'done')) return { state: known ? 'changes' : 'waits' };
    const stamp = this.#stampOf(step);
    const results = this.resultsOf(step, stamp);
    if (known?.record.stamp === stamp && existsSync(join(results, step.result)))
      return { state: 'done', record: known.record, stamp };
    if (existsSync(results)) return { state: 'resumes', stamp };
    return { state: known ? 'anew' : 'runs', stamp };
  }

  #inputsOf = ({ needs }: Step): Record<string, string> =>
    Object.fromEntries(needs.map(({ id }) => [id, this.#read(id)?.hash ?? '']));

  #stampOf(step: Step): string {
    const folder = (needed: Step) => basename(this.resultsOf(needed, this.look(needed).stamp ?? ''));
    const words = [...step.words({ folder, prompts: basename(this.prompts) }), ...this.shared];
    return sha256(JSON.stringify([words, this.#inputsOf(step)]));
  }

  /** The command line after `drm`; folders that are not known yet end in -…. */
  argvOf(step: Step, { stamp }: Pick<StepState, 'stamp'>): string[] {
    const folder = (one: Step) => {
      const known = one === step ? stamp : this.look(one).stamp;
      return known === undefined ? join(this.path, 'results', `${one.id}-…`) : this.resultsOf(one, known);
    };
    return [...step.words({ folder, prompts: this.prompts }), ...this.shared, '--out', folder(step)];
  }

  /** Says that a step is done. */
  async record(step: Step, done: Omit<StepRecord, 'id' | 'inputs' | 'drm'>): Promise<void> {
    const record: StepRecord = { id: step.id, inputs: this.#inputsOf(step), drm: VERSION, ...done };
    await writeAtomically(this.#recordFile(step.id), `${JSON.stringify(record, null, 2)}\n`);
  }
}

/** Of all files below. */
export function bytesBelow(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sum + bytesBelow(path);
    return entry.isFile() ? sum + statSync(path).size : sum;
  }, 0);
}
