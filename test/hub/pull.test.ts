// `drm pull` against a hub on 127.0.0.1.
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RunOptions, runDrm, temporaryFolder } from '../run_drm.js';
import { COMMIT, TestHub } from './server.js';

let hub: TestHub;
let home: string;
const weights = randomBytes(200_000);

beforeEach(async () => {
  home = temporaryFolder();
  hub = await TestHub.start({
    'model_index.json': { content: Buffer.from('{"_class_name": "StableDiffusion3Pipeline"}') },
    'transformer/diffusion_pytorch_model.safetensors': { content: weights, lfs: true },
    'transformer/config.json': { content: Buffer.from('{}') },
    'sd3.5_medium.safetensors': { content: randomBytes(1000), lfs: true },
    'vae/old.bin': { content: randomBytes(1000), lfs: true },
  });
});
afterEach(() => hub.stop());

const pull = (args: string[] = [], options: RunOptions = {}) =>
  runDrm(['pull', 'org/model', ...args], {
    ...options,
    env: { HF_ENDPOINT: options.env?.HF_ENDPOINT ?? hub.url, HF_HOME: home, HF_TOKEN: '', ...options.env },
  });
const repository = () => join(home, 'hub/models--org--model');
const snapshot = (name: string) => join(repository(), 'snapshots', COMMIT, name);
const blobs = () => readdirSync(join(repository(), 'blobs'));

test('the cache is laid out as huggingface_hub does, and a second pull fetches nothing', async () => {
  const { code, stdout, stderr } = await pull();
  expect(stderr).toContain('the denoising network');
  expect(stderr).toContain('left out: 2 files');
  expect(code).toBe(0);
  expect(stdout.trim()).toBe(join(repository(), 'snapshots', COMMIT));
  expect(readFileSync(snapshot('transformer/diffusion_pytorch_model.safetensors')).equals(weights)).toBe(true);
  expect(lstatSync(snapshot('model_index.json')).isSymbolicLink()).toBe(true);
  expect(readlinkSync(snapshot('transformer/config.json'))).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
  expect(readFileSync(join(repository(), 'refs/main'), 'utf8')).toBe(COMMIT);
  expect(existsSync(snapshot('vae/old.bin'))).toBe(false);
  hub.requests = [];
  expect((await pull()).code).toBe(0);
  expect(hub.requests.filter((r) => r.path.includes('/resolve/'))).toEqual([]);
});

test('--include and --exclude choose', async () => {
  await pull(['--include', '**/*.json', '--include', '*.json', '--exclude', 'transformer/*']);
  expect(existsSync(snapshot('model_index.json'))).toBe(true);
  expect(existsSync(snapshot('transformer/config.json'))).toBe(false);
});

test('--dry-run fetches nothing', async () => {
  const { code, stdout } = await pull(['--dry-run']);
  expect(code).toBe(0);
  expect(stdout).toContain('transformer/diffusion_pytorch_model.safetensors');
  expect(existsSync(repository())).toBe(false);
});

test('a connection that breaks is taken up where it broke', async () => {
  const path = 'transformer/diffusion_pytorch_model.safetensors';
  hub.behaviour = { cut: { path, after: 60_000, times: 2 } };
  const { code } = await pull();
  expect(code).toBe(0);
  expect(readFileSync(snapshot(path)).equals(weights)).toBe(true);
  expect(hub.requests.filter((r) => r.path.endsWith(path)).map((r) => r.headers.range)).toEqual([
    undefined,
    'bytes=60000-',
    'bytes=120000-',
  ]);
});

test('Ctrl-C keeps what arrived, and the same command goes on from there', async () => {
  hub.behaviour = { slow: 10 };
  const stopped = await pull([], { onOutput: { when: '%', act: (kill) => setTimeout(() => kill('SIGINT'), 500) } });
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain('goes on from there');
  expect(blobs().some((name) => name.endsWith('.incomplete'))).toBe(true);
  hub.behaviour = {};
  hub.requests = [];
  expect((await pull()).code).toBe(0);
  expect(hub.requests.some((r) => /^bytes=\d+-$/.test(r.headers.range ?? ''))).toBe(true);
  expect(readFileSync(snapshot('transformer/diffusion_pytorch_model.safetensors')).equals(weights)).toBe(true);
});

test('Ctrl-C while the hub has not answered yet is an interruption, no bug', async () => {
  let kill: (signal: NodeJS.Signals) => void = () => {};
  hub.behaviour = {
    intercept: () => {
      kill('SIGINT');
      return true;
    },
  };
  const { code, stderr } = await pull([], { onStart: (given) => (kill = given) });
  expect(code).toBe(130);
  expect(stderr).toContain('stopped');
  expect(stderr).not.toContain('bug');
});

test('a killed pull leaves nothing that the next one trusts', async () => {
  hub.behaviour = { slow: 10 };
  await pull([], { onOutput: { when: '%', act: (kill) => setTimeout(() => kill('SIGKILL'), 300) } });
  expect(existsSync(join(repository(), 'refs/main'))).toBe(false);
  hub.behaviour = {};
  expect((await pull()).code).toBe(0);
  expect(readFileSync(snapshot('transformer/diffusion_pytorch_model.safetensors')).equals(weights)).toBe(true);
});

test('damaged content is found, named and not kept', async () => {
  hub.behaviour = {
    intercept: (_request, response, path) => {
      if (!path.endsWith('.safetensors')) return false;
      response.end(Buffer.alloc(weights.length));
      return true;
    },
  };
  const { code, stderr } = await pull();
  expect(code).toBe(4);
  expect(stderr).toContain('expected sha256');
  expect(blobs().filter((name) => name.length > 60)).toEqual([]);
});

test('more bytes than announced are refused', async () => {
  hub.behaviour = {
    intercept: (_request, response, path) => {
      if (!path.endsWith('.safetensors')) return false;
      response.end(Buffer.alloc(weights.length + 5000));
      return true;
    },
  };
  const { code, stderr } = await pull();
  expect(code).toBe(4);
  expect(stderr).toContain('sends more');
});

const answer = (status: number, headers: Record<string, string> = {}, only = '/revision/') => {
  hub.behaviour = {
    intercept: (_request, response, path) => {
      if (!path.includes(only)) return false;
      response.writeHead(status, headers).end();
      return true;
    },
  };
};

test.each([
  [401, {}, ['401', 'HF_TOKEN']],
  [403, { 'x-error-code': 'GatedRepo' }, ['gated', 'accept its licence at', 'org/model']],
  [404, {}, ['404', 'no such repository']],
  [404, { 'x-error-code': 'RevisionNotFound' }, ['--revision']],
] as [number, Record<string, string>, string[]][])(
  'an answer of %i %j becomes a sentence',
  async (status, headers, parts) => {
    answer(status, headers);
    const { code, stderr } = await pull();
    expect(code).toBe(4);
    for (const part of parts) expect(stderr).toContain(part);
  },
);

test('429 is waited for as long as the hub asks', async () => {
  let left = 2;
  hub.behaviour = {
    intercept: (_request, response, path) => {
      if (!path.includes('/revision/') || left === 0) return false;
      left -= 1;
      response.writeHead(429, { 'retry-after': '1' }).end();
      return true;
    },
  };
  const started = Date.now();
  expect((await pull()).code).toBe(0);
  expect(Date.now() - started).toBeGreaterThan(2000);
});

test('the token goes to the hub and not to where it redirects', async () => {
  const other = await TestHub.start(hub.files);
  hub.behaviour = { redirect: other.url.replace('127.0.0.1', 'localhost') };
  try {
    const { code, stderr } = await pull([], { env: { HF_TOKEN: 'hf_secret' } });
    expect(stderr).not.toContain('hf_secret');
    expect(code).toBe(0);
    expect(hub.requests.every((r) => r.headers.authorization === 'Bearer hf_secret')).toBe(true);
    expect(other.requests.length).toBeGreaterThan(0);
    expect(other.requests.every((r) => r.headers.authorization === undefined)).toBe(true);
  } finally {
    await other.stop();
  }
});

test('long listings come in pages', async () => {
  hub.behaviour = { page: 2 };
  expect((await pull()).code).toBe(0);
  expect(existsSync(snapshot('transformer/config.json'))).toBe(true);
  expect(hub.requests.filter((r) => r.path.includes('/tree/')).length).toBe(3);
});

test('two pulls at once share the work and harm nothing', async () => {
  hub.behaviour = { slow: 2 };
  const [a, b] = await Promise.all([pull(), pull()]);
  expect([a.code, b.code]).toEqual([0, 0]);
  expect(readFileSync(snapshot('transformer/diffusion_pytorch_model.safetensors')).equals(weights)).toBe(true);
  expect(blobs().some((name) => name.endsWith('.incomplete'))).toBe(false);
});

test('a name that would leave the cache is refused', async () => {
  hub.files['../../evil.json'] = { content: Buffer.from('x') };
  const { code, stderr } = await pull();
  expect(code).toBe(4);
  expect(stderr).toContain('cannot be stored safely');
  expect(existsSync(repository())).toBe(false);
});

test('no hub at all', async () => {
  const gone = hub.url;
  await hub.stop();
  const { code, stderr } = await pull([], { env: { HF_ENDPOINT: gone } });
  hub = await TestHub.start({});
  expect(code).toBe(4);
  expect(stderr).toContain('cannot be reached');
});

test('what was pulled is found by its hub id', async () => {
  const { cpSync } = await import('node:fs');
  const { fixture } = await import('../run_drm.js');
  await pull();
  // The fixture in place of the snapshot: the id must lead to it.
  cpSync(fixture, snapshot(''), { recursive: true, force: true, dereference: true });
  const flags = [
    '--model',
    'org/model',
    '--prompt',
    'x',
    '--steps',
    '1',
    '--height',
    '32',
    '--width',
    '32',
    '--out',
    join(home, 'out'),
  ];
  const { code, stderr } = await runDrm(['sample', ...flags], { env: { HF_HOME: home } });
  expect(stderr).toContain('done');
  expect(code).toBe(0);
});
