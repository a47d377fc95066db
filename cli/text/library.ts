// Hugging Face's tokenizers library behind a wall. It aborts its process on what it did not expect (a damaged
// precompiled_charsmap, say), may compute for ever on a bad pattern, and takes the memory that a file asks for; no try/catch sees
// any of that. So it runs in a process of its own, one for all tokenizers, that may end at any time.
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { packageRoot } from '../common/root.js';

export interface Requests {
  /** `json`: a tokenizer.json; `named`: tokens whose ids are asked for. */
  load: { id: number; json: string; named: string[] };
  encode: { id: number; text: string; length: number };
  drop: { id: number };
}

export interface Answers {
  /** `size`: entries, added tokens included; `ids`: null for a token that is none. */
  load: { size: number; ids: (number | null)[] };
  /** `cut`: the character where token `length - 1` begins, where there are more than `length`. */
  encode: { ids: number[]; cut: number };
  drop: object;
}

/** What one request may take. Tests shorten it. */
export const limits = { ms: 60_000, bytes: 1 << 30 };
const LOOK_MS = 50;
const PAGE = 4096;
const KEPT_STDERR = 4000;

/** Resident bytes of a process; 0 where the system does not say. */
function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE;
  } catch {
    return 0;
  }
}

/** What the library refused, in its own words. */
class Refused extends Error {}

class LibraryProcess {
  static #current: LibraryProcess | undefined;

  /** The one that works, or a new one. */
  static get(): LibraryProcess {
    if (LibraryProcess.#current === undefined || LibraryProcess.#current.#ended !== undefined)
      LibraryProcess.#current = new LibraryProcess();
    return LibraryProcess.#current;
  }

  readonly #child: ChildProcess;
  #stderr = '';
  #turn: Promise<unknown> = Promise.resolve();
  /** Why it takes no more requests. */
  #ended: DrmError | undefined;
  /** Why we ended it. */
  #stopped: string | undefined;
  #settle: ((message: { answer?: unknown; refused?: string } | DrmError) => void) | undefined;
  /** What is being asked: the file, and the beginning of the text. */
  #about = { file: '', text: '' };

  private constructor() {
    const { NODE_OPTIONS: _, ...env } = process.env; // another program's, and no debugger for this one
    try {
      this.#child = fork(join(packageRoot, 'dist/cli/text/library_child.js'), [], {
        env,
        execArgv: [],
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        detached: true, // Ctrl-C is for us
      });
    } catch (error) {
      throw this.#cannotRun((error as Error).message);
    }
    this.#child.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-KEPT_STDERR);
    });
    this.#child.on('message', (message) => this.#settle?.(message as { answer?: unknown; refused?: string }));
    this.#child.on('error', (error) => this.#end(this.#cannotRun(error.message)));
    this.#child.on('close', (code, signal) => this.#end(this.#howItEnded(code, signal)));
    process.once('exit', this.#kill);
    this.#hold(false);
  }

  readonly #kill = () => this.#child.kill('SIGKILL');

  /** Whether this process waits for that one before it ends. */
  #hold(yes: boolean): void {
    const way = yes ? 'ref' : 'unref';
    this.#child[way]();
    this.#child.channel?.[way]();
    (this.#child.stderr as unknown as { ref(): void; unref(): void } | null)?.[way]();
  }

  #end(error: DrmError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    process.off('exit', this.#kill);
    this.#settle?.(error);
  }

  #cannotRun(why: string): DrmError {
    return new DrmError(
      'ENVIRONMENT',
      `[tokenizer] expected to start a process that tokenizes, found that it cannot run: ${why}; close other programs or raise \`ulimit\`, and see that the build is complete (\`npm run setup\`)`,
    );
  }

  #howItEnded(code: number | null, signal: NodeJS.Signals | null): DrmError {
    const panic = /panicked at [^\n]*\n([^\n]{1,120})/.exec(this.#stderr)?.[1];
    const { file, text } = this.#about;
    const bad = (what: string) =>
      new DrmError(
        'BAD_FILE',
        `[tokenizer] ${file}${text && `, at ${JSON.stringify(text)}`}: ${what}; fetch the tokenizer again with \`drm pull\``,
        { file },
      );
    if (this.#stopped !== undefined) return bad(this.#stopped);
    // Nobody but the system does this, for want of memory.
    if (signal === 'SIGKILL' || signal === 'SIGTERM')
      return this.#cannotRun(`it was ended by ${signal}, perhaps for want of memory`);
    if (signal === null && panic === undefined)
      return this.#cannotRun(`exit code ${code}: ${this.#stderr.slice(0, 500)}`);
    return bad(`expected a tokenizer, found one that the library breaks at (${panic ?? signal})`);
  }

  /** Requests are answered one after the other. `about`: the file, for messages. */
  ask<K extends keyof Requests>(kind: K, request: Requests[K], about: string): Promise<Answers[K]> {
    const answer = this.#turn.then(() => this.#ask(kind, request, about));
    this.#turn = answer.catch(() => {});
    return answer;
  }

  async #ask<K extends keyof Requests>(kind: K, request: Requests[K], about: string): Promise<Answers[K]> {
    if (this.#ended !== undefined) throw this.#ended;
    this.#about = { file: about, text: 'text' in request ? request.text.slice(0, 40) : '' };
    this.#hold(true);
    let looks = 0; // not the time that passed: we may have been suspended, and the answer lie there
    const watch = setInterval(() => {
      looks += 1;
      const tooLong = looks * LOOK_MS > limits.ms;
      const tooMuch = residentBytes(this.#child.pid ?? 0) > limits.bytes;
      if (!tooLong && !tooMuch) return;
      const what = tooLong ? `${limits.ms / 1000} s` : `${limits.bytes >> 20} MiB of memory`;
      this.#stopped = `expected a tokenizer that reads a text, found one that takes more than ${what}`;
      this.#kill();
    }, LOOK_MS);
    try {
      const message = await new Promise<{ answer?: unknown; refused?: string } | DrmError>((settle) => {
        this.#settle = settle;
        // A failure to send is a process that has ended, and says so.
        this.#child.send({ kind, request }, () => {});
      });
      if (message instanceof DrmError) throw message;
      if (message.refused !== undefined) throw new Refused(message.refused);
      return message.answer as Answers[K];
    } finally {
      this.#settle = undefined;
      clearInterval(watch);
      this.#hold(false);
    }
  }
}

let lastId = 0;

/** A tokenizer.json in the library. What it says of a damaged one comes as DrmError BAD_FILE, naming `about`. */
export class LibraryTokenizer {
  readonly #process = LibraryProcess.get();
  readonly #id = ++lastId;
  readonly #loaded: Promise<Answers['load']>;

  constructor(
    json: string,
    named: string[],
    private readonly about: string,
  ) {
    this.#loaded = this.#ask('load', { id: this.#id, json, named });
    this.#loaded.catch(() => {}); // whoever uses it hears of it
  }

  /** Entries, and the ids of the named tokens. */
  get facts(): Promise<Answers['load']> {
    return this.#loaded;
  }

  async encode(text: string, length: number): Promise<Answers['encode']> {
    await this.#loaded;
    return this.#ask('encode', { id: this.#id, text, length });
  }

  async dispose(): Promise<void> {
    await this.#ask('drop', { id: this.#id }).catch(() => {});
  }

  async #ask<K extends keyof Requests>(kind: K, request: Requests[K]): Promise<Answers[K]> {
    return this.#process.ask(kind, request, this.about).catch((error: unknown) => {
      if (!(error instanceof Refused)) throw error;
      throw new DrmError(
        'BAD_FILE',
        `[tokenizer] ${this.about}: expected a Hugging Face tokenizer.json, which could not be ${kind === 'load' ? 'read' : 'used'} (${error.message}); fetch it again with \`drm pull\``,
        { file: this.about },
      );
    });
  }
}
