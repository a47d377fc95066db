// Lists, JSON and prompts as users hand them over, and JSON that drm itself left on disk: whatever the bytes, what is read is
// of the type that it says, or the file is named.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { hashOfFile } from '../../cli/common/files.js';
import { parseJson } from '../../cli/common/json.js';
import { resolveConfig } from '../../cli/config/resolve.js';
import { Drop } from '../../cli/data/io/drop.js';
import { recordsOf, survey } from '../../cli/data/io/jsonl.js';
import { readManifest } from '../../cli/data/prepared/manifest.js';
import type { Source } from '../../cli/data/prepared/source.js';
import { hpdv2Source } from '../../cli/data/sets/hpdv2.js';
import { hpdv3Source } from '../../cli/data/sets/hpdv3.js';
import { imagerewardSource } from '../../cli/data/sets/imagereward.js';
import { StagedImages } from '../../cli/data/sets/staged_images.js';
import { userSource } from '../../cli/data/sets/user_source.js';
import { readJudgedList } from '../../cli/eval/judged_lists.js';
import { readListJobs } from '../../cli/eval/list_jobs.js';
import { judgeScores, readScores } from '../../cli/eval/score_file.js';
import { groupsOf } from '../../cli/report/groups.js';
import { pageOf } from '../../cli/report/page.js';
import { readRuns } from '../../cli/report/read.js';
import { summaryText } from '../../cli/report/summary.js';
import { clipTokenizerJson } from '../../cli/text/clip_files.js';
import { readPrompts } from '../../cli/text/prompts.js';
import { repository } from '../bench/common.js';
import { type FuzzTarget, scratch } from './driver.js';

const samples = join(repository, 'test/samples');

/** Files below a folder whose names end so, in order. */
const seeds =
  (folder: string, ending: RegExp): (() => Uint8Array[]) =>
  () =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => ending.test(name))
      .sort()
      .map((name) => readFileSync(join(folder, name)));

const texts = (...all: string[]) => all.map((text) => Buffer.from(text));

/** The input as a file of this name, alone in a folder or beside what an earlier input left there. */
function placed(name: string, input: Uint8Array): string {
  const file = join(scratch(), name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, input);
  return file;
}

/** Lists a source without making images; what it plans must be of a split, what it says of itself must be JSON. */
async function listAll(source: Source): Promise<void> {
  const listing = {
    isDone: () => true,
    most: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    onProgress: () => {},
  };
  for await (const record of source.records(listing))
    if (!(record instanceof Drop) && !/^[\w-]+$/.test(record.split)) throw new Error(`split ${record.split}`);
  JSON.stringify(source.settings);
  await source.close?.();
}

const common = (from: string) => ({
  from,
  split: 'all',
  size: undefined,
  selfContained: false,
  keepTies: true,
  images: dirname(from),
  rewrite: [] as [string, string][],
  work: join(scratch(), 'work'),
});

const words = [
  'NaN',
  '-Infinity',
  'null',
  'true',
  '"tie"',
  '"confidence"',
  '"__proto__"',
  '"toString"',
  '\ufeff',
  '[[',
  '}{',
  '\\"',
  '1e999',
  '"\\ud800"',
  '0.5',
  '],[',
];

const lists = seeds(samples, /^(?!.*(IMAGES|EXPECTED|EVAL)).*\.(json|jsonl)$/);

export const targets: FuzzTarget[] = [
  {
    name: 'json',
    seeds: lists,
    run(input) {
      try {
        JSON.stringify(parseJson(Buffer.from(input).toString('latin1')));
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
      }
    },
    words,
  },
  {
    name: 'user-list',
    seeds: lists,
    async run(input) {
      const file = placed('lists/user.jsonl', input);
      await survey(file);
      for await (const { record } of recordsOf(file)) JSON.stringify(record);
      await listAll(
        await userSource(file, { size: undefined, holdOut: 10 }, { ...common(file), holdOut: 10, minConfidence: 0.5 }),
      );
    },
    words,
  },
  {
    name: 'published-lists',
    seeds: lists,
    async run(input) {
      const file = placed('sets/train.json', input);
      placed('sets/test.json', input);
      await hashOfFile(file);
      const options = { ...common(dirname(file)), images: dirname(file) };
      const errors: unknown[] = [];
      for (const open of [
        () => hpdv3Source({ ...options, minConfidence: 0.95, list: undefined, mix: [], sample: undefined, seed: 0 }),
        () => hpdv2Source(options),
        () => imagerewardSource({ ...options, from: file }),
      ])
        await open()
          .then(listAll)
          .catch((error: unknown) => errors.push(error));
      for (const error of errors) if (!(error instanceof DrmError)) throw error;
    },
    words,
  },
  {
    name: 'prompts',
    seeds: () => [
      ...seeds(samples, /\.(jsonl?|txt)$/i)(),
      ...texts('["a", "b"]', '[neon] a cat\n{"a"}\n', '{"prompt": "a", "seed": null}\n'),
    ],
    run(input) {
      for (const name of ['prompts.txt', 'prompts.json']) {
        const file = placed(`prompts/${name}`, input);
        try {
          const { prompts, blank } = readPrompts(file);
          if (prompts.length === 0 || blank < 0 || prompts.some(({ prompt }) => typeof prompt !== 'string'))
            throw new Error('no prompts');
        } catch (error) {
          if (!(error instanceof DrmError)) throw error;
        }
      }
    },
    words,
  },
  {
    name: 'images-to-score',
    seeds: () => [
      ...lists(),
      ...texts(
        '[{"prompt": "a", "images": ["a.png", "b.png"]}]',
        '{"prompt": "a", "image": "a.png"}\n{"prompt": "b", "chosen": "a", "rejected": "b"}',
      ),
    ],
    run(input) {
      for (const { names, paths } of readListJobs(placed('score/jobs.jsonl', input)))
        if (names.length === 0 || names.length !== paths.length) throw new Error('names and paths differ');
    },
    words,
  },
  {
    name: 'score-file',
    seeds: () => [readFileSync(join(samples, 'EVAL.json')), ...texts('[[1, null], [NaN, 2]]', '{"scores": [[1, 2]]}')],
    async run(input) {
      const file = placed('scores/scores.json', input);
      for (const from of [samples, join(samples, 'hpdv3/test.json')]) {
        try {
          for (const entry of readScores(file, from)) {
            const { figures } = await judgeScores(entry, {});
            for (const { correct, of } of figures)
              if (!(correct <= of + 1e-9)) throw new Error(`${correct} of ${of} right`);
          }
        } catch (error) {
          if (!(error instanceof DrmError)) throw error;
        }
      }
    },
    words: [...words, '"scores_test"', '"hpdv2_test"'],
  },
  {
    name: 'judged-list',
    seeds: lists,
    async run(input) {
      const list = await readJudgedList([placed('judged/test.json', input)]);
      for (const record of list.records)
        if ('ranks' in record && (record.ranks.length !== record.images.length || !record.ranks.every(Number.isFinite)))
          throw new Error('ranks of other images');
    },
    words,
  },
  {
    name: 'config',
    seeds: seeds(join(repository, 'configs/grpo'), /\.json$/),
    run(input) {
      // Of a file that `extends` one of drm's own.
      const { values } = resolveConfig('grpo', { file: placed('configs/own.json', input) });
      if (!Number.isInteger(values.k)) throw new Error(`k ${values.k}`);
    },
    words: [...words, '"extends": "own.json"', '"k"', '"seed": -1'],
  },
  {
    name: 'manifest',
    seeds: () => [
      Buffer.from(
        JSON.stringify({
          ...{
            format: 'drm-data',
            version: 1,
            kind: 'pairs',
            tool: 'drm',
            settings: {},
            records: 2,
            kept: 2,
            dropped: { tie: 1 },
          },
          ...{ sources: [{ name: 'a', kept: 2 }], splits: { train: 2 }, images: { train: 4 } },
          shards: [{ name: 'train-00000.tar', split: 'train', count: 2, bytes: 1e5, sha256: '0'.repeat(64) }],
        }),
      ),
    ],
    run(input) {
      const { shards, splits } = readManifest(dirname(placed('set/manifest.json', input)));
      for (const { name, split, count, bytes } of shards)
        if (name !== basename(name) || !Object.hasOwn(splits, split) || count * 1024 > bytes)
          throw new Error(`shard ${name}`);
    },
    words: [...words, '"splits"', '"../a.tar"', '"count"'],
  },
  {
    name: 'staged-images',
    seeds: () => texts('["a",0,3]\n["b",3,2]\n["c",5,20]\n'),
    async run(input) {
      const folder = dirname(placed('staged/index.jsonl', input));
      writeFileSync(join(folder, 'pictures'), Buffer.alloc(30));
      const staged = await StagedImages.open(folder);
      staged.want('a');
      await staged.put('a', Buffer.from('abc'));
      await staged.sync();
      if ((await staged.read('a')) instanceof Drop) throw new Error('what was put is not there');
      await staged.close();
    },
    words,
  },
  {
    name: 'run-folder',
    seeds: () => [
      Buffer.from(
        [
          {
            task: 'grpo',
            drm: '0',
            created: '2026-01-01',
            settings: { algorithm: 'step', k: 2, seed: 1 },
            settings_hash: '',
            resumed: [{ time: '2026-01-02', step: 1, drm: '0', settings_hash: '', changed: { lr: [1, 2] } }],
          },
          { event: 'started', steps: 3, facts: { processes: 2 }, time: 1 },
          {
            event: 'metric',
            step: 1,
            total: 3,
            seconds: 1,
            values: { reward: 1, 'reward/3': 2, accuracy_t0_500: 0.5 },
            time: 2,
          },
          { event: 'metric', step: 2, total: 3, seconds: 2, values: { reward: null }, time: 3 },
          { event: 'evaluation', step: 2, values: { reward: 1, judge: 2 }, time: 3 },
          { event: 'warning', message: 'a 5', time: 3 },
          { event: 'error', message: 'b', code: 'DISK', time: 4 },
        ]
          .map((line) => JSON.stringify(line))
          .join('\n'),
      ),
    ],
    async run(input) {
      const lines = Buffer.from(input).toString('latin1').split('\n');
      const folder = dirname(placed('run/config.json', Buffer.from(lines.shift() ?? '', 'latin1')));
      placed('run/metrics.jsonl', Buffer.from(`${lines.join('\n')}\n`, 'latin1'));
      const runs = await readRuns([folder]);
      summaryText(runs);
      await pageOf(runs, groupsOf(runs));
    },
    words: [...words, '"toString"', '"__proto__":1', '1e300', '"values"'],
  },
  {
    name: 'clip-tokenizer-files',
    seeds: () =>
      texts(
        '{"eos_token": {"content": "<|endoftext|>", "lstrip": false}, "bos_token": "<|startoftext|>"}',
        '{"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2}',
      ),
    run(input) {
      for (const [name, other, right] of [
        ['special_tokens_map.json', 'vocab.json', '{"<|startoftext|>": 0, "<|endoftext|>": 1}'],
        ['vocab.json', 'special_tokens_map.json', '{}'],
      ] as const) {
        const folder = dirname(placed(`clip/${name}`, input));
        placed(`clip/${other}`, Buffer.from(right));
        placed('clip/merges.txt', Buffer.from('a b\n'));
        try {
          JSON.parse(clipTokenizerJson(folder));
        } catch (error) {
          if (!(error instanceof DrmError)) throw error;
        }
      }
    },
    words,
  },
];
