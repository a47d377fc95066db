// What a hub, a proxy or a broken network may answer: each ends as a sentence in bounded time, or well.
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { patience } from '../../cli/hub/client.js';
import { temporaryFolder } from '../run_drm.js';
import { pullHere } from './pull_here.js';
import { COMMIT, TestHub } from './server.js';

const FILE = 'transformer/w.safetensors';
const weights = randomBytes(50_000);
const small = Buffer.from('{"hello": 1}');
let hub: TestHub;
let home: string;

beforeEach(async () => {
  Object.assign(patience, { firstWaitMs: 2, answerMs: 400, stallMs: 200 });
  home = temporaryFolder();
  hub = await TestHub.start({ [FILE]: { content: weights, lfs: true } });
});
afterEach(() => hub.stop());

const pull = (env: Record<string, string> = {}) => pullHere({ HF_ENDPOINT: hub.url, HF_HOME: home, ...env });
const stored = (name = FILE) => readFileSync(join(home, 'hub/models--org--model/snapshots', COMMIT, name));
const asked = () => hub.requests.filter(({ path }) => path.includes('/resolve/'));
/** Answers requests whose path holds `part`; false leaves it to the hub. */
const answering = (
  part: string,
  answer: (response: ServerResponse, range: number | undefined) => boolean | unknown,
) => {
  hub.behaviour = {
    intercept: (request, response, path) => {
      if (!path.includes(part)) return false;
      const range = /bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
      return answer(response, range === undefined ? undefined : Number(range)) !== false;
    },
  };
};

test.each([
  ['a web page', '<!DOCTYPE html><html>', 'expected JSON'],
  ['null', 'null', 'expected a commit'],
  ['a number as commit', '{"sha": 5}', 'expected a commit'],
  ['cut JSON', '{"sha":', 'expected JSON'],
  ['nothing', '', 'expected JSON'],
])('the revision: %s', async (_name, body, sentence) => {
  answering('/revision/', (response) => response.end(body));
  const { code, error } = await pull();
  expect(code).toBe(4);
  expect(error).toContain(sentence);
});

const git = createHash('sha1').update(`blob ${small.length}\0`).update(small).digest('hex');
const entry = (more: object = {}) => ({ type: 'file', path: 'a.json', size: small.length, oid: git, ...more });

test.each([
  ['a web page', '<html>', 'expected JSON'],
  ['null', null, 'expected an array'],
  ['an object', { a: 1 }, 'expected an array'],
  ['a null entry', [null], 'expected an object'],
  ['a size as text', [entry({ size: '11' })], 'expected its size'],
  ['a negative size', [entry({ size: -5 })], 'expected its size'],
  ['half a byte', [entry({ size: 1.5 })], 'expected its size'],
  ['a size beyond counting', [entry({ size: 1e18 })], 'expected its size'],
  ['no size', [entry({ size: undefined })], 'expected its size'],
  ['more than any disk holds', [entry({ size: 2 ** 52 })], 'of free space'],
  ['no hash', [entry({ oid: undefined })], 'expected its git hash'],
  ['a hash that is a path', [entry({ oid: '../../x' })], 'expected its git hash'],
  ['sha1 where sha256 belongs', [entry({ lfs: { oid: git, size: 3 } })], 'expected its sha256'],
  ['no path', [entry({ path: undefined })], 'no name'],
  ['a path that is a number', [entry({ path: 5 })], 'no name'],
  ...['../evil', '/abs/evil', 'a/../../evil', 'a//b', './a', 'a/.', 'C:\\evil', '..\\evil', 'a\0b'].map(
    (path) => [path, [entry({ path })], 'leads elsewhere'] as [string, unknown, string],
  ),
  ['half a surrogate pair', [entry({ path: 'a\ud800' })], 'no text'],
  ['256 bytes', [entry({ path: `d/${'x'.repeat(256)}` })], 'a name of 256 bytes'],
  ['86 letters of 258 bytes', [entry({ path: '\u20ac'.repeat(86) })], 'a name of 258 bytes'],
  ['a file that is a folder', [entry({ path: 'a' }), entry({ path: 'a/b/c' })], 'a file and a folder'],
  ['two contents of one name', [entry(), entry({ oid: 'b'.repeat(40) })], 'listed twice'],
  ['two sizes of one content', [entry(), entry({ path: 'b', size: 5 })], 'with two sizes'],
] as [string, unknown, string][])('the listing: %s', async (_name, body, sentence) => {
  answering('/tree/', (response) => response.end(typeof body === 'string' ? body : JSON.stringify(body)));
  const { code, error } = await pull();
  expect(error).toContain(sentence);
  expect(code).toBe(4);
  expect(asked()).toEqual([]);
});

test('a listing without end ends', async () => {
  answering('/tree/', (response) => {
    response.setHeader('link', '</api/models/org/model/tree/x?recursive=true>; rel="next"').end('[]');
  });
  expect((await pull()).error).toContain('expected a listing that ends');
});

test('names of 255 bytes, unusual names, one content under many, the same entry twice', async () => {
  const names = ['x'.repeat(255), '__proto__', 'constructor/toString', '.git/hooks/x', 'a\u001b[31mred', 'é/ß'];
  answering('/tree/', (response) => {
    response.end(JSON.stringify([...names, '__proto__'].map((path) => entry({ path }))));
  });
  hub.files[names[0] as string] = { content: small };
  const { code, error, result } = await pull();
  expect(error).toBe('');
  expect(code).toBe(0);
  expect(result).toMatchObject({ fetched: 1, present: 5 });
  for (const name of names) expect(stored(name).equals(small)).toBe(true);
});

test.each([
  ['in a circle', '/api/models/org/model/revision/main', 'more than 10 redirects'],
  ['to no URL', 'http://[', 'a redirect to a URL'],
  ['to a file', 'file:///etc/passwd', 'one to file:'],
  ['with a password', 'http://me:secret@127.0.0.1/', 'another http address'],
])('redirects %s', async (_name, location, sentence) => {
  answering('/revision/', (response) => response.writeHead(302, { location }).end());
  const { code, error } = await pull();
  expect(code).toBe(4);
  expect(error).toContain(sentence);
  expect(error).not.toContain('secret');
});

test('a hub that never answers is given up, and each try is told', async () => {
  answering('/revision/', () => true);
  const { code, error, warnings } = await pull();
  expect(code).toBe(4);
  expect(error).toContain('cannot be reached (no answer)');
  expect(warnings.length).toBe(patience.attempts - 1);
  expect(warnings[0]).toContain('trying again (2 of 5)');
});

test.each([500, 503, 429, 408])('%i passes, or is said in the end', async (status) => {
  let left = 2;
  answering('/tree/', (response) => (left-- > 0 ? response.writeHead(status).end() : false));
  expect((await pull()).code).toBe(0);
  answering('/tree/', (response) => response.writeHead(status).end());
  expect((await pull()).error).toContain(`answered ${status}`);
});

test('Retry-After as a date is waited for', async () => {
  let first = 0;
  answering('/revision/', (response) => {
    if (first > 0) return false;
    first = Date.now();
    response.writeHead(429, { 'retry-after': new Date(first + 2000).toUTCString() }).end();
  });
  expect((await pull()).code).toBe(0);
  expect(Date.now() - first).toBeGreaterThan(900); // the date has whole seconds
});

/** A part of the file lies there from before. */
const begin = (bytes = 20_000) => {
  const blobs = join(home, 'hub/models--org--model/blobs');
  mkdirSync(blobs, { recursive: true });
  const sha256 = createHash('sha256').update(weights).digest('hex');
  writeFileSync(join(blobs, `${sha256}.drm.incomplete`), weights.subarray(0, bytes));
};

test.each([
  ['all of it', (response: ServerResponse) => response.writeHead(200).end(weights)],
  ['416', (response: ServerResponse) => response.writeHead(416).end()],
  [
    'another part',
    (response: ServerResponse) =>
      response.writeHead(206, { 'content-range': `bytes 0-${weights.length - 1}/${weights.length}` }).end(weights),
  ],
  [
    'a part of another file',
    (response: ServerResponse) => response.writeHead(206, { 'content-range': 'bytes 20000-29999/30000' }).end('x'),
  ],
  [
    'all of it as a part',
    (response: ServerResponse) => response.writeHead(206, { 'content-length': weights.length }).end(weights),
  ],
  [
    'an encoded part',
    (response: ServerResponse) =>
      response
        .writeHead(206, { 'content-encoding': 'gzip', 'content-range': 'bytes 20000-49999/50000' })
        .end(gzipSync(weights)),
  ],
  ['nothing', (response: ServerResponse) => response.writeHead(204).end()],
] as [string, (response: ServerResponse) => unknown][])(
  'asked to go on in the middle, it sends %s',
  async (_name, send) => {
    begin();
    answering(FILE, (response, range) => (range === undefined ? false : send(response)));
    const { error, code } = await pull();
    expect(error).toBe('');
    expect(code).toBe(0);
    expect(stored().equals(weights)).toBe(true);
  },
);

test('a part that was kept is gone on with', async () => {
  begin();
  expect((await pull()).code).toBe(0);
  expect(asked().map(({ headers }) => headers.range)).toEqual(['bytes=20000-']);
  expect(stored().equals(weights)).toBe(true);
});

test('an encoding that nobody asked for is undone', async () => {
  answering(FILE, (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(weights)));
  expect((await pull()).code).toBe(0);
  expect(asked()[0]?.headers['accept-encoding']).toBe('identity');
  expect(stored().equals(weights)).toBe(true);
});

test.each([
  ['less than it has', (response: ServerResponse) => response.end(weights.subarray(0, 1000))],
  [
    'a length that is not true',
    (response: ServerResponse) => response.writeHead(200, { 'content-length': 60_000 }).end(weights.subarray(0, 10)),
  ],
  ['nothing after some bytes', (response: ServerResponse) => response.writeHead(200).write('abc')],
  ['a reset connection', (response: ServerResponse) => response.socket?.resetAndDestroy()],
] as [string, (response: ServerResponse) => unknown][])(
  'a server that always sends %s is given up',
  async (_name, send) => {
    answering(FILE, (response) => {
      send(response);
    });
    const { code, error } = await pull();
    expect(code).toBe(4);
    expect(error).toMatch(/connection broke 5 times|cannot be reached/);
    expect(asked().length).toBeLessThan(30);
  },
);

test('a byte now and then is no download', async () => {
  answering(FILE, (response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('x'), 20);
    response.on('close', () => clearInterval(timer));
  });
  expect((await pull()).error).toContain('connection broke 5 times');
});

const SECRET = 'hf_AbCdEfGhIjKl';
test.each([
  ['refused', SECRET, (response: ServerResponse) => response.writeHead(401).end()],
  ['forbidden', SECRET, (response: ServerResponse) => response.writeHead(403).end()],
  ['with a line break', `hf_AbCd\nEfGhIjKl`, (response: ServerResponse) => response.writeHead(500).end()],
  ['with a space', `hf_AbCd EfGhIjKl`, () => true],
  ['with a bell', `hf_AbCd\u0007EfGhIjKl`, () => true],
  ['of other letters', `hf_AbCd\u20acEfGhIjKl`, () => true],
] as [string, string, (response: ServerResponse) => unknown][])(
  'no output holds a token that is %s',
  async (_name, token, answer) => {
    answering('/revision/', (response) => {
      answer(response);
    });
    const { code, output } = await pull({ HF_TOKEN: token });
    expect(code).toBeGreaterThan(2);
    expect(output).not.toMatch(/AbCd|EfGh|IjKl/);
  },
);

test('an endpoint that is none, a home that is a file or too long a name', async () => {
  const file = join(home, 'file');
  writeFileSync(file, '');
  expect(await pull({ HF_ENDPOINT: 'no url' })).toMatchObject({
    code: 3,
    error: expect.stringContaining('HF_ENDPOINT'),
  });
  expect(await pull({ HF_HOME: file })).toMatchObject({ code: 4, error: expect.stringContaining('HF_HOME') });
  expect((await pull({ HF_HOME: join(home, 'x'.repeat(300)) })).code).toBe(4);
  if (existsSync('/proc')) expect((await pull({ HF_HOME: '/proc/no/such' })).code).toBe(4); // where Node's mkdir does not end
});

test('a file where a folder of the snapshot belongs is a matter of the disk', async () => {
  mkdirSync(join(home, 'hub/models--org--model/snapshots', COMMIT), { recursive: true });
  writeFileSync(join(home, 'hub/models--org--model/snapshots', COMMIT, 'transformer'), '');
  const { code, error } = await pull();
  expect(code).toBe(4);
  expect(error).toContain('a file is where a folder should be');
});

test('offline: what is there, or a refusal; no request', async () => {
  expect(await pull({ HF_HUB_OFFLINE: 'YES' })).toMatchObject({
    code: 4,
    error: expect.stringContaining('HF_HUB_OFFLINE'),
  });
  expect(hub.requests).toEqual([]);
  expect((await pull({ HF_HUB_OFFLINE: '' })).code).toBe(0);
  hub.requests = [];
  const { code, result } = await pull({ TRANSFORMERS_OFFLINE: '1' });
  expect(code).toBe(0);
  expect(existsSync(join(result?.folder ?? '', FILE))).toBe(true);
  expect(hub.requests).toEqual([]);
});
