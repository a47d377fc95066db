// Lists of prompts: flow_grpo's files as they are, the model's own, and what is no list.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DrmError } from '../../binding/error.js';
import type { GrpoSettings } from '../../cli/config/types.js';
import { promptLists } from '../../cli/grpo/prompts.js';
import { repository, temporaryFolder } from '../run_drm.js';
import { grpoSettings } from './settings.js';

const samples = (name: string) => join(repository, 'test/samples/prompts', name);

function lists(changes: Partial<GrpoSettings>, model?: string) {
  const told = { info: [] as string[], warn: [] as string[] };
  const say = { info: (text: string) => told.info.push(text), warn: (text: string) => told.warn.push(text) };
  const found = promptLists(grpoSettings({ model: 'tiny', ...changes }), model, say);
  return { ...found, ...told };
}

describe('flow_grpo’s folders', () => {
  test('text: lines as they are, trimmed and never split', () => {
    const { train, heldOut, file } = lists({ prompts: samples('pickscore') });
    expect(file).toBe(samples('pickscore/train.txt'));
    expect(train[0]).toBe('a narrow street in an old town after the rain');
    expect(train).toContain('portrait of a sailor with a wooden pipe, oil on canvas');
    expect(train).toContain('夕暮れの 港に 浮かぶ 三隻の 船 水彩画 の ような');
    expect(heldOut?.prompts).toHaveLength(3);
  });
  test('a file of one names the test list beside it', () => {
    const { heldOut } = lists({ prompts: samples('ocr/train.txt') });
    expect(heldOut?.file).toBe(samples('ocr/test.txt'));
    expect(heldOut?.prompts.at(-1)).toBe('A city wall with no lettering at all'); // no newline at its end
  });
  test('geneval: JSONL with more than prompts, each of them once', () => {
    const { train, heldOut, info } = lists({ prompts: samples('geneval') });
    expect(train).toEqual(['a photo of a kite', 'a photo of three apples', 'a photo of a green chair']);
    expect(new Set(heldOut?.prompts).size).toBe(heldOut?.prompts.length);
    expect(info.join()).toMatch(/test_metadata\.jsonl: 3 prompts, 1 repetitions passed over/);
  });
});

test('the embedded model has its own, of concepts that do not meet', () => {
  const { train, heldOut, warn } = lists({}, join(repository, 'models/tiny'));
  expect([train.length, heldOut?.prompts.length]).toEqual([1024, 256]);
  expect(warn).toEqual([]);
});

describe('what is told', () => {
  const folder = temporaryFolder();
  const file = (name: string, text: string | Buffer) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const refused = (changes: Partial<GrpoSettings>, code: string, words: string[], model?: string) => {
    let error: DrmError | undefined;
    try {
      lists(changes, model);
    } catch (thrown) {
      error = thrown as DrmError;
    }
    expect(error?.code).toBe(code);
    for (const word of words) expect(error?.message).toContain(word);
  };

  test('no prompts, and a model that has none', () =>
    refused({}, 'USAGE', ['--prompts FILE', 'tiny comes with none'], folder));
  test('an empty file', () =>
    refused({ prompts: file('empty.txt', '\n \n') }, 'BAD_FILE', ['empty.txt', 'found none']));
  test('bytes that are no UTF-8', () =>
    refused({ prompts: file('latin.txt', Buffer.from([0x63, 0x61, 0x66, 0xe9])) }, 'BAD_FILE', ['latin.txt', 'UTF-8']));
  test('held-out bytes that are none', () =>
    refused({ prompts: file('a.txt', 'a cat'), evaluate_prompts: join(folder, 'latin.txt') }, 'BAD_FILE', ['UTF-8']));
  test('a folder without lists', () => {
    mkdirSync(join(folder, 'none'));
    refused({ prompts: join(folder, 'none') }, 'BAD_FILE', ['none', 'train.txt', 'train_metadata.jsonl']);
  });
  test('JSONL with a broken line', () =>
    refused({ prompts: file('bad.jsonl', '{"prompt": "a"}\n{"prompt": 1}\n') }, 'BAD_FILE', ['line 2', 'prompt']));
  test('no held-out prompts is a warning; without evaluations there is none', () => {
    const prompts = file('mine.txt', 'a cat\n\na dog\na cat\n');
    const { train, heldOut, warn, info } = lists({ prompts });
    expect([train, heldOut]).toEqual([['a cat', 'a dog'], undefined]);
    expect(warn.join()).toContain('--eval-prompts');
    expect(info.join()).toContain('1 empty lines and 1 repetitions');
    expect(lists({ prompts, evaluate_every: 0 }).warn).toEqual([]);
  });
  test('held-out prompts that are trained on, seeds that have no meaning', () => {
    const prompts = file('seeded.jsonl', '{"prompt": "a cat", "seed": 3}\n{"prompt": "a dog"}');
    const { warn } = lists({ prompts, evaluate_prompts: file('held.txt', 'a cat\na cow') });
    expect(warn.join('\n')).toMatch(/have no meaning in training are not used: seed\n.*1 of the 2 held-out prompts/s);
  });
});
