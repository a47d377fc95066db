// What HPSv3 reads: the authors' text from its file, the chat around a prompt, and Qwen2's ids of it.
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Hpsv3Prompt, PROMPT_FILE, REWARD_TOKEN } from '../../cli/text/hpsv3_prompt.js';
import { Qwen2Tokenizer } from '../../cli/text/qwen2_tokenizer.js';
import { repository, temporaryFolder } from '../run_drm.js';

const golden = join(repository, 'test/golden/scorers');
const { qwen_tiny: stored } = JSON.parse(readFileSync(join(golden, 'text.json'), 'utf8'));

const wording = { instruction: '\nRate it.\nPrompt - {text_prompt}\n', tail: '\nIt is: <|Reward|>\n\nEND\n' };
const digestOf = ({ instruction, tail }: typeof wording): string =>
  createHash('sha256')
    .update(instruction + tail)
    .digest('hex');

/** A checkpoint's folder with this text, whose config states this digest. */
function folder(written: unknown, digest: unknown = digestOf(wording)): { folder: string; config: string } {
  const path = temporaryFolder();
  writeFileSync(join(path, PROMPT_FILE), JSON.stringify(written));
  const config = join(path, 'config.json');
  writeFileSync(config, JSON.stringify({ instruction_sha256: digest }));
  return { folder: path, config };
}
const read = (at: { folder: string; config: string }) => Hpsv3Prompt.read(at.folder, at.config);

test('a prompt is put into the text as it is', () => {
  const chat = read(folder(wording));
  expect(chat.chat('a cat')).toBe(
    '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>\nRate it.\nPrompt - a cat\n\nIt is: <|Reward|>\n\nEND\n<|im_end|>\n<|im_start|>assistant\n',
  );
  expect(chat.chat('')).toContain('Prompt - \n');
  for (const prompt of ['$& $1 {text_prompt}', 'two\nlines', '<|im_end|>'])
    expect(chat.chat(prompt)).toContain(`Prompt - ${prompt}\n`);
  for (const token of ['<|image_pad|>', REWARD_TOKEN])
    expect(() => chat.chat(`a ${token} b`)).toThrow(/expected a prompt without <\|/);
});

test('a text that is not the published one is refused, unless the config states its digest', () => {
  expect(() => read(folder(wording, null))).toThrow(/f6ee5747.* the published one.*scores mean nothing.*pip download/s);
  expect(() => read(folder({ ...wording, tail: `${wording.tail} ` }))).toThrow(/expected the text with SHA-256/);
  for (const digest of ['abc', 5]) expect(() => read(folder(wording, digest))).toThrow(/instruction_sha256.*64 digits/);
});

test.each<[string, unknown, RegExp]>([
  ['a list', [], /expected an object/],
  ['no tail', { instruction: 'x' }, /tail: expected a text/],
  ['no slot', { ...wording, instruction: 'Rate it.' }, /\{text_prompt\} once/],
  ['two slots', { ...wording, instruction: '{text_prompt}{text_prompt}' }, /\{text_prompt\} once/],
  ['no reward token', { ...wording, tail: 'END' }, /<\|Reward\|> once in the tail/],
])('a file with %s is refused', (_, written, message) => {
  const { instruction, tail } = written as Partial<typeof wording>;
  const digest = digestOf({ instruction: instruction ?? '', tail: tail ?? '' });
  expect(() => read(folder(written, digest))).toThrow(message);
});

test('without the file the error says how to make it', () => {
  const at = folder(wording);
  rmSync(join(at.folder, PROMPT_FILE));
  expect(() => read(at)).toThrow(/found nothing.*pip download --no-deps hpsv3.*> hpsv3_prompt.json/s);
});

/** A folder with these of the fixture's files. */
function tokenizerFolder(files: Record<string, string>): string {
  const path = temporaryFolder();
  for (const [name, from] of Object.entries(files)) copyFileSync(join(golden, from), join(path, name));
  return path;
}

test.each([
  ['tokenizer.json', { 'tokenizer.json': stored.tokenizer }],
  ['vocab.json and merges.txt', { 'vocab.json': stored.vocab, 'merges.txt': stored.merges }],
])('ids by %s equal the reference', async (_, files) => {
  const tokenizer = Qwen2Tokenizer.fromFolder(tokenizerFolder(files));
  expect(await tokenizer.rewardId()).toBe(stored.special[REWARD_TOKEN]);
  expect(await tokenizer.size()).toBe(stored.special[REWARD_TOKEN] + 1);
  expect(await Promise.all(stored.prompts.map((said: string) => tokenizer.ids(said)))).toEqual(stored.input_ids);
  expect(await tokenizer.ids(stored.chat_text)).toEqual(stored.chat_ids);
  for (const said of ['', '\ud800', '\u0000', '🦊'.repeat(100)])
    expect(Array.isArray(await tokenizer.ids(said))).toBe(true);
});

test('the reward token is added where the tokenizer is the base model’s', async () => {
  const path = tokenizerFolder({ 'tokenizer.json': stored.tokenizer });
  const file = join(path, 'tokenizer.json');
  const json = JSON.parse(readFileSync(file, 'utf8'));
  json.added_tokens = json.added_tokens.filter(({ content }: { content: string }) => content !== REWARD_TOKEN);
  writeFileSync(file, JSON.stringify(json));
  const tokenizer = Qwen2Tokenizer.fromFolder(path);
  expect(await tokenizer.rewardId()).toBe(stored.special[REWARD_TOKEN]);
  expect(await tokenizer.ids(stored.chat_text)).toEqual(stored.chat_ids);
});

test.each<[string, string, RegExp]>([
  ['another kind of file', '[]', /Hugging Face tokenizer.json/],
  ['no vocabulary', '{"model": {}, "added_tokens": []}', /vocab: expected an object/],
  ['ids that are none', '{"model": {"vocab": {"a": -1}}, "added_tokens": []}', /vocab.a: expected a whole number/],
])('a tokenizer.json with %s is refused', (_, content, message) => {
  const path = temporaryFolder();
  writeFileSync(join(path, 'tokenizer.json'), content);
  expect(() => Qwen2Tokenizer.fromFolder(path)).toThrow(message);
});

test('a folder without a tokenizer says what is looked for', () => {
  expect(() => Qwen2Tokenizer.fromFolder(temporaryFolder())).toThrow(/vocab.json with merges.txt, found neither/);
});
