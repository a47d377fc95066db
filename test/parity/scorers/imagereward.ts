// ImageReward through the binding: images and token ids in, scores out. Inner states are compared in
// test/csrc/imagereward_test.cc.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Scorer } from '../../../binding/index.js';
import { type ImageRewardSizes, imageRewardConfig } from '../../rewards/imagereward_folder.js';
import type { Comparison } from '../report.js';
import type { ScorersFixture } from './fixture.js';

export async function checkImageReward(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const { config: stated, weights, tolerance, negative_controls } = s.described(name);
  const sizes = stated as ImageRewardSizes & { images: string[] };
  const config = join(scratch, `${name}.json`);
  writeFileSync(config, JSON.stringify(imageRewardConfig(sizes)));
  const files = (weights ?? []).map((file) => join(s.folder, file));
  const scorer = await Scorer.load({ kind: 'imagereward', config, weights: files }, { device: 'cpu', dtype: 'fp32' });
  try {
    const images = await Promise.all(sizes.images.map((image) => s.photo(image)));
    const ids = s.tensor(`${name}/input_ids`).data as BigInt64Array;
    const rows = images.map((_, i) => ids.slice(i * sizes.maxlen, (i + 1) * sizes.maxlen));
    const { values } = await scorer.score({ images, rows, promptOf: rows.map((_, i) => i) });
    const atol = tolerance.score ?? 0;
    return [
      s.compare(`${name}/score`, values, s.tensor(`${name}/score`).data as Float32Array, atol),
      ...s.unlike(name, negative_controls, values, atol),
    ];
  } finally {
    scorer.dispose();
  }
}
