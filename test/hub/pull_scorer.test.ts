// `drm pull pickscore`: the files of a scorer from several repositories, and what the hub does not have.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PUBLISHED } from '../../cli/hub/published.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { COMMIT, type HubFile, TestHub } from './server.js';

const small = (text: string): HubFile => ({ content: Buffer.from(text) });
const large = (): HubFile => ({ content: randomBytes(50_000), lfs: true });
const CLIP_H = 'laion/CLIP-ViT-H-14-laion2B-s32B-b79K';

let hub: TestHub;
let home: string;

beforeEach(async () => {
  home = temporaryFolder();
  hub = await TestHub.start(
    {},
    {
      'yuvalkirstain/PickScore_v1': {
        'config.json': small('{"model_type": "clip"}'),
        'model.safetensors': large(),
        'pytorch_model.bin': large(),
        'README.md': small('x'),
      },
      [CLIP_H]: {
        'config.json': small('{"model_type": "clip"}'),
        'tokenizer.json': small('{}'),
        'tokenizer_config.json': small('{}'),
        'open_clip_pytorch_model.bin': large(),
        'pytorch_model.bin': large(),
      },
      'xswu/HPSv2': { 'HPS_v2_compressed.pt': large(), 'HPS_v2.1_compressed.pt': large(), 'HPS_v2.pt': large() },
      'openai/clip-vit-large-patch14': {
        'vocab.json': small('{}'),
        'merges.txt': small(''),
        'model.safetensors': large(),
        'config.json': small('{}'),
      },
    },
  );
});
afterEach(() => hub.stop());

const pull = (args: string[], env: Record<string, string> = {}) =>
  runDrm(['pull', ...args], {
    env: { HF_ENDPOINT: hub.url, HF_HOME: home, HF_HUB_CACHE: '', HF_TOKEN: '', DRM_SCORERS: '', ...env },
  });
const cached = (id: string, file: string) =>
  existsSync(join(home, 'hub', `models--${id.replace('/', '--')}`, 'snapshots', COMMIT, file));
const resolved = () => hub.requests.filter(({ path }) => path.includes('/resolve/')).map(({ path }) => path);

test('a scorer comes from its repositories, each file once, no pickle where safetensors are', async () => {
  const { code, stdout, stderr } = await pull(['pickscore']);
  expect(stderr).toContain('the fine-tuned towers and their temperature, fp32: model.safetensors of yuvalkirstain');
  expect(stderr).toContain("CLIP's tokenizer: tokenizer.json of laion");
  expect(code).toBe(0);
  expect(stdout).toContain('yuvalkirstain/PickScore_v1 model.safetensors');
  for (const file of ['model.safetensors', 'config.json'])
    expect(cached('yuvalkirstain/PickScore_v1', file)).toBe(true);
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) expect(cached(CLIP_H, file)).toBe(true);
  expect(resolved().filter((path) => /\.bin|README|laion.*config.json$/.test(path) && !/tokenizer/.test(path))).toEqual(
    [],
  );
  hub.requests = [];
  expect((await pull(['pickscore'])).code).toBe(0);
  expect(resolved()).toEqual([]);
});

test('the pickle is fetched where there is nothing else, and only the file of the version', async () => {
  expect((await pull(['clip-h'])).code).toBe(0);
  expect(cached(CLIP_H, 'pytorch_model.bin')).toBe(true);
  expect(cached(CLIP_H, 'open_clip_pytorch_model.bin')).toBe(false);
  expect((await pull(['hpsv2.1'])).code).toBe(0);
  expect(cached('xswu/HPSv2', 'HPS_v2.1_compressed.pt')).toBe(true);
  expect(cached('xswu/HPSv2', 'HPS_v2.pt')).toBe(false);
});

test('a file that is no longer the published one is refused before anything is fetched', async () => {
  const { code, stderr } = await pull(['hpsv2']);
  expect(code).toBe(3);
  expect(stderr).toMatch(
    /expected HPS_v2_compressed.pt as it is published \(1972484501 bytes, sha256 07cb0d20.*nothing was fetched/s,
  );
  expect(resolved()).toEqual([]);
});

test('what the hub lacks is named with its source and its place, after the rest was fetched', async () => {
  const { code, stderr } = await pull(['aesthetic']);
  expect(code).toBe(4);
  expect(stderr).toContain('christophschuhmann/improved-aesthetic-predictor');
  expect(stderr).toContain(join(home, 'drm-scorers/aesthetic'));
  expect(cached('openai/clip-vit-large-patch14', 'model.safetensors')).toBe(true);
  // What was put there is checked.
  const folder = join(home, 'drm-scorers/aesthetic');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'sac+logos+ava1-l14-linearMSE.pth'), 'not it');
  const again = await pull(['aesthetic']);
  expect(again.code).toBe(3);
  expect(again.stderr).toMatch(
    /expected sac\+logos\+ava1-l14-linearMSE.pth as it is published, 3714759 bytes, found 6/,
  );
});

test.each(['hps', 'mps', 'lpips'])('%s is on no repository: where it is', async (name) => {
  const { code, stderr } = await pull([name]);
  expect(code).toBe(4);
  expect(stderr).toMatch(/tgxs002\/align_sd|Kwai-Kolors\/MPS|alexnet-owt-7be5be79.pth.*lpips 0.1.4/s);
});

test('--dry-run fetches nothing, offline nothing is asked', async () => {
  const { code, stdout } = await pull(['pickscore', '--dry-run']);
  expect(code).toBe(0);
  expect(stdout).toContain('model.safetensors');
  expect(resolved()).toEqual([]);
  hub.requests = [];
  const offline = await pull(['pickscore'], { HF_HUB_OFFLINE: '1' });
  expect(offline.code).toBe(4);
  expect(hub.requests).toEqual([]);
});

test('a name that is none, and options that a scorer does not take', async () => {
  const { code, stderr } = await pull(['pikscore']);
  expect(code).toBe(2);
  expect(stderr).toContain('did you mean pickscore?');
  expect((await pull(['pickscore', '--include', '*.bin'])).stderr).toContain('expected no --include');
});

test('the table: hashes are hashes, every part has a source', () => {
  for (const { name, licence, parts } of PUBLISHED) {
    expect(licence).not.toBe('');
    expect(parts.filter(({ role }) => role === 'weights')).toHaveLength(1);
    for (const { files, hub: ids = [], elsewhere, optional } of parts) {
      expect(files.length, name).toBeGreaterThan(0);
      expect(ids.length > 0 || elsewhere !== undefined || optional, name).toBe(true);
      for (const { sha256, bytes } of files)
        if (sha256) expect([sha256, bytes]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), expect.any(Number)]);
    }
  }
});
