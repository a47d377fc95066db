// Pick-a-Pic's shards with other column types than the published ones: labels, and images in the hub's Image struct.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { SchemaElement } from 'hyparquet';
import { fileWriter, parquetWrite } from 'hyparquet-writer';
import { beforeAll, describe, expect, test } from 'vitest';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import type { PairSetOptions } from '../../../cli/data/sets/listed.js';
import { PickapicImages, pickapicSource } from '../../../cli/data/sets/pickapic.js';
import { readJudgedList } from '../../../cli/eval/judged_lists.js';
import { judgeScores } from '../../../cli/eval/score_file.js';
import { repository, temporaryFolder } from '../../run_drm.js';
import { pngOf, write } from '../images.js';

const cases = join(repository, 'test/samples/cases');

const options = (from: string, keepTies = false): PairSetOptions => ({
  from,
  split: 'all',
  size: undefined,
  selfContained: false,
  keepTies,
  images: undefined,
  rewrite: [],
  work: join(temporaryFolder(), 'work'),
});

async function made(from: string, keepTies = false) {
  const out = join(temporaryFolder(), 'set');
  const { manifest } = await prepare(await pickapicSource(options(from, keepTies)), out, {
    limits: { bytes: 1e9, samples: Number.POSITIVE_INFINITY },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  const set = await PairSet.open(out);
  const pairs = await Promise.all(
    Array.from({ length: set.length }, async (_, i) => {
      const { row, tie, places, chosen } = await set.record(i);
      return { row, tie, places, chosen: Buffer.from(await set.image(chosen)) };
    }),
  );
  await set.close();
  return { manifest, pairs };
}

let png: Buffer[];
beforeAll(async () => {
  png = await Promise.all(Array.from({ length: 8 }, (_, i) => pngOf(i)));
});

type Column = { name: string; type?: string; values: unknown[]; schema?: Partial<SchemaElement>[] };

/** A shard whose columns beside the captions and uids are these. */
async function shard(...columns: Column[]): Promise<string> {
  const folder = temporaryFolder();
  const rows = columns[0]?.values.length ?? 0;
  const each = (name: (row: number) => string) => Array.from({ length: rows }, (_, row) => name(row));
  const text = (name: string, values: string[]): Column => ({
    name,
    values,
    schema: [{ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }],
  });
  const all = [
    text(
      'caption',
      each((row) => `prompt ${row}`),
    ),
    ...[0, 1].map((side) =>
      text(
        `image_${side}_uid`,
        each((row) => `u${2 * row + side}`),
      ),
    ),
    ...columns,
  ];
  const schemas = all.map(({ name, type, schema }) => schema ?? [{ name, type, repetition_type: 'OPTIONAL' }]);
  await parquetWrite({
    writer: fileWriter(join(folder, 'test-00000-of-00001.parquet')),
    columnData: all.map(({ name, values }) => ({ name, data: values })) as never,
    schema: [
      { name: 'root', num_children: all.length, repetition_type: 'REQUIRED' },
      ...schemas.flat(),
    ] as SchemaElement[],
  });
  return folder;
}

const images = (rows: number): Column[] =>
  [0, 1].map((side) => ({
    name: `jpg_${side}`,
    type: 'BYTE_ARRAY',
    values: Array.from({ length: rows }, (_, row) => png[(2 * row + side) % 8]),
  }));

const int = (name: string, type: string, converted_type?: string): Partial<SchemaElement>[] => [
  { name, type, repetition_type: 'OPTIONAL', ...(converted_type && { converted_type }) } as Partial<SchemaElement>,
];

/** What people said of rows 0 to 4: image 0, image 1, image 0, nothing, image 1. */
const decided = [
  { row: 0, places: [0, 1] },
  { row: 1, places: [1, 0] },
  { row: 2, places: [0, 1] },
  { row: 4, places: [1, 0] },
];
const whole = [1, 0, 1, null, 0];
const big = whole.map((label) => (label === null ? null : BigInt(label)));
const words = (one: string, zero: string) => whole.map((label) => (label === null ? null : label === 1 ? one : zero));
const utf8 = (name: string) =>
  [{ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }] as Partial<SchemaElement>[];

describe('pickapic-labels: labels mean their value whatever their type', () => {
  test('the samples', async () => {
    const [float, int64] = [
      await made(join(cases, 'pickapic-labels/float-ok')),
      await made(join(cases, 'pickapic-labels/int64')),
    ];
    expect(int64.pairs).toEqual(float.pairs);
    expect(int64.pairs).toHaveLength(5);
    expect([float.manifest.dropped, int64.manifest.dropped]).toEqual([{ tie: 1 }, { no_label: 1 }]);
  });

  const columns: [string, Column][] = [
    ['DOUBLE', { name: 'label_0', values: [1, 0, 1, null, 0], type: 'DOUBLE' }],
    ['DOUBLE with NaN for none', { name: 'label_0', values: [1, 0, 1, Number.NaN, 0], type: 'DOUBLE' }],
    ['FLOAT', { name: 'label_0', values: whole, type: 'FLOAT' }],
    ['INT32', { name: 'label_0', values: whole, type: 'INT32' }],
    ['INT64', { name: 'label_0', values: big, type: 'INT64' }],
    ['int8', { name: 'label_0', values: whole, schema: int('label_0', 'INT32', 'INT_8') }],
    ['uint8', { name: 'label_0', values: whole, schema: int('label_0', 'INT32', 'UINT_8') }],
    ['uint64', { name: 'label_0', values: big, schema: int('label_0', 'INT64', 'UINT_64') }],
    [
      'BOOLEAN',
      { name: 'label_0', values: whole.map((label) => (label === null ? null : label === 1)), type: 'BOOLEAN' },
    ],
    ['text', { name: 'label_0', values: words('1', '0'), schema: utf8('label_0') }],
    ['text of floats', { name: 'label_0', values: words('1.0', '0.0'), schema: utf8('label_0') }],
    [
      'text of flags, "nan" for none',
      { name: 'label_0', values: words('True', 'False').map((word) => word ?? 'nan'), schema: utf8('label_0') },
    ],
    [
      'bytes that do not say they are text',
      { name: 'label_0', values: words('1', '0').map((word) => word && Buffer.from(word)), type: 'BYTE_ARRAY' },
    ],
  ];
  test.each(columns)('%s, prepared and judged alike', async (_, column) => {
    const folder = await shard(column, ...images(5));
    const { manifest, pairs } = await made(folder);
    expect(pairs.map(({ row, places }) => ({ row, places }))).toEqual(decided);
    for (const { row = 0, places, chosen } of pairs)
      expect(chosen.equals(png[(2 * row + (places?.[0] ?? 0)) % 8] as Buffer)).toBe(true);
    expect(manifest.dropped).toEqual({ no_label: 1 });
    const list = [join(folder, 'test-00000-of-00001.parquet')];
    const { figures } = await judgeScores(
      { name: 'it', list, scores: Array(5).fill([1, 0]) },
      { protocols: ['strict'] },
    );
    expect(figures).toMatchObject([{ correct: 2, of: 4, tied: 0, failed: 0 }]);
  });

  const flags: [string, unknown[], string | undefined][] = [
    ['bool', [true, false, null], 'BOOLEAN'],
    ['int32', [1, 0, null], 'INT32'],
    ['int64', [1n, 0n, null], 'INT64'],
    ['double', [1, 0, Number.NaN], 'DOUBLE'],
    ['text', ['true', 'False', null], undefined],
  ];
  test.each(flags)('has_label as %s; what it does not say, the label says', async (_, values, type) => {
    const has_label = { name: 'has_label', values, ...(type ? { type } : { schema: utf8('has_label') }) };
    const folder = await shard({ name: 'label_0', values: [1, 1, 0], type: 'DOUBLE' }, has_label, ...images(3));
    const { manifest, pairs } = await made(folder);
    expect([pairs.map(({ row }) => row), manifest.dropped]).toEqual([[0, 2], { no_label: 1 }]);
    const list = await readJudgedList([join(folder, 'test-00000-of-00001.parquet')]);
    expect(list.records.map((record) => 'label' in record && record.label)).toEqual([1, undefined, 0]);
  });

  test('fractions are ties, in both; what is no share is no label, and said', async () => {
    const folder = await shard({ name: 'label_0', values: [1, 0.5, 0.3, 2, -1, 0], type: 'DOUBLE' }, ...images(6));
    const { manifest, pairs } = await made(folder, true);
    expect(manifest.dropped).toEqual({ bad_record: 2 });
    expect(pairs.map(({ row, tie }) => [row, tie === true])).toEqual([
      [0, false],
      [1, true],
      [2, true],
      [5, false],
    ]);
    const list = [join(folder, 'test-00000-of-00001.parquet')];
    const judged = await judgeScores({ name: 'it', list, scores: Array(6).fill([1, 0]) }, { protocols: ['strict'] });
    expect(judged.figures).toMatchObject([{ correct: 1, of: 2, tied: 2 }]);
    expect(judged.notes.join()).toContain('2 rows without a label');
  });
});

type HubImage = { bytes: Buffer | null; path: string | null } | null;

const struct = (
  name: string,
  values: HubImage[],
  optional: readonly [struct: boolean, bytes: boolean, path: boolean] = [true, true, true],
  swapped = false,
): Column => {
  const repeated = (is: boolean) => ({ repetition_type: is ? 'OPTIONAL' : 'REQUIRED' }) as const;
  const fields: Partial<SchemaElement>[] = [
    { name: 'bytes', type: 'BYTE_ARRAY', ...repeated(optional[1]) },
    { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', ...repeated(optional[2]) },
  ];
  return {
    name,
    values,
    schema: [{ name, num_children: 2, ...repeated(optional[0]) }, ...(swapped ? fields.reverse() : fields)],
  };
};

describe('pickapic-image-struct: images in {bytes, path}', () => {
  test('the sample', async () => {
    const { manifest, pairs } = await made(join(cases, 'pickapic-image-struct'));
    const plain = await made(join(cases, 'pickapic-labels/float-ok'));
    expect(pairs).toEqual(plain.pairs); // the same images in plain columns
    expect(manifest.dropped).toEqual({ tie: 1 });
  });

  test('null at any level, and files beside the shard', async () => {
    const image = (i: number): HubImage => ({ bytes: png[i] as Buffer, path: `${i}.png` });
    const elsewhere = join(temporaryFolder(), 'secret.png');
    writeFileSync(elsewhere, png[2] as Buffer);
    const zero: HubImage[] = [
      image(0),
      null,
      { bytes: null, path: null },
      { bytes: null, path: 'beside/4.png' },
      { bytes: null, path: 'gone.png' },
      { bytes: null, path: elsewhere },
      { bytes: null, path: `../${basename(dirname(elsewhere))}/secret.png` },
    ];
    const one: HubImage[] = zero.map(() => image(1));
    const folder = await shard(
      { name: 'label_0', values: zero.map(() => 1), type: 'DOUBLE' },
      struct('jpg_0', zero),
      struct('jpg_1', one),
    );
    write(folder, { 'beside/4.png': png[4] as Buffer });
    const { manifest, pairs } = await made(folder);
    expect(pairs.map(({ row }) => row)).toEqual([0, 3]);
    expect(pairs.map(({ chosen }) => chosen.equals(png[0] as Buffer) || chosen.equals(png[4] as Buffer))).toEqual([
      true,
      true,
    ]);
    expect(manifest.dropped).toEqual({ missing_image: 5 }); // files outside its folder are not its images
  });

  test.each([[[false, false, false]], [[true, false, false]], [[false, true, true]], [[true, true, false]]] as const)(
    'required parts (struct, bytes, path optional: %j), fields in either order',
    async (optional) => {
      for (const swapped of [false, true]) {
        const of = (side: number) =>
          struct(
            `jpg_${side}`,
            [0, 1, 2].map((row) => ({ bytes: png[2 * row + side] as Buffer, path: 'x' })),
            optional,
            swapped,
          );
        const { pairs } = await made(await shard({ name: 'label_0', values: [1, 0, 1], type: 'DOUBLE' }, of(0), of(1)));
        expect(pairs.map(({ chosen }) => png.findIndex((one) => one.equals(chosen)))).toEqual([0, 3, 4]);
      }
    },
  );

  test('images of a mixed list come out of such shards, too', async () => {
    const all = [0, 2].map((i): HubImage => ({ bytes: png[i] as Buffer, path: null }));
    const folder = await shard(
      { name: 'label_0', values: [1, 0], type: 'DOUBLE' },
      struct('jpg_0', all),
      struct('jpg_1', all),
    );
    const found = PickapicImages.in(folder, join(temporaryFolder(), 'work'));
    await found?.stage(['u2.jpg'], {
      isDone: () => false,
      most: 9,
      signal: new AbortController().signal,
      onProgress: () => {},
    });
    expect((await found?.read('u2.jpg')) as Buffer).toEqual(png[2]);
    await found?.close();
  });

  test('other structs are named', async () => {
    const odd: Column = {
      name: 'jpg_0',
      values: [{ data: png[0] }],
      schema: [
        { name: 'jpg_0', num_children: 1, repetition_type: 'OPTIONAL' },
        { name: 'data', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      ],
    };
    const folder = await shard({ name: 'label_0', values: [1], type: 'DOUBLE' }, odd, ...images(1).slice(1));
    await expect(made(folder)).rejects.toThrow(
      /jpg_0: expected images as bytes, or as a struct of bytes and path, found one of data/,
    );
  });

  test('the sample is a struct indeed', () =>
    expect(readFileSync(join(cases, 'pickapic-image-struct/train-00000-of-00001.parquet')).includes('path')).toBe(
      true,
    ));
});
