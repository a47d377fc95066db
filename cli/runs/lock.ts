// One process in a run folder. The lock is a file that names its holder, so that what a killed process left is taken over.
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { constants, copyFile, link, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { DrmError } from '../../binding/error.js';
import { diskError } from '../files.js';

export const LOCK_FILE = 'run.lock';
const EVICTING = `.${LOCK_FILE}.evicting`;
const HEARTBEAT_MS = 30_000;
/** A holder on another machine, whose processes cannot be asked for, is taken for dead when silent for this long. */
const SILENT_MS = 10 * HEARTBEAT_MS;
/** Evicting takes milliseconds. */
const EVICTION_MS = 10_000;

interface Holder {
  pid: number;
  host: string;
  /** When the process began, in the kernel's ticks: a pid may be given out anew. Empty where that is not known. */
  began: string;
  /** Tells two locks of one process apart. */
  token: string;
}

/** Field 22 of /proc/PID/stat; the second field may hold spaces and brackets of its own. */
function beganOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive({ pid, began }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return began === '' || beganOf(pid) === began;
}

/** Whether whoever wrote this lock is dead, as far as can be told from here; `pid` wrote it where it says nothing yet. */
async function isLeft(file: string, me: Holder, pid = Number.NaN): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const holder = parse(text) ?? { ...me, pid, began: '' };
  return holder.host === me.host && Number.isInteger(holder.pid) && !isAlive(holder);
}

/** Milliseconds since a file was touched; 0 where it is gone. */
const ageOf = (file: string): Promise<number> =>
  stat(file).then(
    (found) => Date.now() - found.mtimeMs,
    () => 0,
  );

function parse(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Holder;
    return Number.isInteger(holder.pid) && typeof holder.host === 'string' ? holder : undefined;
  } catch {
    return undefined;
  }
}

/** Gives a file a second name, if that is free (EEXIST). Some network and memory-card file systems can only copy. */
async function appear(file: string, name: string): Promise<void> {
  try {
    await link(file, name);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await copyFile(file, name, constants.COPYFILE_EXCL);
  }
}

export class RunLock {
  #timer: NodeJS.Timeout;
  /** However the process leaves but by kill -9. */
  readonly #atExit = () => {
    try {
      if (readFileSync(this.file, 'utf8') === this.text) rmSync(this.file);
    } catch {} // gone, or out of reach: a dead holder's lock is taken over
  };

  private constructor(
    private readonly file: string,
    private readonly text: string,
  ) {
    this.#timer = setInterval(() => {
      const now = new Date();
      void utimes(file, now, now).catch(() => {}); // holds() tells at the next checkpoint
    }, HEARTBEAT_MS);
    this.#timer.unref();
    process.on('exit', this.#atExit);
  }

  /** Throws DrmError BAD_REQUEST naming the process that holds the folder. */
  static async take(folder: string): Promise<RunLock> {
    const file = join(folder, LOCK_FILE);
    const token = randomBytes(8).toString('hex');
    const me: Holder = { pid: process.pid, host: hostname(), began: beganOf(process.pid), token };
    const text = `${JSON.stringify(me)}\n`;
    // Written aside and linked: the lock appears with its content, and only if there is none.
    const aside = join(folder, `.${LOCK_FILE}.${me.pid}-${token}`);
    try {
      await writeFile(aside, text, { flag: 'wx' });
    } catch (error) {
      throw diskError(aside, error);
    }
    try {
      for (;;) {
        try {
          await appear(aside, file);
          break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw diskError(file, error);
        }
        await RunLock.#evict(folder, file, aside, me);
      }
    } finally {
      await rm(aside, { force: true });
    }
    await RunLock.#sweep(folder, me);
    return new RunLock(file, text);
  }

  /** Removes what processes that were killed while they took the lock have left; one that waits for it may be at work. */
  static async #sweep(folder: string, me: Holder): Promise<void> {
    for (const name of await readdir(folder)) {
      const file = join(folder, name);
      const pid = /^\.run\.lock\.(\d+)-[0-9a-f]{16}$/.exec(name)?.[1];
      if ((name === EVICTING || pid !== undefined) && (await isLeft(file, me, Number(pid))))
        await rm(file, { force: true });
    }
  }

  /** Removes the lock of a holder that is gone; throws when it is not. */
  static async #evict(folder: string, file: string, aside: string, me: Holder): Promise<void> {
    if (!(await RunLock.#isStale(folder, file, me))) return;
    // One at a time, and looked at again: else the second would remove the lock that the first has just taken.
    const evicting = join(folder, EVICTING);
    try {
      await appear(aside, evicting);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw diskError(evicting, error);
      if ((await isLeft(evicting, me)) || (await ageOf(evicting)) > EVICTION_MS) await rm(evicting, { force: true });
      await setTimeout(20);
      return;
    }
    try {
      if (await RunLock.#isStale(folder, file, me)) await rm(file, { force: true });
    } finally {
      await rm(evicting, { force: true });
    }
  }

  /** False when there is no lock any more; throws while its holder lives. */
  static async #isStale(folder: string, file: string, me: Holder): Promise<boolean> {
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw diskError(file, error);
    }
    const holder = parse(text);
    if (!holder) return true;
    const here = holder.host === me.host;
    if (here ? !isAlive(holder) : (await ageOf(file)) > SILENT_MS) return true;
    throw new DrmError(
      'BAD_REQUEST',
      `[run] ${folder}: expected to be alone in it, found process ${holder.pid}${here ? '' : ` on ${holder.host}`} at work there; wait for it or stop it, or name another folder with --out`,
      { folder, pid: String(holder.pid), host: holder.host },
    );
  }

  /** Whether the folder is still ours: asked before anything in it is replaced. */
  async holds(): Promise<boolean> {
    return (await readFile(this.file, 'utf8').catch(() => '')) === this.text;
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    process.off('exit', this.#atExit);
    if (await this.holds()) await rm(this.file, { force: true });
  }
}
