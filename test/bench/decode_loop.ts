// What preparing images is measured against: every file of a folder decoded by sharp, four at a time, and nothing else.
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';

const folder = process.argv[2] as string;
const names = readdirSync(folder).values();
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (const name of names)
      await sharp(await readFile(join(folder, name)))
        .raw()
        .toBuffer();
  }),
);
