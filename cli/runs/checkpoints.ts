// checkpoints/<step>/: written beside, synced, renamed. The last file written, checkpoint.json, holds the size and hash of
// all others, so that a checkpoint is either known to be whole or refused by name.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { diskError, syncFolder } from '../common/files.js';
import { parseJson } from '../common/json.js';
import * as shape from '../common/shape.js';
import { objectOf } from '../common/shape.js';
import { VERSION } from '../common/version.js';

const SEAL = 'checkpoint.json';

export interface Checkpoint {
  step: number;
  folder: string;
  /** What the loop keeps besides the task's own files. */
  state: Record<string, unknown>;
  settingsHash: string;
}

interface Seal {
  drm: string;
  step: number;
  settings_hash: string;
  state: Record<string, unknown>;
  files: Record<string, { bytes: number; sha256: string }>;
}

const SEALED = {
  drm: shape.text,
  step: shape.count,
  settings_hash: shape.text,
  state: shape.mapOf(shape.anything),
  files: shape.mapOf(objectOf<Seal['files'][string]>({ bytes: shape.count, sha256: shape.text })),
};

export interface KeepRule {
  /** The newest so many stay. */
  last: number;
  /** And those at multiples of this many steps; 0 is none. */
  every: number;
}

const seal = (content: Seal): string => {
  const text = JSON.stringify(content);
  return `${JSON.stringify({ ...content, sha256: createHash('sha256').update(text).digest('hex') }, null, 2)}\n`;
};

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(part as Buffer);
  return hash.digest('hex');
}

const refused = (folder: string, what: string, details: Record<string, string> = {}) =>
  new DrmError(
    'BAD_FILE',
    `[checkpoint] ${folder}: ${what}; it is damaged or was not finished, delete it or resume from another one`,
    { folder, ...details },
  );

/** Reads a checkpoint's seal and holds every file against it. Throws DrmError BAD_FILE naming what is wrong. */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  let text: string;
  try {
    text = await readFile(join(folder, SEAL), 'utf8');
  } catch {
    throw refused(folder, `expected ${SEAL}, which is written last, found none`, { file: SEAL });
  }
  let content: Seal;
  try {
    const { sha256: _, ...rest } = objectOf<Seal & { sha256: string }>({ ...SEALED, sha256: shape.text })(
      parseJson(text),
      '',
    );
    content = rest;
    if (seal(rest) !== text) throw new Error('its own checksum does not match');
  } catch (error) {
    throw refused(folder, `${SEAL}: ${(error as Error).message}`, { file: SEAL });
  }
  for (const [name, expected] of Object.entries(content.files)) {
    const file = join(folder, name);
    const size = await stat(file).then(
      (found) => found.size,
      () => undefined,
    );
    if (size === undefined) throw refused(folder, `expected the file ${name}, found none`, { file: name });
    if (size !== expected.bytes)
      throw refused(folder, `${name}: expected ${expected.bytes} bytes, found ${size}`, { file: name });
    if ((await hashOf(file)) !== expected.sha256)
      throw refused(folder, `${name}: its content is not what was written (checksums differ)`, { file: name });
  }
  return { step: content.step, folder, state: content.state, settingsHash: content.settings_hash };
}

/** Steps that have a folder in a run's checkpoints folder, in order; whether those are whole is not looked at. */
export async function checkpointSteps(root: string): Promise<number[]> {
  const names = await readdir(root).catch(() => []);
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

export class Checkpoints {
  constructor(
    /** The run's checkpoints folder. */
    readonly root: string,
    private readonly settingsHash: string,
  ) {}

  folder(step: number): string {
    return join(this.root, String(step));
  }

  steps(): Promise<number[]> {
    return checkpointSteps(this.root);
  }

  /** Takes away what a killed process left unfinished. Only for the holder of the run's lock. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.root).catch(() => []))
      if (name.startsWith('.')) await rm(join(this.root, name), { recursive: true, force: true });
  }

  /**
   * Writes a checkpoint: `fill` puts the files into an empty temporary folder. `beforeCommit` runs when all of them are on
   * disk, just before the folder gets its name. Throws DrmError DISK; whatever is thrown, the checkpoints from before stand.
   */
  async write(
    step: number,
    state: Record<string, unknown>,
    fill: (folder: string) => Promise<void>,
    beforeCommit: () => Promise<void> = async () => {},
  ): Promise<string> {
    const folder = this.folder(step);
    const temporary = join(this.root, `.${step}.${randomBytes(4).toString('hex')}`);
    try {
      await mkdir(temporary, { recursive: true });
      await fill(temporary);
      const files: Seal['files'] = {};
      const folders = new Set([temporary]);
      for (const name of await filesIn(temporary)) {
        const file = join(temporary, name);
        const handle = await open(file, 'r');
        try {
          await handle.sync();
        } finally {
          await handle.close();
        }
        files[name] = { bytes: (await stat(file)).size, sha256: await hashOf(file) };
        folders.add(join(file, '..'));
      }
      const handle = await open(join(temporary, SEAL), 'wx');
      try {
        await handle.writeFile(seal({ drm: VERSION, step, settings_hash: this.settingsHash, state, files }));
        await handle.sync();
      } finally {
        await handle.close();
      }
      for (const each of folders) await syncFolder(each);
      await beforeCommit();
      // One of this step is there when it was refused and the run went on from an earlier one.
      if (existsSync(folder)) await this.#remove(step);
      await rename(temporary, folder);
      await syncFolder(this.root);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      throw error instanceof DrmError || !(error as NodeJS.ErrnoException).code ? error : diskError(folder, error, '');
    }
    return folder;
  }

  /** Takes away what the rule does not keep. `newest` always stays. */
  async prune(rule: KeepRule, newest: number): Promise<void> {
    const older = (await this.steps()).filter((step) => step < newest);
    const recent = new Set(rule.last > 1 ? older.slice(1 - rule.last) : []);
    for (const step of older)
      if (!recent.has(step) && !(rule.every > 0 && step % rule.every === 0)) await this.#remove(step);
  }

  /** Renamed first: a checkpoint half deleted must not look like one. */
  async #remove(step: number): Promise<void> {
    const going = join(this.root, `.${step}.${randomBytes(4).toString('hex')}.old`);
    try {
      await rename(this.folder(step), going);
      await rm(going, { recursive: true, force: true });
    } catch (error) {
      throw diskError(this.folder(step), error, '');
    }
  }

  /** The newest whole checkpoint, and why newer ones were refused. */
  async latest(): Promise<{ checkpoint: Checkpoint | undefined; refused: DrmError[] }> {
    const errors: DrmError[] = [];
    for (const step of (await this.steps()).reverse()) {
      const folder = this.folder(step);
      try {
        const checkpoint = await openCheckpoint(folder);
        if (checkpoint.step !== step) throw refused(folder, `it holds step ${checkpoint.step}`);
        return { checkpoint, refused: errors };
      } catch (error) {
        if (!(error instanceof DrmError)) throw error;
        errors.push(error);
      }
    }
    return { checkpoint: undefined, refused: errors };
  }
}
