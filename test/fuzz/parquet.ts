// Parquet files as the sets read them: the small columns of each row group whole, one of byte arrays row by row.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ParquetFile } from '../../cli/data/io/parquet/file.js';
import { ImageColumn } from '../../cli/data/sets/image_column.js';
import { repository } from '../bench/common.js';
import { type FuzzTarget, scratch } from './driver.js';

/** Labels of other types, images in structs. */
const STRUCTS = ['pickapic-image-struct', 'pickapic-labels/int64'].map((name) => `samples/cases/${name}`);

const IMAGES = new Set(['jpg', 'jpg_0', 'jpg_1']);

async function read(path: string): Promise<void> {
  const file = await ParquetFile.open(path);
  try {
    for (let group = 0; group < file.groups.length; group++) {
      const rows = await file.read(
        group,
        file.columns.filter((name) => !IMAGES.has(name)),
      );
      for (const name of file.columns.filter((name) => IMAGES.has(name))) {
        const column = ImageColumn.open(file, group, name);
        try {
          for (let row = 0; row < rows.length; row += 3) await column.at(row, name);
        } finally {
          await column.close();
        }
      }
    }
  } finally {
    await file.close();
  }
}

const filesIn = (folder: string): Uint8Array[] =>
  readdirSync(join(repository, 'test', folder))
    .filter((name) => name.endsWith('.parquet'))
    .sort()
    .map((name) => readFileSync(join(repository, 'test', folder, name)));

export const targets: FuzzTarget[] = [
  {
    name: 'parquet',
    seeds: () => ['data/io/parquet', 'samples/imagerewarddb', 'samples/pickapic/data', ...STRUCTS].flatMap(filesIn),
    async run(input) {
      const path = join(scratch(), 'fuzzed.parquet');
      writeFileSync(path, input);
      await read(path);
    },
    words: ['PAR1', '\x15\x00', '\x00\x00\x00\x00', '\xff\xff\xff\xff\x0f', 'jpg_0', 'rank'],
  },
];
