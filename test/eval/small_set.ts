// A prepared set of plain colours, made as any other set is.

import { encodeLossless } from '../../cli/data/io/image.js';
import { prepare } from '../../cli/data/prepared/prepare.js';
import type { Planned } from '../../cli/data/prepared/source.js';

export interface Colour {
  caption: string;
  rgb: [number, number, number];
  split?: string;
}

/** Twelve colours, all different, named by number. */
export const colours: Colour[] = Array.from({ length: 12 }, (_, i) => ({
  caption: `colour ${i}, plain style`,
  rgb: [(i * 71) % 256, (i * 29 + 90) % 256, (255 - i * 17) % 256],
  split: i < 8 ? 'train' : 'test',
}));

export async function writeSet(folder: string, samples: readonly Colour[] = colours, size = 32): Promise<string> {
  const records = samples.map(
    ({ caption, rgb, split = 'train' }, i): Planned => ({
      split,
      note: 0,
      make: async () => {
        const pixels = Uint8Array.from({ length: size * size * 3 }, (_, at) => rgb[at % 3] as number);
        const bytes = await encodeLossless({ pixels, width: size, height: size });
        return { key: `colour-${i}`, files: [{ extension: 'webp', bytes }], json: { caption, split } };
      },
    }),
  );
  await prepare(
    {
      kind: 'captions',
      notes: [{ name: 'colours' }],
      settings: { source: 'colours' },
      records: () => records,
      extras: [],
    },
    folder,
    {
      limits: { bytes: 1e9, samples: Number.POSITIVE_INFINITY },
      signal: new AbortController().signal,
      onProgress: () => {},
      onDrop: () => {},
    },
  );
  return folder;
}
