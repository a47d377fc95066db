// A hub of the tests' own on 127.0.0.1, with the failures that real ones have.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubFile {
  content: Buffer;
  lfs?: boolean;
}

export interface Behaviour {
  /** Answers before anything else; true when it has. */
  intercept?: (request: IncomingMessage, response: ServerResponse, path: string) => boolean;
  /** Break the connection of a file after so many bytes, this many times. */
  cut?: { path: string; after: number; times: number };
  /** Milliseconds between pieces of 1 kB. */
  slow?: number;
  /** Files a page of the listing. */
  page?: number;
  /** Where file contents are redirected to. */
  redirect?: string;
}

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const gitHash = (data: Buffer) => createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');

export const COMMIT = 'c'.repeat(40);

export class TestHub {
  requests: { path: string; headers: IncomingMessage['headers'] }[] = [];
  behaviour: Behaviour = {};
  #server: Server;

  private constructor(
    readonly files: Record<string, HubFile>,
    /** Repositories that hold something else, by id. */
    readonly others: Record<string, Record<string, HubFile>>,
  ) {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(
    files: Record<string, HubFile>,
    others: Record<string, Record<string, HubFile>> = {},
  ): Promise<TestHub> {
    const hub = new TestHub(files, others);
    await new Promise<void>((done) => hub.#server.listen(0, '127.0.0.1', done));
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  #filesAt(path: string): Record<string, HubFile> {
    const id = Object.keys(this.others).find((one) => path.includes(`/${one}/`));
    return (id !== undefined && this.others[id]) || this.files;
  }

  listing(files = this.files): object[] {
    return Object.entries(files).map(([path, { content, lfs }]) => ({
      type: 'file',
      path,
      size: content.length,
      oid: gitHash(content),
      ...(lfs && { lfs: { oid: sha256(content), size: content.length } }),
    }));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    const path = decodeURIComponent(url.pathname);
    this.requests.push({ path, headers: request.headers });
    if (this.behaviour.intercept?.(request, response, path)) return;
    const json = (value: unknown) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
    if (path.includes('/revision/')) {
      json({ sha: COMMIT });
    } else if (path.includes('/tree/')) {
      const all = this.listing(this.#filesAt(path));
      const page = this.behaviour.page ?? all.length;
      const from = Number(url.searchParams.get('cursor') ?? 0);
      if (from + page < all.length) {
        url.searchParams.set('cursor', String(from + page));
        response.setHeader('link', `<${url}>; rel="next"`);
      }
      json(all.slice(from, from + page));
    } else if (path.includes('/resolve/')) {
      const name = path.slice(path.indexOf(COMMIT) + COMMIT.length + 1);
      if (this.behaviour.redirect)
        response.writeHead(302, { location: `${this.behaviour.redirect}/cdn/resolve/${COMMIT}/${name}` }).end();
      else void this.#send(this.#filesAt(path)[name], name, request, response);
    } else response.writeHead(404).end();
  }

  async #send(
    file: HubFile | undefined,
    name: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (!file) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      return;
    }
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = file.content.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': body.length });
    const { cut, slow } = this.behaviour;
    if (cut?.path === name && cut.times > 0) {
      cut.times -= 1;
      response.write(body.subarray(0, cut.after), () => setTimeout(() => response.destroy(), 200));
      return;
    }
    if (!slow) {
      response.end(body);
      return;
    }
    for (let at = 0; at < body.length && !response.destroyed; at += 1024) {
      response.write(body.subarray(at, at + 1024));
      await new Promise((done) => setTimeout(done, slow));
    }
    response.end();
  }
}
