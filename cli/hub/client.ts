// The hub's HTTP interface: what a repository holds, and its files' bytes. Nothing that it answers is taken on trust: sizes,
// hashes and names are checked here, contents where they are stored, and every wait has an end.
import { setTimeout as sleep } from 'node:timers/promises';
import { DrmError } from '../../binding/error.js';
import { endpoint, hubToken, isOn, type RepositoryType } from './cache.js';
import { checkedFiles, type RemoteFile } from './listing.js';

/** How long a hub may keep us waiting. Tests shorten it. */
export const patience = {
  attempts: 5,
  /** Before the second try; doubled each time. */
  firstWaitMs: 500,
  longestWaitMs: 120_000,
  /** Until an answer begins. */
  answerMs: 30_000,
  /** An answer that brings fewer bytes than this in this time has stalled. */
  stallMs: 60_000,
  stallBytes: 1024,
};

const MOST_REDIRECTS = 10;
/** Of one answer in JSON; a page of a listing has some 300 kB. */
const LARGEST_JSON = 64 << 20;
const MOST_PAGES = 10_000;
const MOST_FILES = 1_000_000;

/** Waits; longer after each try. Throws the signal's reason when that comes first. */
export async function pauseBefore(attempt: number, signal: AbortSignal, askedMs?: number): Promise<void> {
  const ms = Math.min(askedMs ?? patience.firstWaitMs * 2 ** (attempt - 2), patience.longestWaitMs);
  await sleep(ms, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}

/** Retry-After is a number of seconds or a date. */
function askedWait(headers: Headers): number | undefined {
  const text = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return ms > 0 ? ms : undefined;
}

/** What went wrong below HTTP, without addresses: those that storage is reached by are as good as passwords. */
function problemOf(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: inner } = (cause ?? {}) as { code?: string; message?: string };
  return code ?? inner ?? message;
}

/** An answer whose bytes may be read once. */
export class Answer {
  constructor(
    private readonly response: Response,
    private readonly stop: AbortController,
  ) {}

  get status(): number {
    return this.response.status;
  }

  get headers(): Headers {
    return this.response.headers;
  }

  /** Throws an Error when the connection breaks or nothing comes any more. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    const reader = this.response.body?.getReader();
    let got = 0;
    let waiting = false;
    const watch = setInterval(() => {
      if (waiting && got < patience.stallBytes) this.stop.abort(new Error('nothing came for too long'));
      got = 0;
    }, patience.stallMs);
    try {
      while (reader) {
        waiting = true;
        const { done, value } = await reader.read();
        waiting = false;
        if (done) return;
        got += value.length;
        yield value;
      }
    } finally {
      clearInterval(watch);
      this.close();
    }
  }

  close(): void {
    this.stop.abort();
  }
}

interface Retry {
  problem: string;
  waitMs?: number | undefined;
  /** What to say when it was the last try. */
  failure?: DrmError;
}

export class Hub {
  readonly endpoint = endpoint();
  readonly #token = isOn(process.env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? undefined : hubToken();

  /** `tell` hears what is waited for. Throws DrmError BAD_CONFIG for an endpoint or token that is none. */
  constructor(
    readonly id: string,
    readonly type: RepositoryType,
    readonly signal: AbortSignal,
    readonly tell: (message: string) => void,
  ) {}

  fileUrl(commit: string, path: string): string {
    const name = path.split('/').map(encodeURIComponent).join('/');
    return `${this.endpoint}/${this.type === 'dataset' ? 'datasets/' : ''}${this.id}/resolve/${commit}/${name}`;
  }

  async resolveRevision(revision: string): Promise<string> {
    const what = `${this.id} at ${revision}`;
    const { value } = await this.#json(`${this.#api}/revision/${encodeURIComponent(revision)}`, what);
    const sha = (value as { sha?: unknown } | null)?.sha;
    if (typeof sha === 'string' && /^[0-9a-f]{40}$/.test(sha)) return sha;
    throw this.#unlikeAHub(what, 'a commit as "sha"', `an answer without one`);
  }

  async listFiles(commit: string): Promise<RemoteFile[]> {
    const what = `the files of ${this.id}`;
    const entries: unknown[] = [];
    const asked = new Set<string>();
    let next: string | undefined = `${this.#api}/tree/${commit}?recursive=true`;
    while (next !== undefined) {
      if (asked.has(next) || asked.size >= MOST_PAGES || entries.length > MOST_FILES)
        throw this.#unlikeAHub(
          what,
          'a listing that ends',
          `${entries.length} entries on ${asked.size} pages and more`,
        );
      asked.add(next);
      const page: { value: unknown; headers: Headers } = await this.#json(next, what);
      if (!Array.isArray(page.value)) throw this.#unlikeAHub(what, 'an array', 'something else');
      for (const entry of page.value) entries.push(entry);
      const link = /<([^>]+)>;\s*rel="next"/.exec(page.headers.get('link') ?? '')?.[1];
      if (link !== undefined && !URL.canParse(link, next)) throw this.#unlikeAHub(what, 'a link to more', 'no URL');
      next = link === undefined ? undefined : new URL(link, next).toString();
    }
    return checkedFiles(entries, this.id);
  }

  /** Bytes of a file, from somewhere on where `headers` ask for it: 416 is an answer then. Throws DrmError NETWORK. */
  async get(url: string, what: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.#tried(what, async () => {
      const answer = await this.#follow(url, { ...headers, 'accept-encoding': 'identity' }, what);
      return this.#judged(answer, what, headers.range === undefined ? [] : [416]);
    });
  }

  get #api(): string {
    return `${this.endpoint}/api/${this.type}s/${this.id}`;
  }

  async #json(url: string, what: string): Promise<{ value: unknown; headers: Headers }> {
    return this.#tried(what, async () => {
      const answer = this.#judged(await this.#follow(url, {}, what), what);
      if (!(answer instanceof Answer)) return answer;
      const pieces: Uint8Array[] = [];
      let size = 0;
      for await (const piece of answer.bytes()) {
        size += piece.length;
        if (size > LARGEST_JSON) throw this.#unlikeAHub(what, 'JSON', `more than ${LARGEST_JSON >> 20} MiB`);
        pieces.push(piece);
      }
      const text = Buffer.concat(pieces).toString('utf8');
      try {
        return { value: JSON.parse(text) as unknown, headers: answer.headers };
      } catch {
        const found = text.trimStart().startsWith('<') ? 'a web page (of a proxy or a login?)' : 'something else';
        throw this.#unlikeAHub(what, 'JSON', found);
      }
    });
  }

  /** Works at it until it gives a result; a bounded number of tries, with growing waits. */
  async #tried<T extends object>(what: string, work: () => Promise<T | Retry>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      this.signal.throwIfAborted();
      let retry: Retry;
      try {
        const result = await work();
        if (!('problem' in result)) return result;
        retry = result;
      } catch (error) {
        this.signal.throwIfAborted();
        if (error instanceof DrmError) throw error;
        retry = { problem: problemOf(error) };
      }
      if (attempt >= patience.attempts)
        throw (
          retry.failure ??
          new DrmError(
            'NETWORK',
            `[pull] ${what}: ${this.endpoint} cannot be reached (${retry.problem}); check the network, a proxy or HF_ENDPOINT`,
            { id: this.id },
          )
        );
      this.tell(`${what}: ${retry.problem}; trying again (${attempt + 1} of ${patience.attempts})`);
      await pauseBefore(attempt + 1, this.signal, retry.waitMs);
    }
  }

  /** GET, redirects followed by hand so that the token stays with the hub's own origin. */
  async #follow(url: string, headers: Record<string, string>, what: string): Promise<Answer> {
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(new Error('no answer')), patience.answerMs);
    const home = new URL(this.endpoint).origin;
    try {
      let at = new URL(url);
      for (let hop = 0; ; hop++) {
        const mine: Record<string, string> =
          this.#token !== undefined && at.origin === home ? { authorization: `Bearer ${this.#token}` } : {};
        const response = await fetch(at, {
          headers: { ...headers, ...mine },
          redirect: 'manual',
          signal: AbortSignal.any([this.signal, stop.signal]),
        });
        const location = response.headers.get('location');
        if (response.status < 300 || response.status >= 400 || location === null) return new Answer(response, stop);
        await response.body?.cancel();
        if (!URL.canParse(location, at.href)) throw this.#unlikeAHub(what, 'a redirect to a URL', 'something else');
        at = new URL(location, at);
        if (!['http:', 'https:'].includes(at.protocol) || at.username !== '' || at.password !== '')
          throw this.#unlikeAHub(what, 'a redirect to another http address', `one to ${at.protocol}`);
        if (hop >= MOST_REDIRECTS) throw this.#unlikeAHub(what, 'a file', `more than ${MOST_REDIRECTS} redirects`);
      }
    } finally {
      clearTimeout(late);
    }
  }

  /** An answer worth reading, or what to do instead. Throws DrmError NETWORK where another try gives the same. */
  #judged(answer: Answer, what: string, alsoGood: number[] = []): Answer | Retry {
    const { status, headers } = answer;
    if ((status >= 200 && status < 300) || alsoGood.includes(status)) return answer;
    answer.close();
    const failure = this.#refusal(status, headers.get('x-error-code') ?? '', what);
    if (![408, 425, 429].includes(status) && status < 500) throw failure;
    return { problem: `the hub answered ${status}`, waitMs: askedWait(headers), failure };
  }

  #unlikeAHub(what: string, expected: string, found: string): DrmError {
    return new DrmError(
      'NETWORK',
      `[pull] ${what}: expected ${expected} from the hub, found ${found}; is HF_ENDPOINT (${this.endpoint}) a hub, and the network open?`,
      { id: this.id },
    );
  }

  /** What an answer that is no success means for the user. */
  #refusal(status: number, code: string, what: string): DrmError {
    const page = `${this.endpoint}/${this.id}`;
    const token = this.#token !== undefined;
    let next = 'try again later, the same command goes on where it stopped';
    if (code === 'GatedRepo' || status === 403)
      next = `this model is gated: accept its licence at ${page}${token ? ', with the account that HF_TOKEN belongs to, and see that the token may read gated repositories' : ', then set HF_TOKEN to a token of that account'}`;
    else if (status === 401)
      next = token
        ? 'the hub does not accept this HF_TOKEN, or the repository does not exist; make a new token in your hub settings'
        : `the repository is private, gated or does not exist; check the name, accept the licence at ${page} if there is one, and set HF_TOKEN`;
    else if (status === 404 && code === 'RevisionNotFound')
      next = 'there is no such branch, tag or commit; check --revision';
    else if (status === 404 && code === 'EntryNotFound') next = 'there is no such file';
    else if (status === 404)
      next = 'there is no such repository; check the spelling (org/name), and --repo-type dataset for data sets';
    else if (status === 429)
      next = `it asks to slow down, also after ${patience.attempts} tries; wait some minutes and run the same command, which goes on where it stopped`;
    return new DrmError('NETWORK', `[pull] ${what}: the hub answered ${status}; ${next}`, {
      status: String(status),
      id: this.id,
    });
  }
}
