// Columns of byte arrays, in every way that they are written; see parquet/make.py.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileWriter, parquetWrite } from 'hyparquet-writer';
import { expect, test } from 'vitest';
import { ByteReader } from '../../../cli/data/io/byte_reader.js';
import { ParquetFile } from '../../../cli/data/io/parquet/file.js';
import { unsnappy } from '../../../cli/data/io/parquet/snappy.js';
import { repository, temporaryFolder } from '../../run_drm.js';

const folder = join(repository, 'test/data/io/parquet');
const contentOf = (row: number) => (row % 5 === 4 ? undefined : Buffer.alloc(9 * (row % 11) + (row % 3), row % 7));
const written = readdirSync(folder).filter((name) => /-v[12]-/.test(name));

async function readColumn(path: string, isWanted = (_: number) => true) {
  const file = await ParquetFile.open(path);
  const values = new Map<number, unknown>();
  let row = 0;
  try {
    for (let group = 0; group < file.groups.length; group++) {
      const column = file.binary(group, 'jpg');
      for (let at = 0; at < file.rows(group); at++, row++) if (isWanted(row)) values.set(row, await column.at(at));
      await column.close();
    }
  } finally {
    await file.close();
  }
  return values;
}

test('there is a file for every codec, page version and encoding', () => expect(written.length).toBe(24));

test.each(written)('%s', async (name) => {
  const all = await readColumn(join(folder, name));
  expect(all.size).toBe(60);
  for (const [row, value] of all) expect(value, `row ${row}`).toEqual(contentOf(row));
  const some = await readColumn(join(folder, name), (row) => row % 4 === 2);
  for (const [row, value] of some) expect(value, `row ${row} alone`).toEqual(contentOf(row));
});

test('required values, other columns, what cannot be read', async () => {
  expect([...(await readColumn(join(folder, 'required.parquet'))).values()]).toEqual([
    Buffer.from('a'),
    Buffer.from('bb'),
  ]);
  const file = await ParquetFile.open(join(folder, 'zstd-v2-dictionary.parquet'));
  expect((await file.read(1, ['row'])).map(({ row }) => Number(row))).toEqual(
    Array.from({ length: 25 }, (_, i) => 25 + i),
  );
  expect(() => file.expectColumns(['jpg', 'jpg_0'])).toThrow(/expected columns jpg_0, found row, jpg/);
  await file.close();
  await expect(readColumn(join(folder, 'delta.parquet'))).rejects.toThrow(/expected plain or dictionary encoding/);
  const here = temporaryFolder();
  const cut = readFileSync(join(folder, 'snappy-v1-plain.parquet'));
  writeFileSync(join(here, 'none.parquet'), cut.subarray(0, 1000));
  await expect(readColumn(join(here, 'none.parquet'))).rejects.toMatchObject({ code: 'BAD_FILE' });
});

test('spoilt bytes are an error or other values, never a crash or a hang', async () => {
  const here = temporaryFolder();
  let refused = 0;
  for (const [i, name] of ['snappy-v1-plain', 'snappy-v1-dictionary', 'gzip-v2-plain', 'zstd-v1-plain'].entries()) {
    const whole = readFileSync(join(folder, `${name}.parquet`));
    for (let round = 0; round < 60; round++) {
      const bytes = Buffer.from(whole);
      const at = (round * 7919 + i * 104729) % bytes.length;
      bytes[at] = (bytes[at] as number) ^ (1 << (round % 8));
      writeFileSync(join(here, 'spoilt.parquet'), bytes);
      const outcome = await readColumn(join(here, 'spoilt.parquet')).then(
        () => 'read',
        (error: Error & { code?: string }) => error.code ?? `${error.stack}`,
      );
      expect(['read', 'BAD_FILE']).toContain(outcome);
      if (outcome === 'BAD_FILE') refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(20);
}, 120_000);

test('a row group of one page, and a dictionary larger than memory is given to it, value by value', async () => {
  const path = join(temporaryFolder(), 'large.parquet');
  const large = (row: number) => Buffer.alloc(400_000, row % 150);
  for (const encoding of ['PLAIN', 'RLE_DICTIONARY'] as const) {
    await parquetWrite({
      writer: fileWriter(path),
      columnData: [
        { name: 'jpg', data: Array.from({ length: 300 }, (_, i) => large(i)), type: 'BYTE_ARRAY', encoding },
      ],
      pageSize: 2 ** 30,
      dictionarySize: 2 ** 30,
      rowGroupSize: 300,
      codec: 'UNCOMPRESSED',
    });
    const file = await ParquetFile.open(path);
    const column = file.binary(0, 'jpg');
    for (let row = 0; row < 300; row += 7)
      if (!large(row).equals((await column.at(row)) as Buffer)) throw new Error(`${encoding}: row ${row} is another`);
    await column.close();
    await file.close();
  }
});

test('Snappy: copies that overlap, elements cut by chunks, what is no Snappy', async () => {
  // 20 bytes: literal "ab", copy of 10 from 2 back, literal "xyz", copy of 5 from 3 back (with a two-byte offset).
  const bytes = Buffer.from([
    20,
    (2 - 1) << 2,
    97,
    98,
    1 | ((10 - 4) << 2),
    2,
    (3 - 1) << 2,
    120,
    121,
    122,
    2 | (4 << 2),
    3,
    0,
  ]);
  for (const each of [1, 2, 3, 100]) {
    const chunks = async function* () {
      for (let at = 0; at < bytes.length; at += each) yield bytes.subarray(at, at + each);
    };
    expect((await new ByteReader(unsnappy(chunks())).rest(1000)).toString()).toBe('ababababababxyzxyzxy');
  }
  const read = (...spoilt: number[]) =>
    new ByteReader(
      unsnappy(
        (async function* () {
          yield Buffer.from(spoilt);
        })(),
      ),
    ).rest(1000);
  await expect(read(4, 0, 97, 1, 9)).rejects.toThrow(/copies from 9 bytes before/);
  await expect(read(9, 0, 97)).rejects.toThrow(/shorter than it says/);
  await expect(read(1, 4, 97, 98)).rejects.toThrow(/longer than it says/);
});
