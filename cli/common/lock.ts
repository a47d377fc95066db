// One process at a time. The lock is a file that names its holder, so that what a killed process left is taken over.
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync, rmSync } from 'node:fs';
import {
  constants,
  copyFile,
  type FileHandle,
  link,
  open,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const HEARTBEAT_MS = 30_000;
/** A holder whose processes cannot be asked for (another machine or container) is taken for dead when silent for this long. */
export const SILENT_MS = 10 * HEARTBEAT_MS;
/** Locks appear with their content or are copied in milliseconds: one that cannot be read after this was cut off. */
const CUT_MS = 2_000;
/** Evicting takes milliseconds. */
const EVICTION_MS = 10_000;
const EVICTING = 'evicting';

export interface Holder {
  pid: number;
  host: string;
  /** The machine's start and the PID namespace: a pid means the same process only where both agree. Empty off Linux. */
  place: string;
  /** When the process began, in the kernel's ticks: a pid may be given out anew. Empty where that is not known. */
  began: string;
  /** When the lock was taken, in ISO form. */
  since: string;
  /** Tells two locks of one process apart. */
  token: string;
}

/** Who has the lock, as far as anyone can tell. */
export interface Held extends Holder {
  /** Its pid can be asked for from here. */
  here: boolean;
  /** Since its last sign, by the file system's clock. */
  silentMs: number;
}

function readHere(read: () => string): string {
  try {
    return read().trim();
  } catch {
    return '';
  }
}

const myPlace = (): string =>
  [
    readHere(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')),
    readHere(() => readlinkSync('/proc/self/ns/pid')),
  ]
    .filter((part) => part !== '')
    .join(' ');

/** The fields of /proc/PID/stat from the third on; the second may hold spaces and brackets of its own. */
function processState(pid: number): string[] | undefined {
  const text = readHere(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

const beganOf = (pid: number): string => processState(pid)?.[19] ?? '';

function isAlive({ pid, began }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const state = processState(pid);
  if (!state) return true; // it is there, and hides what it is
  if (state[0] === 'Z' || state[0] === 'X') return false; // ended; nobody has collected it
  return began === '' || state[19] === began;
}

function parse(text: string): Holder | undefined {
  try {
    const { pid, host, place, began, since, token } = JSON.parse(text) as Holder;
    if (!Number.isInteger(pid) || pid < 1 || typeof host !== 'string') return undefined;
    const word = (value: unknown) => (typeof value === 'string' ? value : '');
    return { pid, host, place: word(place), began: word(began), since: word(since), token: word(token) };
  } catch {
    return undefined;
  }
}

const isHere = ({ host, place }: Holder, me: Holder): boolean =>
  host === me.host && (place === '' || place === me.place);

/** Gives a file a second name, if that is free (EEXIST). Some network and memory-card file systems can only copy. */
async function appear(file: string, name: string): Promise<void> {
  try {
    await link(file, name);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await copyFile(file, name, constants.COPYFILE_EXCL);
  }
}

const isCode = (error: unknown, code: string) => (error as NodeJS.ErrnoException).code === code;

/** `process 12`, with its machine where that is another. */
export const nameOf = ({ pid, host, here }: Held): string => `process ${pid}${here ? '' : ` on ${host}`}`;

/** `since TIME`, and what is known of one that cannot be asked for; empty where nothing is. */
export function signsOf({ since, here, silentMs }: Held): string {
  const last = `last sign ${Math.round(silentMs / 1000)} s ago, counts as gone after ${SILENT_MS / 60_000} minutes without one`;
  return [...(since === '' ? [] : [`since ${since}`]), ...(here ? [] : [last])].join(', ');
}

/** A lock's file, beside which two more may appear for moments. Throws the file system's own errors. */
export class FileLock {
  #timer: NodeJS.Timeout;
  /** However the process leaves, but by kill -9. */
  readonly #atExit = () => {
    try {
      if (readFileSync(this.file, 'utf8') === this.text) rmSync(this.file);
    } catch {} // gone, or out of reach: a dead holder's lock is taken over
  };

  private constructor(
    readonly file: string,
    private readonly text: string,
    private readonly handle: FileHandle,
  ) {
    // Written, not stamped: so the time is the file system's own, which all that share it see.
    this.#timer = setInterval(() => {
      void handle.write(text.slice(0, 1), 0).catch(() => {}); // holds() tells
    }, HEARTBEAT_MS);
    this.#timer.unref();
    process.on('exit', this.#atExit);
  }

  /** Takes the lock if it is free or its holder is gone; says who has it otherwise. The folder must be there. */
  static async take(file: string): Promise<FileLock | Held> {
    const token = randomBytes(8).toString('hex');
    const me: Holder = {
      pid: process.pid,
      host: hostname(),
      place: myPlace(),
      began: beganOf(process.pid),
      since: new Date().toISOString(),
      token,
    };
    const text = `${JSON.stringify(me)}\n`;
    // Written aside and linked: the lock appears with its content, and only if there is none.
    const aside = join(dirname(file), `.${basename(file)}.${me.pid}-${token}`);
    try {
      await writeFile(aside, text, { flag: 'wx' });
      for (;;) {
        const appeared = await appear(aside, file).then(
          () => true,
          (error: unknown) => {
            if (isCode(error, 'EEXIST')) return false;
            throw error;
          },
        );
        if (appeared) {
          const handle = await open(file, 'r+').catch((error: unknown) => {
            if (!isCode(error, 'ENOENT')) throw error; // else somebody took it away in this moment
          });
          if (!handle) continue;
          await FileLock.#sweep(file, aside, me).catch(() => {}); // tidiness alone
          return new FileLock(file, text, handle);
        }
        const found = await FileLock.#look(file, aside, me);
        if (found === 'stale') await FileLock.#evict(file, aside, me);
        else if (found !== 'gone') return found;
      }
    } finally {
      await rm(aside, { force: true }).catch(() => {});
    }
  }

  /** Removes what processes that were killed while they took the lock have left; one that waits for it may be at work. */
  static async #sweep(file: string, own: string, me: Holder): Promise<void> {
    const begin = `.${basename(file)}.`;
    for (const name of await readdir(dirname(file))) {
      const found = join(dirname(file), name);
      const rest = name.startsWith(begin) ? name.slice(begin.length) : '';
      const pid = /^(\d+)-[0-9a-f]{16}$/.exec(rest)?.[1];
      if (found === own || (pid === undefined && rest !== EVICTING)) continue;
      const text = await readFile(found, 'utf8').catch(() => '');
      const holder = parse(text) ?? { ...me, pid: Number(pid ?? me.pid), began: '' };
      if (isHere(holder, me) && !isAlive(holder)) await rm(found, { force: true });
    }
  }

  static async #look(file: string, aside: string, me: Holder): Promise<Held | 'stale' | 'gone'> {
    try {
      const text = await readFile(file, 'utf8');
      const now = await FileLock.#now(aside);
      const silentMs = Math.max(0, now - (await stat(file)).mtimeMs);
      const holder = parse(text);
      if (!holder) {
        if (silentMs > CUT_MS) return 'stale';
        await setTimeout(20);
        return 'gone'; // perhaps being written
      }
      const here = isHere(holder, me);
      return (here ? !isAlive(holder) : silentMs > SILENT_MS) ? 'stale' : { ...holder, here, silentMs };
    } catch (error) {
      if (isCode(error, 'ENOENT')) return 'gone';
      throw error;
    }
  }

  /** The file system's own time: clocks of machines that share it differ. */
  static async #now(aside: string): Promise<number> {
    const handle = await open(aside, 'r+');
    try {
      await handle.write('{', 0);
      return (await handle.stat()).mtimeMs;
    } finally {
      await handle.close();
    }
  }

  /** One at a time, and looked at again: else the second would remove the lock that the first has just taken. */
  static async #evict(file: string, aside: string, me: Holder): Promise<void> {
    const evicting = join(dirname(file), `.${basename(file)}.${EVICTING}`);
    try {
      await appear(aside, evicting);
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error;
      const since = await stat(evicting).then(
        ({ mtimeMs }) => mtimeMs,
        () => Number.POSITIVE_INFINITY,
      );
      const holder = parse(await readFile(evicting, 'utf8').catch(() => ''));
      const isDead = holder !== undefined && isHere(holder, me) && !isAlive(holder);
      // Killed in the middle of it.
      if (isDead || (await FileLock.#now(aside)) - since > EVICTION_MS) await rm(evicting, { force: true });
      await setTimeout(20);
      return;
    }
    try {
      if ((await FileLock.#look(file, aside, me)) === 'stale') await rm(file, { force: true });
    } finally {
      await rm(evicting, { force: true });
    }
  }

  /** Whether the lock is still ours: asked before anything that it guards is replaced. */
  async holds(): Promise<boolean> {
    return (await readFile(this.file, 'utf8').catch(() => '')) === this.text;
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    process.off('exit', this.#atExit);
    const ours = await this.holds();
    await this.handle.close().catch(() => {});
    if (ours) await rm(this.file, { force: true });
  }
}
