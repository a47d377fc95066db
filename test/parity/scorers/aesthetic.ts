// The aesthetic predictor through the binding. The case's images are those of HPS v1, cropped by torchvision's rule; its
// head and their features are compared in test/csrc/aesthetic_test.cc.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Scorer } from '../../../binding/index.js';
import type { ClipSizes } from '../../rewards/clip_folder.js';
import { aestheticConfig } from '../../rewards/imagereward_folder.js';
import type { Comparison } from '../report.js';
import type { ScorersFixture } from './fixture.js';

export async function checkAesthetic(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const { config: stated, weights, tolerance, negative_controls } = s.described(name);
  const config = join(scratch, `${name}.json`);
  const clip = s.described('clip_l').config as ClipSizes;
  writeFileSync(config, JSON.stringify(aestheticConfig(clip, (stated as { dims: number[] }).dims)));
  const files = (weights ?? []).map((file) => join(s.folder, file));
  const scorer = await Scorer.load(
    { kind: 'aesthetic', config, weights: files, settings: JSON.stringify({ crop: 'torchvision' }) },
    { device: 'cpu', dtype: 'fp32' },
  );
  try {
    const { images: names } = s.described('hpsv1').config as { images: string[] };
    const images = await Promise.all(names.map((image) => s.photo(image)));
    const { values } = await scorer.score({ images, rows: [], promptOf: [] });
    const features = await scorer.imageFeatures(images);
    const atol = tolerance.score ?? 0;
    const want = (what: string) => s.tensor(`${name}/${what}`).data as Float32Array;
    return [
      s.compare(`${name}/score`, values, want('score'), atol),
      s.compare(`${name}/embed`, features.values, want('embed'), s.described('clip_l').tolerance.cosine ?? 0),
      ...s.unlike(name, negative_controls, values, atol),
    ];
  } finally {
    scorer.dispose();
  }
}
