// Records as the field writes them: the files of test/samples/cases, and others of their kinds. In process: what a source
// lists and what becomes of it, without a command line.
import { cpSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileWriter, parquetWrite } from 'hyparquet-writer';
import { beforeAll, describe, expect, test } from 'vitest';
import { CaptionedSet } from '../../../cli/data/prepared/captioned_set.js';
import type { Manifest } from '../../../cli/data/prepared/manifest.js';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import type { Source } from '../../../cli/data/prepared/source.js';
import { hpdv2Source } from '../../../cli/data/sets/hpdv2.js';
import { hpdv3Source } from '../../../cli/data/sets/hpdv3.js';
import { imagerewardSource } from '../../../cli/data/sets/imagereward.js';
import { userSource } from '../../../cli/data/sets/user_source.js';
import { webdatasetSource } from '../../../cli/data/sets/webdataset.js';
import { repository, temporaryFolder } from '../../run_drm.js';
import { pngOf, tarOf, write } from '../images.js';

const cases = join(repository, 'test/samples/cases');

async function made(source: Source): Promise<{ manifest: Manifest; out: string; drops: string[] }> {
  const out = join(temporaryFolder(), 'set');
  const drops: string[] = [];
  const { manifest } = await prepare(source, out, {
    limits: { bytes: 1e9, samples: Number.POSITIVE_INFINITY },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: ({ reason, detail }) => drops.push(`${reason}: ${detail}`),
  });
  return { manifest, out, drops };
}

const common = (keepTies = false) => ({
  split: 'all',
  size: undefined,
  selfContained: false,
  keepTies,
  images: undefined,
  rewrite: [] as [string, string][],
  work: join(temporaryFolder(), 'work'),
});

const user = async (from: string, keepTies = false) =>
  made(
    await userSource(
      from,
      { size: undefined, holdOut: 0 },
      { ...common(keepTies), holdOut: 0, minConfidence: undefined },
    ),
  );

const hpdv3 = async (from: string, minConfidence = 0.95) =>
  made(await hpdv3Source({ ...common(), from, minConfidence, list: undefined, mix: [], sample: undefined, seed: 0 }));

async function pairsOf(out: string) {
  const set = await PairSet.open(out);
  const pairs = await Promise.all(Array.from({ length: set.length }, (_, i) => set.record(i)));
  const named = pairs.map((pair) => ({
    ...pair,
    chosen: set.imageId(pair.chosen),
    rejected: set.imageId(pair.rejected),
  }));
  await set.close();
  return named;
}

let images: Record<string, Buffer>;
beforeAll(async () => {
  images = Object.fromEntries(await Promise.all([0, 1, 2].map(async (i) => [`${i}.png`, await pngOf(i)] as const)));
});

const listed = (content: string | Uint8Array, name = 'list.jsonl') =>
  join(write(temporaryFolder(), { ...images, [name]: content }), name);
const pair = (more: object = {}) => ({ prompt: 'x', chosen: '0.png', rejected: '1.png', ...more });

describe('pair-flags: ties and numbers mean what they say, or their record is bad', () => {
  test('the sample', async () => {
    const { manifest } = await user(join(cases, 'pair-flags/tie.jsonl'));
    expect([manifest.kept, manifest.dropped]).toEqual([2, { tie: 3 }]);
    const { manifest: kept, out } = await user(join(cases, 'pair-flags/tie.jsonl'), true);
    expect(kept.kept).toBe(5);
    expect((await pairsOf(out)).map(({ tie }) => tie === true)).toEqual([true, true, true, false, false]);
  });
  test('no form of "yes" is a preference, no nonsense either', async () => {
    const records = [
      ...[true, 1, 'true', 'True', '1', 1.0, 'yes'].map((tie) => pair({ tie })),
      ...[false, 0, 'false', '0', null, '', 'no'].map((tie) => pair({ tie })),
      ...['maybe', 2, 0.5, [], {}, 'none'].map((tie) => pair({ tie })),
    ];
    const { manifest, drops } = await user(listed(JSON.stringify(records), 'list.json'));
    expect([manifest.kept, manifest.dropped]).toEqual([7, { bad_record: 6, tie: 7 }]);
    expect(drops).toContain('bad_record: list.json, record 14: tie is "maybe"');
  });
  test('confidences as text count, of users and of HPDv3', async () => {
    const { out, drops } = await user(
      listed(
        JSON.stringify([
          pair({ confidence: '0.9', grade: '2', group: 5 }),
          pair({ confidence: true }),
          pair({ confidence: 'high' }),
        ]),
      ),
    );
    expect(await pairsOf(out)).toMatchObject([{ confidence: 0.9, grade: 2, group: '5' }]);
    expect(drops).toHaveLength(2);
    const record = (more: object) => ({ prompt: 'p', path1: 'images/0.png', path2: 'images/1.png', ...more });
    const folder = write(temporaryFolder(), {
      'images/0.png': images['0.png'] as Buffer,
      'images/1.png': images['1.png'] as Buffer,
      'train.json': JSON.stringify([
        record({ confidence: '0.99', choice_dist: ['12', 7] }),
        record({ confidence: '0.5' }),
        record({ confidence: null, choice_dist: [null, 3] }),
        record({ confidence: 'very' }),
        record({ choice_dist: 'many' }),
        record({ choice_dist: [1, 2, 3] }),
      ]),
    });
    const three = await hpdv3(folder);
    expect(three.manifest.dropped).toEqual({ bad_record: 3, low_confidence: 1 });
    expect(await pairsOf(three.out)).toMatchObject([{ confidence: 0.99, votes: [12, 7] }, { prompt: 'p' }]);
    expect((await pairsOf(three.out))[1]).not.toHaveProperty('votes');
  });
  test('HPDv2: preferences and ranks by their value; a null rank is no best one', async () => {
    const names = ['0.png', '1.png', '2.png'];
    const train = [[1, 0], ['0', '1'], [true, false], [1, 1], [0.5, 0.5], [1, null], ['a', 'b'], 1];
    const test = [
      ['2', '1', '3'],
      [1, null, 2],
      [1, Number.NaN, 2],
      [true, false, true],
      [1, 2],
    ];
    const folder = write(temporaryFolder(), {
      ...Object.fromEntries(
        names.flatMap((name) => ['train', 'test'].map((split) => [`${split}/${name}`, images[name] as Buffer])),
      ),
      'train.json': JSON.stringify(
        train.map((human_preference) => ({ prompt: 'p', human_preference, file_path: names.slice(0, 2) })),
      ),
      'test.json': JSON.stringify(test.map((rank) => ({ prompt: 'p', image_path: names, rank }))).replace(
        'null',
        'NaN',
      ),
    });
    const { manifest, out } = await made(await hpdv2Source({ ...common(), from: folder }));
    expect(manifest.dropped).toEqual({ bad_record: 6, no_single_preference: 3 });
    const found = await pairsOf(out);
    expect(found.filter(({ split }) => split === 'train').map(({ chosen }) => chosen)).toEqual([
      '0.png',
      '1.png',
      '0.png',
    ]);
    expect(
      found.filter(({ split }) => split === 'test').map(({ chosen, rejected }) => `${chosen} ${rejected}`),
    ).toEqual(['1.png 0.png', '0.png 2.png', '1.png 2.png']);
  });
  test('ImageReward’s list: ranks as text count, null ones are none', async () => {
    const list = [
      ['1', 2],
      [1, null],
    ].map((ranking, id) => ({ id, prompt: 'p', generations: ['0.png', '1.png'], ranking }));
    const { manifest, out } = await made(
      await imagerewardSource({ ...common(), from: listed(JSON.stringify(list), 'test.json') }),
    );
    expect(manifest.dropped).toEqual({ bad_record: 1 });
    expect(await pairsOf(out)).toMatchObject([{ chosen: '0.png', ranks: [1, 2], group: '0' }]);
  });
});

test.each([
  ['INT64', [1n, 2n, 1n, null, 1n, 2n]],
  ['INT32', [1, 2, 1, null, 1, 2]],
  ['DOUBLE', [1, 2, 1, Number.NaN, 1, 2]],
  ['STRING', ['1', '2', '1', null, '1', '2']],
] as const)(
  'ImageReward’s metadata, ranks as %s: null is no rank, and rows without a prompt are of none',
  async (type, rank) => {
    const from = write(temporaryFolder(), {
      'images/0.png': images['0.png'] as Buffer,
      'images/1.png': images['1.png'] as Buffer,
    });
    const rows = rank.length;
    await parquetWrite({
      writer: fileWriter(join(from, 'metadata-test.parquet')),
      columnData: [
        { name: 'image_path', data: Array.from({ length: rows }, (_, i) => `images/${i % 2}.png`), type: 'STRING' },
        { name: 'prompt_id', data: ['a', 'a', 'b', 'b', null, null], type: 'STRING' },
        { name: 'prompt', data: ['p', 'p', 'q', 'q', 'r', 's'], type: 'STRING' },
        { name: 'rank', data: [...rank], type },
      ],
    });
    const { manifest, out } = await made(await imagerewardSource({ ...common(), from }));
    expect(manifest.dropped).toEqual({ bad_record: 3 });
    expect(await pairsOf(out)).toMatchObject([{ prompt: 'p', chosen: 'images/0.png', ranks: [1, 2], group: 'a' }]);
  },
);

describe('json-nan: what is not a number is not stated', () => {
  test('the samples', async () => {
    const three = await hpdv3(join(cases, 'json-nan/hpdv3'));
    expect([three.manifest.kept, three.manifest.dropped]).toEqual([2, {}]);
    expect((await pairsOf(three.out))[0]).not.toHaveProperty('confidence');
    const own = await user(join(cases, 'json-nan/pairs.jsonl'));
    expect([own.manifest.kept, own.manifest.dropped]).toEqual([2, {}]);
  });
  test('captions, in lines and sidecars of archives; the words within texts stay', async () => {
    const list =
      '{"image": "0.png", "caption": "NaN and Infinity, \\"-Infinity\\"", "score": NaN, "more": [-Infinity]}\n';
    const lines = await user(listed(list));
    const tar = join(
      write(temporaryFolder(), {
        'a.tar': tarOf([
          { name: 'a.png', bytes: images['0.png'] as Buffer },
          { name: 'a.json', bytes: list.trim() },
        ]),
      }),
      'a.tar',
    );
    const archive = await made(webdatasetSource(tar, { size: undefined, holdOut: 0 }));
    for (const { out } of [lines, archive]) {
      const set = await CaptionedSet.open(out);
      expect(await set.meta(0)).toMatchObject({ caption: 'NaN and Infinity, "-Infinity"', score: null, more: [null] });
      await set.close();
    }
  });
});

describe('jsonl-that-is-an-array: lists in any form', () => {
  test.each(['pairs.json', 'pairs_oneline.json'])('%s', async (name) => {
    const { manifest } = await user(join(cases, 'jsonl-that-is-an-array', name));
    expect([manifest.kept, manifest.dropped]).toEqual([2, {}]);
  });
  const records = [pair(), pair({ prompt: 'y [{"', chosen: '2.png' })];
  const forms: [string, string | Buffer][] = [
    ['lines', records.map((one) => JSON.stringify(one)).join('\n')],
    ['indented objects', records.map((one) => JSON.stringify(one, null, 2)).join('\n')],
    ['objects on one line', records.map((one) => JSON.stringify(one)).join(' ')],
    ['an array with a mark', `\ufeff${JSON.stringify(records, null, 1)}`],
    ['lines with a mark and Windows line ends', `\ufeff${records.map((one) => JSON.stringify(one)).join('\r\n')}\r\n`],
    ['an array of one line after blank ones', `\n\n ${JSON.stringify(records)}`],
  ];
  test.each(forms)('%s', async (_, text) => {
    for (const name of ['list.jsonl', 'list.json', 'list.txt']) {
      const { manifest, out } = await user(listed(text, name));
      expect([manifest.kept, manifest.dropped, manifest.sources[0]?.name]).toEqual([
        2,
        {},
        name.replace(/\.jsonl?$/, ''),
      ]);
      expect((await pairsOf(out)).map(({ prompt, row }) => [prompt, row])).toEqual([
        ['x', 0],
        ['y [{"', 1],
      ]);
    }
  });
  test('captions likewise; a bad line first spoils no other; a null pair is none', async () => {
    const caption = (more: object = {}) => ({ image: '0.png', caption: 'a', ...more });
    expect((await user(listed(JSON.stringify([caption(), caption()], null, 2)))).manifest.kept).toBe(2);
    const nulls = caption({ chosen: null, rejected: null, split: null, file_name: null });
    expect(
      (await user(listed(`{"image": "0.png", "caption": "a"\n${JSON.stringify(nulls)}\n{`))).manifest,
    ).toMatchObject({
      kept: 1,
      dropped: { bad_record: 2 },
    });
    expect(
      (await user(listed(`${JSON.stringify(caption())} // mine\n${JSON.stringify(caption())}`))).manifest.kept,
    ).toBe(1);
    expect((await user(listed(`[1]\n${JSON.stringify(caption())}`))).manifest).toMatchObject({
      kept: 1,
      dropped: { bad_record: 1 },
    });
  });
  test('what is none is named', async () => {
    await expect(user(listed(Buffer.from(`\ufeff${JSON.stringify(records)}`, 'utf16le')))).rejects.toThrow(
      /list\.jsonl: .*found UTF-16; save it as UTF-8/,
    );
    await expect(user(listed('[{"prompt": "x", "chosen": "0.png", "rejected": "1.png"}, {"prompt"'))).rejects.toThrow(
      /list\.jsonl, byte \d+: .*its end too early/,
    );
    await expect(user(listed('[{"prompt": "x", "chosen": "0.png",}]'))).rejects.toMatchObject({ code: 'BAD_FILE' });
    const utf16 = write(temporaryFolder(), { 'train.json': Buffer.from('[{}]', 'utf16le') });
    mkdirSync(join(utf16, 'images'));
    await expect(hpdv3(utf16)).rejects.toThrow(/UTF-16/);
  });
});

test('images of the published mixed lists, from any folder of their set', async () => {
  const samples = join(repository, 'test/samples');
  const around = temporaryFolder();
  cpSync(join(samples, 'imagerewarddb'), join(around, 'ImageRewardDB'), { recursive: true });
  const uids = (
    JSON.parse(readFileSync(join(samples, 'hpdv3/pickapic.json'), 'utf8')) as { path1: string; path2: string }[]
  ).flatMap(({ path1, path2 }) => [path1, path2]);
  write(around, Object.fromEntries(uids.map((name) => [`Pickapic/images/${name}`, images['0.png'] as Buffer])));
  const kept = async (list: string, images: string) => {
    const mix = [{ list: join(samples, 'hpdv3', list), images: join(around, images) }];
    const { manifest } = await made(
      await hpdv3Source({
        ...common(),
        from: join(samples, 'hpdv3'),
        split: 'train',
        minConfidence: 0.95,
        list: undefined,
        mix,
        sample: undefined,
        seed: 0,
      }),
    );
    return manifest.sources[1]?.kept;
  };
  for (const images of ['ImageRewardDB', '.', 'ImageRewardDB/images'])
    expect(await kept('imagereward.json', images), images).toBe(4);
  for (const images of ['Pickapic', '.', 'Pickapic/images'])
    expect(await kept('pickapic.json', images), images).toBe(uids.length / 2);
});

describe('sidecar-case: endings in any case', () => {
  test('the sample, and its other forms', async () => {
    const { manifest, out } = await user(join(cases, 'sidecar-case'));
    expect(manifest).toMatchObject({ kept: 1, dropped: {} });
    const set = await CaptionedSet.open(out);
    expect(set.caption(0)).toBe('a cat');
    await set.close();
    const folder = temporaryFolder();
    cpSync(join(cases, 'sidecar-case'), folder, { recursive: true });
    renameSync(join(folder, 'IMG.TXT'), join(folder, 'IMG.tXt'));
    expect((await user(folder)).manifest.kept).toBe(1);
  });
  test('several that differ by case alone: the one in small letters, whatever order the folder is in', async () => {
    const folder = write(temporaryFolder(), {
      'a.png': images['0.png'] as Buffer,
      'a.TXT': 'two',
      'a.txt': 'one',
      'a.Txt': 'three',
      'b.PNG': images['1.png'] as Buffer,
      'b.TXT': 'four',
      'b.Txt': 'five',
    });
    const { out } = await user(folder);
    const set = await CaptionedSet.open(out);
    expect([set.caption(0), set.caption(1)]).toEqual(['one', 'four']);
    await set.close();
  });
  test('a list beside images', async () => {
    const from = listed(
      readFileSync(join(cases, 'pair-flags/tie.jsonl'), 'utf8').replaceAll('.jpg', '.png'),
      'METADATA.JSONL',
    );
    expect((await user(join(from, '..'))).manifest.kept).toBe(2);
  });
});
