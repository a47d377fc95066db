// Tokenizer files from anywhere, and texts of any kind: an error that names the file, never the end of the process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { limits } from '../../cli/text/library.js';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { repository, runDrm, temporaryFolder } from '../run_drm.js';

const golden = (name: string) => join(repository, 'test/golden/pipeline', name);
const usual = { ...limits };
afterEach(() => Object.assign(limits, usual));

interface TokenizerJson {
  normalizer: unknown;
  model: { vocab: unknown[]; unk_id: unknown };
  post_processor: unknown;
}

/** A copy of a golden tokenizer whose tokenizer.json is changed. */
function changed(name: string, change: (json: TokenizerJson) => void): string {
  const folder = temporaryFolder();
  cpSync(golden(name), folder, { recursive: true });
  const file = join(folder, 'tokenizer.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as TokenizerJson;
  change(json);
  writeFileSync(file, JSON.stringify(json));
  return folder;
}

function charsmap(value: unknown): { precompiled_charsmap: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if ('precompiled_charsmap' in value) return value as { precompiled_charsmap: string };
  for (const inner of Object.values(value)) {
    const found = charsmap(inner);
    if (found) return found;
  }
  return undefined;
}

/** T5's tokenizer with one byte of its precompiled_charsmap changed; unchecked, the library aborts at a text that meets it. */
const oneByte = (at = 0) =>
  changed('tokenizer_3', (json) => {
    const found = charsmap(json.normalizer) as { precompiled_charsmap: string };
    const bytes = Buffer.from(found.precompiled_charsmap, 'base64');
    bytes[at] = 0xff ^ (bytes[at] as number);
    found.precompiled_charsmap = bytes.toString('base64');
  });

/** The library breaks at every text of this one, and nothing before it looks at templates. */
const breaking = () =>
  changed('tokenizer_3', (json) => {
    const single = [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: 'none', type_id: 0 } }];
    json.post_processor = { type: 'TemplateProcessing', single, pair: [], special_tokens: {} };
  });

const texts = ['', 'a red fox', '\ufb01 \u00bd \uff21', 'x\u0000y', '\ud800', 'e\u0301', 'x'.repeat(5000)];
const use = async (folder: string) => {
  const tokenizer = Tokenizer.fromFolder(folder);
  const ids: number[][] = [];
  for (const text of texts) ids.push(await tokenizer.ids(text));
  return ids;
};

test('one byte of precompiled_charsmap: found before the library meets it, whatever the text', () => {
  // The trie's length, its root, units in its midst and its replacements.
  for (const at of [0, 1, 5, 6, 1030, 179_300])
    expect(() => Tokenizer.fromFolder(oneByte(at)), `byte ${at}`).toThrow(
      /tokenizer\.json: .*precompiled_charsmap, found/,
    );
});

test('what the library breaks at is an error, and the next tokenizer works', async () => {
  const good = await use(golden('tokenizer_3'));
  const folder = breaking();
  await expect(Tokenizer.fromFolder(folder).ids('a red fox')).rejects.toMatchObject({
    code: 'BAD_FILE',
    details: { file: join(folder, 'tokenizer.json') },
    message: expect.stringMatching(/at "a red fox": expected a tokenizer, found one that the library breaks at/),
  });
  expect(await use(golden('tokenizer_3'))).toEqual(good);
});

test('the command says so, too', async () => {
  const model = temporaryFolder();
  cpSync(join(repository, 'test/golden/pipeline'), model, { recursive: true });
  cpSync(breaking(), join(model, 'tokenizer_3'), { recursive: true });
  const flags = ['--steps', '1', '--height', '32', '--width', '32', '--out', join(model, 'out')];
  const { code, stderr } = await runDrm(['sample', '--model', model, '--prompt', 'a red fox', ...flags]);
  expect(stderr).toContain(join(model, 'tokenizer_3'));
  expect(code).toBe(3);
});

test.each<[string, (json: TokenizerJson) => void]>([
  ['an empty charsmap', ({ normalizer }) => Object.assign(charsmap(normalizer) ?? {}, { precompiled_charsmap: '' })],
  [
    'a charsmap that promises 4 GB',
    ({ normalizer }) => Object.assign(charsmap(normalizer) ?? {}, { precompiled_charsmap: '/////w==' }),
  ],
  ['an unknown token that is none', ({ model }) => Object.assign(model, { unk_id: 9_999_999 })],
  ['no vocabulary', ({ model }) => Object.assign(model, { vocab: [], unk_id: null })],
  ['a score as text', ({ model }) => Object.assign(model, { vocab: [['a', '1']] })],
  ['all null', (json) => Object.assign(json, { model: null, version: null })],
  [
    'a pattern that is none',
    (json) => Object.assign(json, { normalizer: { type: 'Replace', pattern: { Regex: '(' }, content: '' } }),
  ],
  [
    'components in components, 200 deep',
    (json) => {
      json.normalizer = { type: 'NFC' };
      for (let i = 0; i < 200; i++) json.normalizer = { type: 'Sequence', normalizers: [json.normalizer] };
    },
  ],
])('%s', async (_name, change) => {
  await expect(use(changed('tokenizer_3', change))).rejects.toMatchObject({ code: 'BAD_FILE' });
});

const replace = (text: string, content: string) => ({ type: 'Replace', pattern: { String: text }, content });

test('a file that makes a text grow without bounds is ended by time or memory', async () => {
  const folder = changed('tokenizer_3', (json) => {
    json.normalizer = { type: 'Sequence', normalizers: Array.from({ length: 40 }, () => replace('a', 'aa')) };
  });
  limits.ms = 1000;
  await expect(Tokenizer.fromFolder(folder).ids('aaaaaaaa')).rejects.toThrow(/takes more than (1 s|1024 MiB)/);
  const large = changed('tokenizer_3', (json) => {
    json.normalizer = { type: 'Sequence', normalizers: [replace('a', 'b'.repeat(100_000))] };
  });
  limits.ms = 60_000;
  limits.bytes = 300 << 20;
  await expect(Tokenizer.fromFolder(large).ids('a'.repeat(100_000))).rejects.toThrow(
    /takes more than 300 MiB of memory/,
  );
});

const clip = (): string => {
  const folder = temporaryFolder();
  cpSync(golden('tokenizer'), folder, { recursive: true });
  rmSync(join(folder, 'tokenizer.json'));
  return folder;
};

test.each([
  ['special_tokens_map.json', 'null'],
  ['special_tokens_map.json', '[]'],
  ['special_tokens_map.json', '5'],
  ['special_tokens_map.json', '{"bos_token": 5}'],
  ['special_tokens_map.json', '{"bos_token": []}'],
  ['special_tokens_map.json', '{"bos_token": {"content": null}}'],
  ['special_tokens_map.json', '{"bos_token": {"content": "<|startoftext|>", "lstrip": "no"}}'],
  ['special_tokens_map.json', '{"bos_token": "not in it"}'],
  ['special_tokens_map.json', '{"bos_token": "toString"}'],
  ['special_tokens_map.json', `{"pad_token": ${'['.repeat(5000)}${']'.repeat(5000)}}`],
  ['tokenizer_config.json', 'null'],
  ['tokenizer_config.json', '{"pad_token": true}'],
  ['tokenizer_config.json', '\xff\xfe{}'],
  ['vocab.json', 'null'],
  ['vocab.json', '[]'],
  ['vocab.json', '{"a": "1"}'],
  ['vocab.json', '{"<|startoftext|>": -1, "<|endoftext|>": 1.5}'],
  ['vocab.json', '{"<|startoftext|>": 1, "<|endoftext|>": 99999999999}'],
  ['merges.txt', '#version: 0.2\na\n'],
  ['merges.txt', '#version: 0.2\nnot there\n'],
])('%s of %s is an error of the file', async (name, content) => {
  const folder = clip();
  writeFileSync(join(folder, name), content, 'latin1');
  const tried = async () => Tokenizer.fromFolder(folder).ids('x');
  await expect(tried()).rejects.toMatchObject({ code: 'BAD_FILE', message: expect.stringContaining(folder) });
});

test('absent, null and plain roles, and lines that end as on Windows, are as good', async () => {
  const expected = await Tokenizer.fromFolder(clip()).ids('a red fox');
  const merges = readFileSync(join(golden('tokenizer'), 'merges.txt'), 'utf8');
  for (const map of ['{}', '{"bos_token": null, "unk_token": "<|endoftext|>"}', undefined]) {
    const folder = clip();
    writeFileSync(join(folder, 'merges.txt'), merges.replaceAll('\n', '\r\n'));
    if (map === undefined) rmSync(join(folder, 'special_tokens_map.json'));
    else writeFileSync(join(folder, 'special_tokens_map.json'), map);
    expect(await Tokenizer.fromFolder(folder).ids('a red fox')).toEqual(expected);
  }
});

test('a file of 100 MB is not read, nor is a text of megabytes', async () => {
  const folder = clip();
  writeFileSync(join(folder, 'tokenizer.json'), '{');
  truncateSync(join(folder, 'tokenizer.json'), 100e6);
  expect(() => Tokenizer.fromFolder(folder)).toThrow(/expected at most 64 MiB, found 95 MiB/);
  await expect(Tokenizer.fromFolder(clip()).ids('x'.repeat(2e6))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

const program = `
  const { Tokenizer } = await import(${JSON.stringify(join(repository, 'dist/cli/text/tokenizer.js'))});
  const { readFileSync } = await import('node:fs');
  const tokenizer = Tokenizer.fromFolder(${JSON.stringify(golden('tokenizer'))});
  await tokenizer.ids('x');
  const pid = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim();
  if (process.argv[1] === 'kill') {
    process.kill(Number(pid), 'SIGKILL');
    while ((await tokenizer.ids('x').catch((error) => error)).code !== 'ENVIRONMENT') {}
    await Tokenizer.fromFolder(${JSON.stringify(golden('tokenizer'))}).ids('x');
  }
  console.log(pid);
  if (process.argv[1] === 'wait') setInterval(() => {}, 1000);
`;

test.each(['end', 'wait', 'kill'])('no process is left behind, however the command ends: %s', async (how) => {
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program, how], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(parent, 'close');
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  if (how === 'wait') parent.kill('SIGKILL');
  expect((await closed)[0]).toBe(how === 'wait' ? null : 0);
  const child = `/proc/${Number(line.toString())}`;
  const isGone = () => !existsSync(child) || /^State:\s+Z/m.test(readFileSync(`${child}/status`, 'utf8'));
  for (let i = 0; i < 500 && !isGone(); i++) await setTimeout(10);
  expect(isGone()).toBe(true);
});
