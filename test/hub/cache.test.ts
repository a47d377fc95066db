// Where the cache and the token are, as huggingface_hub has it; the values were compared with its own.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  cachedSnapshot,
  cacheFolder,
  endpoint,
  hubHome,
  hubToken,
  isOffline,
  repositoryFolder,
} from '../../cli/hub/cache.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { fixture, temporaryFolder } from '../run_drm.js';

const NAMES =
  'HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_TOKEN_PATH HF_HUB_OFFLINE TRANSFORMERS_OFFLINE HF_ENDPOINT';
const set = (env: Record<string, string>) => {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
};
beforeEach(() => {
  for (const name of NAMES.split(' ')) vi.stubEnv(name, '');
  set({ HOME: '/home/u', A: '/aa', B: 'bb' });
});
afterEach(() => vi.unstubAllEnvs());

test.each([
  [{}, '/home/u/.cache/huggingface'],
  [{ HF_HOME: '~/hf' }, '/home/u/hf'],
  [{ HF_HOME: '~' }, '/home/u'],
  [{ HF_HOME: '~root/hf' }, '/root/hf'],
  [{ HF_HOME: '~no_such_user/x' }, '~no_such_user/x'],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's spelling of a variable
  [{ HF_HOME: '$A/${B}/$NO_SUCH/${NO_SUCH}/$' }, '/aa/bb/$NO_SUCH/${NO_SUCH}/$'],
  [{ HF_HOME: '~/x', HOME: '/' }, '/x'],
  [{ XDG_CACHE_HOME: '~/c' }, '/home/u/c/huggingface'],
] as [Record<string, string>, string][])('home of %j', (env, home) => {
  set(env);
  expect(hubHome()).toBe(home);
  expect(cacheFolder()).toBe(`${home}/hub`);
});

test.each([
  [{ HF_HUB_CACHE: '~/q/$B', HF_HOME: '/h' }, '/home/u/q/bb'],
  [{ HUGGINGFACE_HUB_CACHE: '$A/old', HF_HOME: '/h' }, '/aa/old'],
  [{ HF_HUB_CACHE: '/new', HUGGINGFACE_HUB_CACHE: '/old' }, '/new'],
] as [Record<string, string>, string][])('cache of %j', (env, folder) => {
  set(env);
  expect(cacheFolder()).toBe(folder);
});

test.each([
  [{ HF_HUB_OFFLINE: '1' }, true],
  [{ HF_HUB_OFFLINE: 'on' }, true],
  [{ HF_HUB_OFFLINE: 'Yes' }, true],
  [{ HF_HUB_OFFLINE: 'true' }, true],
  [{ HF_HUB_OFFLINE: '0' }, false],
  [{ HF_HUB_OFFLINE: '2' }, false],
  [{ TRANSFORMERS_OFFLINE: '1' }, true],
  [{ HF_HUB_OFFLINE: '0', TRANSFORMERS_OFFLINE: '1' }, false],
] as [Record<string, string>, boolean][])('%j is offline: %s', (env, offline) => {
  set(env);
  expect(isOffline()).toBe(offline);
});

test('the token: HF_TOKEN, the old name, the file; line breaks and spaces around it are passed over', () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'token'), ' hf_f\nile \n');
  set({ HF_HOME: folder });
  expect(hubToken()).toBe('hf_file');
  set({ HUGGING_FACE_HUB_TOKEN: 'hf_old' });
  expect(hubToken()).toBe('hf_old');
  set({ HF_TOKEN: ' hf_a\r\nb\n' });
  expect(hubToken()).toBe('hf_ab');
  set({ HF_TOKEN: ' ' }); // as in Python: set, so that the old name is not looked at
  expect(hubToken()).toBe('hf_file');
  set({ HF_TOKEN_PATH: join(folder, 'none') });
  expect(hubToken()).toBe(undefined);
});

test.each(['hf_sec ret', 'hf_sec\u0000ret', 'hf_secrét', 'hf_sec\u{1f600}ret', 'hf_sec\tret'])(
  'what no header can carry is no token, and is not printed: %j',
  (token) => {
    const file = join(temporaryFolder(), 'token');
    writeFileSync(file, token);
    set({ HF_TOKEN_PATH: file });
    let message = '';
    try {
      hubToken();
    } catch (error) {
      message = JSON.stringify([error, (error as Error).message, (error as Error).stack]);
    }
    expect(message).toContain('BAD_CONFIG');
    expect(message).not.toMatch(/hf_|sec|ret"/);
  },
);

test('a token file that cannot be read is named', () => {
  set({ HF_TOKEN_PATH: temporaryFolder() });
  expect(() => hubToken()).toThrow(/readable file with a hub token \(EISDIR\)/);
});

test('the endpoint is an address, whose password is never shown', () => {
  set({ HF_ENDPOINT: 'http://127.0.0.1:1//' });
  expect(endpoint()).toBe('http://127.0.0.1:1');
  for (const wrong of [
    'nonsense',
    'file:///x',
    'http://',
    'https://h/?a=b',
    'me:pass@hub',
    'https://me:pass@hub.example',
  ]) {
    set({ HF_ENDPOINT: wrong });
    expect(() => endpoint()).toThrow(/HF_ENDPOINT: expected a hub's address/);
    expect(() => endpoint()).not.toThrow(/pass@|me:pass/);
  }
});

test('a snapshot of plain files is found and resolved, without blobs', async () => {
  set({ HF_HOME: temporaryFolder() });
  const folder = repositoryFolder('org/model');
  const commit = 'c'.repeat(40);
  mkdirSync(join(folder, 'snapshots'), { recursive: true });
  symlinkSync(fixture, join(folder, 'snapshots', commit));
  mkdirSync(join(folder, 'refs'));
  writeFileSync(join(folder, 'refs/main'), commit);
  expect(cachedSnapshot('org/model')).toBe(join(folder, 'snapshots', commit));
  expect(cachedSnapshot('org/model', commit)).toBe(join(folder, 'snapshots', commit));
  expect((await resolveModel('org/model')).tokenizers.clipL).toBe(join(folder, 'snapshots', commit, 'tokenizer'));
  for (const revision of ['..', '../snapshots', 'a//b', '', 'none'])
    expect(cachedSnapshot('org/model', revision)).toBe(undefined);
  writeFileSync(join(folder, 'refs/main'), ''); // cut off while it was written
  expect(cachedSnapshot('org/model')).toBe(undefined);
});
