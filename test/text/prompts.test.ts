// Prompt files in every form, and what merely looks like one.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readListJobs } from '../../cli/eval/list_jobs.js';
import { askedPrompts } from '../../cli/sample/jobs.js';
import { readPrompts } from '../../cli/text/prompts.js';
import { repository, temporaryFolder } from '../run_drm.js';

const cases = join(repository, 'test/samples/cases');
const here = temporaryFolder();
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(here, name), content);
  return join(here, name);
};
const texts = (name: string, content: string | Uint8Array) =>
  readPrompts(file(name, content)).prompts.map(({ prompt }) => prompt);

describe('prompts-json-array', () => {
  const two = ['A red fox asleep', 'A blue chair'];
  test.each(['anime.json', 'anime_indented.json'])('%s', (name) => {
    expect(readPrompts(join(cases, 'prompts-json-array', name))).toEqual({
      prompts: two.map((prompt) => ({ prompt })),
      blank: 0,
      unread: new Map(),
    });
  });
  test('whatever the name ends in, one line or several, with a mark', () => {
    for (const name of ['p.json', 'p.JSON', 'p.jsonl', 'p.txt', 'prompts'])
      for (const content of [
        JSON.stringify(two),
        JSON.stringify(two, null, 4),
        `\ufeff${JSON.stringify(two, null, '\t')}\n`,
      ])
        expect(texts(name, content)).toEqual(two);
  });
  test('objects: arrays, lines, one after another; other fields are passed over, what is not a number is absent', () => {
    const objects = two.map((prompt) => ({ prompt, tag: 'x', include: [{ class: 'fox', count: 1 }] }));
    for (const name of ['o.json', 'o.jsonl', 'o.txt'])
      for (const content of [
        JSON.stringify(objects),
        JSON.stringify(objects, null, 2),
        ...['\n', '\n\n'].map((gap) => objects.map((one) => JSON.stringify(one)).join(gap)),
        objects.map((one) => JSON.stringify(one, null, 2)).join('\n'),
      ])
        expect(texts(name, content)).toEqual(two);
    expect(
      readPrompts(file('n.json', '[{"prompt": "NaN", "seed": NaN, "negative_prompt": null, "score": Infinity}, "b"]'))
        .prompts,
    ).toEqual([{ prompt: 'NaN' }, { prompt: 'b' }]);
  });
  test('text stays text, byte for byte but for its ends', () => {
    const lines = [
      '["a", "b"] graffiti on a wall',
      '{best quality}, a cat',
      '[neon sign]',
      '"quoted"',
      '1',
      'null',
      '{"prompt": "a"} as text',
      '["c"]',
      'a NaN cat',
    ];
    for (const from of [0, 1, 2, 3, 5, 7]) {
      const turned = [...lines.slice(from), ...lines.slice(0, from)];
      expect(texts('lines.txt', turned.join('\n'))).toEqual(turned);
    }
    expect(texts('one.txt', '["an array of text", 5]')).toEqual(['["an array of text", 5]']);
    expect(readPrompts(file('blank.txt', ' a \r\n\r\nb\n'))).toEqual({
      prompts: [{ prompt: 'a' }, { prompt: 'b' }],
      blank: 1,
      unread: new Map(),
    });
  });
  test.each([
    ['a.json', '["a", 5]', 'record 1: expected a text, or an object with a "prompt", found 5'],
    ['a.json', '["a", null]', 'record 1'],
    ['a.json', '[{"prompt": null}]', 'record 0: expected a text as "prompt", found null'],
    ['a.json', '{"prompts": ["a"]}', 'expected a text as "prompt", found none'],
    ['a.json', 'a cat', 'line 1: expected JSON'],
    ['a.json', '["a",', 'expected JSON'],
    ['a.json', '[]', 'expected at least one prompt, found none'],
    [
      'a.jsonl',
      '{"prompt": "a"}\n{"prompt": "b", "seed": "3"}',
      'line 2: expected a whole number from 0 as "seed", found "3"',
    ],
    ['a.jsonl', '{"prompt": "a", "negative_prompt": 5}', 'line 1: expected a text as "negative_prompt", found 5'],
    ['a.txt', '{"a": 1}', 'line 1: expected a text as "prompt", found none'],
    ['a.txt', '\0a\0b', 'UTF-16'],
    ['a.txt', 'a cat\nb\0', 'zero bytes'],
    ['a.txt', Buffer.from('\ufeffa cat', 'utf16le'), 'found UTF-16; save it as UTF-8'],
  ])('%s %j: %s', (name, content, part) =>
    expect(() => readPrompts(file(name, content))).toThrow(
      expect.objectContaining({ code: 'BAD_FILE', message: expect.stringContaining(part) }),
    ),
  );
});

describe('prompts-null-fields', () => {
  test('the sample', () => {
    expect(readPrompts(join(cases, 'prompts-null-fields/p.jsonl')).prompts).toEqual([
      { prompt: 'red apple' },
      { prompt: 'green apple', negativePrompt: 'blurry', seed: 3n },
    ]);
  });
  test('as drm sample asks for them', () => {
    const context = { options: { prompts: join(cases, 'prompts-json-array/anime.json') }, args: [] } as never;
    expect(askedPrompts(context, undefined, { settings: true })).toHaveLength(2);
  });
  test('images to score: null is absent, lists may be arrays', () => {
    const rows = [
      { prompt: 'a', image: 'a.png', images: null, chosen: null, rejected: null },
      { prompt: 'b', image: null, images: ['a.png', 'b.png'] },
      { prompt: 'c', chosen: 'a.png', rejected: 'b.png', image: null },
    ];
    for (const content of [JSON.stringify(rows, null, 2), rows.map((row) => JSON.stringify(row)).join('\n')])
      expect(readListJobs(file('jobs.json', content)).map(({ names, preferred }) => [names, preferred])).toEqual([
        [['a.png'], false],
        [['a.png', 'b.png'], false],
        [['a.png', 'b.png'], true],
      ]);
    expect(() => readListJobs(file('jobs.json', '[{"prompt": "a"}]'))).toThrow(
      /record 0: expected \{"prompt", "image"\}/,
    );
  });
});

test('the samples are as the field has them', () => {
  expect(readFileSync(join(cases, 'prompts-json-array/anime.json'), 'utf8').startsWith('["')).toBe(true);
});

describe('fields of prompts', () => {
  const line = (fields: object) => readPrompts(file('f.jsonl', JSON.stringify({ prompt: 'x', ...fields })));
  test('are settings, under the names of other tools, too', () => {
    const { prompts } = line({ num_inference_steps: 9, cfg_scale: 2, size: 64, n: 2, height: null });
    expect(prompts[0]?.settings).toEqual({ steps: 9, guidance: 2, width: 64, height: 64, n: 2 });
  });
  test('are counted where they mean nothing, and refused where they are no numbers', () => {
    expect(line({ sampler: 'euler', toString: 1 }).unread).toEqual(
      new Map([
        ['sampler', 1],
        ['toString', 1],
      ]),
    );
    expect(() => line({ steps: 'many' })).toThrow('line 1: expected a number as "steps", found "many"');
  });
  test('are warned of where a command does not read them', () => {
    const said: string[] = [];
    const events = { emit: (event: { message: string }) => said.push(event.message) };
    const prompts = file('w.jsonl', '{"prompt": "a", "steps": 3}\n{"prompt": "b", "steps": 4, "style": "x"}');
    askedPrompts({ options: { prompts, prompt: undefined }, events } as never, undefined, { settings: false });
    expect(said.join('\n')).toContain('"steps", which 2 of 2 prompts have, has no meaning here');
    expect(said.join('\n')).toContain('"style", which 1 of 2');
  });
});
