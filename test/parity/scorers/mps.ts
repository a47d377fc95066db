// MPS through the binding. Its inner states are compared in test/csrc/mps_test.cc.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Scorer } from '../../../binding/index.js';
import { type ClipSizes, clipConfig } from '../../rewards/clip_folder.js';
import type { Comparison } from '../report.js';
import type { ScorersFixture } from './fixture.js';

interface MpsSizes {
  clip: Omit<ClipSizes, 'activation'>;
  images: string[];
  threshold: number;
  layers: number;
  heads: number;
  dim_head: number;
  ff_mult: number;
}

export async function checkMps(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const { config, weights, tolerance, negative_controls } = s.described(name);
  const sizes = config as MpsSizes;
  const { score = 0 } = tolerance;
  const path = join(scratch, `${name}.json`);
  writeFileSync(
    path,
    JSON.stringify({
      ...clipConfig({ ...sizes.clip, activation: 'gelu' }),
      cross_model: {
        layers: sizes.layers,
        heads: sizes.heads,
        head_channels: sizes.dim_head,
        mlp_ratio: sizes.ff_mult,
      },
    }),
  );
  const rows = (tensor: string): BigInt64Array[] => {
    const ids = s.tensor(`${name}/${tensor}`).data as BigInt64Array;
    return Array.from({ length: ids.length / sizes.clip.ctx }, (_, i) =>
      ids.slice(i * sizes.clip.ctx, (i + 1) * sizes.clip.ctx),
    );
  };
  const condition = Array.from(rows('condition_ids')[0] ?? [], Number);
  const images = await Promise.all(sizes.images.map((image) => s.photo(image)));
  const stored = (what: string) => s.tensor(`${name}/${what}`).data as Float32Array;
  const all: Comparison[] = [];
  for (const [threshold, suffix] of [[sizes.threshold, ''] as const, [0.01, '_threshold_001'] as const]) {
    const scorer = await Scorer.load(
      {
        ...{ kind: 'mps', config: path, weights: [join(s.folder, weights?.[0] ?? '')] },
        settings: JSON.stringify({ threshold, condition }),
      },
      { device: 'cpu', dtype: 'fp32' },
    );
    try {
      const promptOf = images.map((_, i) => i);
      const { values } = await scorer.score({ images, rows: rows('input_ids'), promptOf });
      all.push(s.compare(`${name} score${suffix}`, values, stored(`score${suffix}`), score));
      if (suffix === '') all.push(...s.unlike(name, negative_controls, values, score));
    } finally {
      scorer.dispose();
    }
  }
  return all;
}
