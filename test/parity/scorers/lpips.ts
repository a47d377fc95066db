// LPIPS through the binding. Stages, and the image that is no image of bytes, are compared in test/csrc/lpips_test.cc.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Scorer } from '../../../binding/index.js';
import type { Bitmap } from '../../../binding/types.js';
import type { Comparison } from '../report.js';
import type { Tensor } from '../safetensors.js';
import type { ScorersFixture } from './fixture.js';

/** Images of the pairs that the fixture's values are of. */
const PAIRS = [
  [0, 1],
  [0, 2],
  [1, 2],
  [0, 0],
] as const;

/** Image i of (N, 3, H, W) in [-1, 1] as bytes, undefined where it is none. */
function bitmapOf({ data, shape }: Tensor, i: number): Bitmap | undefined {
  const [, channels = 0, height = 0, width = 0] = shape;
  const pixels = new Uint8Array(channels * height * width);
  const plane = height * width;
  for (let at = 0; at < pixels.length; at++) {
    const value = data[i * pixels.length + (at % channels) * plane + Math.floor(at / channels)] as number;
    pixels[at] = Math.round((value + 1) * 127.5);
    if (Math.fround(Math.fround((pixels[at] as number) / 127.5) - 1) !== value) return undefined;
  }
  return { pixels, height, width };
}

export async function checkLpips(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const described = s.described(name);
  const { channels } = described.config as { channels: number[] };
  const { score: tolerance = 0 } = described.tolerance ?? {};
  const config = join(scratch, `${name}.json`);
  writeFileSync(config, JSON.stringify({ network: name.replace('lpips_', ''), channels }));
  const weights = (described.weights ?? []).map((file) => join(s.folder, file));
  const scorer = await Scorer.load({ kind: 'lpips', config, weights }, { device: 'cpu', dtype: 'fp32' });
  const all: Comparison[] = [];
  try {
    for (let k = 0; s.io.has(`lpips/image_${k}`); k++) {
      const images = s.tensor(`lpips/image_${k}`);
      const bitmaps = Array.from({ length: images.shape[0] ?? 0 }, (_, i) => bitmapOf(images, i));
      const values = s.tensor(`${name}/value_${k}`).data as Float32Array;
      const rows = PAIRS.flatMap(([a, b], row) => (bitmaps[a] && bitmaps[b] ? [row] : []));
      if (!rows.some((row) => (values[row] as number) > 0)) {
        all.push({ tensor: `value_${k}`, note: 'expected two different images of bytes' });
        continue;
      }
      const pairs = rows.map((row) => PAIRS[row] as (typeof PAIRS)[number]);
      const got = await scorer.distances({
        // One that takes part in no pair here stands for itself by anything.
        images: bitmaps.map((bitmap) => bitmap ?? { pixels: new Uint8Array(3), height: 1, width: 1 }),
        first: pairs.map(([a]) => a),
        second: pairs.map(([, b]) => b),
      });
      const want = rows.map((row) => values[row] as number);
      all.push(s.compare(`value_${k} of ${pairs.map((pair) => pair.join('-')).join(', ')}`, got, want, tolerance));
    }
  } finally {
    scorer.dispose();
  }
  return all;
}
