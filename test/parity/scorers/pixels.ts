// Images as scorers see them, byte by byte.
import { resizeImages } from '../../../binding/index.js';
import type { Comparison } from '../report.js';
import { largestDifference } from '../safetensors.js';
import type { ScorersFixture } from './fixture.js';

interface Square {
  image: string;
  kind: string;
  size: number;
}

export async function checkPixels(s: ScorersFixture): Promise<Comparison[]> {
  const all: Comparison[] = [];
  const { square } = s.described('pre').config as { square: Square[] };
  for (const { image, kind, size } of square) {
    if (!kind.startsWith('square_')) continue; // the letterbox comes with HPSv2
    const rule = kind === 'square_tv' ? 'torchvision' : 'transformers';
    const [got] = await resizeImages({ pictures: [await s.photo(image)], width: size, height: size, square: rule });
    const name = `pre/${kind}_${size}_${image}_u8`;
    all.push({ tensor: name, error: largestDifference(got?.pixels ?? [], s.tensor(name).data), atol: 0 });
  }
  return all;
}
