// JSON files on disk that are not what they should be: named, with exit code 3, whatever is wrong with them.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { folderOf, openEncoded } from '../../../cli/data/load/encoded.js';
import { CaptionedSet } from '../../../cli/data/prepared/captioned_set.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import { StagedImages } from '../../../cli/data/sets/staged_images.js';
import { userSource } from '../../../cli/data/sets/user_source.js';
import { groupsOf } from '../../../cli/report/groups.js';
import { pageOf } from '../../../cli/report/page.js';
import { readRuns } from '../../../cli/report/read.js';
import { summaryOf, summaryText } from '../../../cli/report/summary.js';
import { openCheckpoint } from '../../../cli/runs/checkpoints.js';
import { readRunConfig } from '../../../cli/runs/folder.js';
import { temporaryFolder } from '../../run_drm.js';
import { pngOf, write } from '../images.js';
import { ODD, outcome, refused } from '../odd_files.js';

let set: string;
beforeAll(async () => {
  const from = write(temporaryFolder(), { 'a.png': await pngOf(1), 'a.txt': 'a' });
  set = join(temporaryFolder(), 'set');
  await prepare(await userSource(from, { size: undefined, holdOut: 0 }, undefined as never), set, {
    limits: { bytes: 1e9, samples: 9 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
});

describe('manifest.json', () => {
  test('every field, every odd value', async () => {
    const file = join(set, 'manifest.json');
    const right = readFileSync(file, 'utf8');
    await refused(file, JSON.parse(right), () => readManifest(set), [
      'settings',
      'dropped',
      'images',
      'records',
      'kept',
      'tool',
      'sources',
      'shards',
    ]);
    const shard = { ...JSON.parse(right).shards[0] };
    const of = (more: object) => JSON.stringify({ ...JSON.parse(right), shards: [{ ...shard, ...more }] });
    for (const more of [
      { name: '../x.tar' },
      { count: 1e12 },
      { count: 1.5 },
      { bytes: '5' },
      { split: 'toString' },
      { split: 5 },
      { sha256: null },
    ]) {
      writeFileSync(file, of(more));
      expect(await outcome(() => CaptionedSet.open(set)), JSON.stringify(more)).toMatchObject({
        code: 3,
        message: expect.stringContaining('manifest.json'),
      });
    }
    writeFileSync(file, right);
    for (const split of ['toString', '__proto__', 'constructor'])
      await expect(CaptionedSet.open(set, { split })).rejects.toThrow(`expected split ${split}, found train`);
    await (await CaptionedSet.open(set)).close();
  });
});

test('sidecars of pairs: a field of another type is named with its shard', async () => {
  const from = write(temporaryFolder(), {
    'a.png': await pngOf(1),
    'b.png': await pngOf(2),
    'pairs.jsonl': '{"prompt": "p", "chosen": "a.png", "rejected": "b.png", "confidence": 0.5, "group": "g"}',
  });
  const pairs = join(temporaryFolder(), 'pairs');
  await prepare(
    await userSource(
      join(from, 'pairs.jsonl'),
      { size: undefined, holdOut: 0 },
      {
        size: undefined,
        selfContained: false,
        keepTies: false,
        images: undefined,
        rewrite: [],
        work: from,
        holdOut: 0,
        minConfidence: undefined,
      },
    ),
    pairs,
    {
      limits: { bytes: 1e9, samples: 9 },
      signal: new AbortController().signal,
      onProgress: () => {},
      onDrop: () => {},
    },
  );
  const shard = join(pairs, 'train-00000.tar');
  const right = readFileSync(shard, 'latin1');
  const read = async () => {
    const opened = await PairSet.open(pairs);
    try {
      return await opened.record(0);
    } finally {
      await opened.close();
    }
  };
  expect(await read()).toMatchObject({ confidence: 0.5, group: 'g' });
  for (const [before, after] of [
    ['"confidence":0.5', '"confidence":"5"'],
    ['"group":"g"', '"group":[1]'],
    ['"places":[0,1]', '"places":"0,1"'],
    ['{"prompt"', '["prompt"'],
    ['"prompt":"p"', '"prompt":123'],
  ] as const) {
    writeFileSync(shard, right.replace(before, after), 'latin1');
    expect(await outcome(read), after).toMatchObject({ code: 3, message: expect.stringContaining(shard) });
  }
});

test('encoded.json and its sidecars', async () => {
  const key = { vae: 'v', text_encoders: 't', size: 8, t5_length: 0, clip_length: 77 };
  const folder = folderOf(set, { ...key, dtype: 'fp32' });
  mkdirSync(folder, { recursive: true });
  const right = {
    format: 'drm-encoded',
    version: 1,
    model: 'tiny',
    ...key,
    dtype: 'fp32',
    images: 1,
    prompts: 1,
    bad: {},
    latents_files: ['latents-00000'],
    prompts_files: ['prompts-00000'],
  };
  const sidecar = { rows: ['a'], bad: {} };
  const write = () => {
    writeFileSync(join(folder, 'encoded.json'), JSON.stringify(right));
    for (const name of ['latents-00000', 'prompts-00000'])
      writeFileSync(join(folder, `${name}.json`), JSON.stringify(sidecar));
  };
  write();
  expect(openEncoded(set, key)?.latents[0]?.ids).toEqual(['a']);
  const passing = [
    'model',
    'dtype',
    'size',
    't5_length',
    'clip_length',
    'vae',
    'text_encoders',
    'images',
    'prompts',
    'bad',
    'latents_files',
    'prompts_files',
  ];
  await refused(
    join(folder, 'encoded.json'),
    right,
    () => openEncoded(set, key),
    passing.filter((name) => !/files$/.test(name)).concat('latents_files', 'prompts_files'),
  );
  write();
  for (const name of ['latents-00000', 'prompts-00000']) {
    await refused(join(folder, `${name}.json`), sidecar, () => openEncoded(set, key), ['rows', 'bad']);
    write();
  }
  writeFileSync(join(folder, 'encoded.json'), JSON.stringify({ ...right, latents_files: ['../../x'] }));
  expect(() => openEncoded(set, key)).toThrow('latents_files[0]: expected the name of a file');
});

test('an index of staged images: what is no line of it, and all after, is copied again', async () => {
  for (const line of [
    ...ODD,
    '["b", "3", 2]',
    '["b", 3]',
    '["b", 3, -2]',
    '["b", 1, 2]',
    '["b", 3, null]',
    '[5, 3, 2]',
  ]) {
    const folder = write(temporaryFolder(), { pictures: 'abcde', 'index.jsonl': `["a",0,3]\n${line}\n["c",3,2]\n` });
    const staged = await StagedImages.open(folder);
    for (const name of ['a', 'b', 'c']) staged.want(name);
    expect(
      ['a', 'b', 'c'].map((name) => staged.isMissing(name)),
      line,
    ).toEqual([false, true, true]);
    await staged.put('b', Buffer.from('xy'));
    await staged.sync();
    expect([String(await staged.read('a')), String(await staged.read('b'))]).toEqual(['abc', 'xy']);
    await staged.close();
  }
});

const run = {
  task: 'train',
  drm: '0.1.0',
  created: '2026-01-01T00:00:00.000Z',
  settings: { seed: 1 },
  settings_hash: 'x',
  resumed: [{ time: '2026-01-01T00:00:00.000Z', step: 1, drm: '0.1.0', settings_hash: 'y', changed: { lr: [1, 2] } }],
};

test('a run’s config.json', async () => {
  const folder = temporaryFolder();
  await refused(join(folder, 'config.json'), run, () => readRunConfig(folder), [
    'task',
    'drm',
    'created',
    'settings',
    'settings_hash',
    'resumed',
  ]);
  for (const [key, odd] of [
    ['settings', null],
    ['settings', []],
    ['resumed', [null]],
    ['resumed', {}],
    ['task', null],
  ] as const) {
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...run, [key]: odd }));
    await expect(readRunConfig(folder), key).rejects.toMatchObject({ code: 'BAD_FILE' });
  }
});

test('a checkpoint’s seal', async () => {
  const folder = temporaryFolder();
  for (const text of ODD) {
    writeFileSync(join(folder, 'checkpoint.json'), text);
    expect(await outcome(() => openCheckpoint(folder)), text).toMatchObject({
      code: 3,
      message: expect.stringContaining('checkpoint.json'),
    });
  }
});

test('metrics named like what every object has are figures like others, on the page and in the table', async () => {
  const folder = temporaryFolder();
  const event = (step: number, values: object) =>
    JSON.stringify({ event: 'metric', step, total: 2, seconds: step, values, time: step });
  const odd = { toString: 1, constructor: 2, __proto__: 3, hasOwnProperty: 4, 'valueOf/1': 5, toString_t0_500: 0.5 };
  const text = JSON.stringify(odd).replace('{', '{"__proto__":3,');
  for (const [name, lines] of [
    [
      'a',
      [
        event(1, { loss: 1 }),
        event(2, { loss: 2 }).replace('{"loss":2}', text),
        '{"event":"evaluation","step":2,"values":{"toString":7,"__proto__":8},"time":2}',
      ],
    ],
    [
      'b',
      [
        event(1, { loss: 1 }),
        'null',
        '5',
        '{"event":"metric"}',
        '{"event":"evaluation","step":1,"values":{"loss":1},"time":2}',
      ],
    ],
  ] as const) {
    const at = join(folder, name, 'config.json');
    mkdirSync(dirname(at));
    writeFileSync(at, JSON.stringify({ ...run, settings: name === 'a' ? { seed: 1, toString: 'x' } : { seed: 2 } }));
    writeFileSync(join(folder, name, 'metrics.jsonl'), `${lines.join('\n')}\n`);
  }
  const runs = await readRuns([join(folder, 'a'), join(folder, 'b')]);
  const [first, second] = runs.map(summaryOf);
  expect(Object.entries(first?.evaluation ?? {})).toEqual([
    ['toString', 7],
    ['__proto__', 8],
  ]);
  expect(Object.entries(first?.training ?? {})).toEqual(
    expect.arrayContaining([
      ['toString', 1],
      ['constructor', 2],
      ['__proto__', 3],
    ]),
  );
  expect(Object.entries(second?.training ?? {})).toEqual([['loss', 1]]);
  expect(summaryText(runs)).toMatch(/held-out toString/);
  expect(await pageOf(runs, groupsOf(runs))).toContain('ToString');
});
