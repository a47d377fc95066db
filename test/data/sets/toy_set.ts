// A published set that nobody published: all that a set consists of beside its line in the registry.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Source } from '../../../cli/data/prepared/source.js';
import { findImages, folderOf, listedSource, type PairSetOptions } from '../../../cli/data/sets/listed.js';
import { jsonLists, publishedSet } from '../../../cli/data/sets/published.js';

/** test.json holds [prompt, chosen, rejected]; `--last` reads it from its end. */
async function toySource(options: PairSetOptions, last: boolean): Promise<Source> {
  const folder = folderOf(options.from, 'the folder with test.json');
  const file = join(folder, 'test.json');
  const rows = JSON.parse(readFileSync(file, 'utf8')) as [string, string, string][];
  if (last) rows.reverse();
  const images = findImages(options.images, [folder], [], options.work, file);
  async function* pairs() {
    for (const [row, [prompt, chosen, rejected]] of rows.entries())
      yield {
        split: 'test',
        fields: { prompt, source: 'toy', group: prompt, row, ranks: [1, 2] as [number, number] },
        chosen,
        rejected,
        images,
      };
  }
  return listedSource(options, {
    notes: [{ name: 'toy' }],
    settings: { source: 'toy', last },
    pairs,
    stores: [images],
  });
}

export const toySet = publishedSet({
  flags: [{ flags: '--from-last', description: 'prepare toy: begins at the end' }],
  open: (pairs, { fromLast }) => toySource(pairs, fromLast),
  folders: ['toy', 'ToySet'],
  list: jsonLists,
  protocols: ['rank'],
});
