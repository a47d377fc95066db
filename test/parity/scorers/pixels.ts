// Images as scorers see them, byte by byte.
import { letterboxImages, resizeImages } from '../../../binding/index.js';
import type { Comparison } from '../report.js';
import { largestDifference } from '../safetensors.js';
import type { ScorersFixture } from './fixture.js';

interface Square {
  image: string;
  kind: string;
  size: number;
  antialias?: boolean;
}

export async function checkPixels(s: ScorersFixture): Promise<Comparison[]> {
  const all: Comparison[] = [];
  const described = s.described('pre');
  const { square } = described.config as { square: Square[] };
  const { float_resized: tolerance = 0 } = described.tolerance;
  for (const { image, kind, size, antialias = true } of square) {
    if (kind === 'hpsv2') {
      const { values } = await letterboxImages({ images: [await s.photo(image)], size, antialias });
      const name = `pre/hpsv2_${antialias ? 'aa' : 'noaa'}_${size}_${image}_float`;
      all.push(s.compare(name, values, s.tensor(name).data as Float32Array, tolerance));
      continue;
    }
    const rule = kind === 'square_tv' ? 'torchvision' : 'transformers';
    const [got] = await resizeImages({ images: [await s.photo(image)], width: size, height: size, square: rule });
    const name = `pre/${kind}_${size}_${image}_u8`;
    all.push({ tensor: name, error: largestDifference(got?.pixels ?? [], s.tensor(name).data), atol: 0 });
  }
  return all;
}
