// CLIP's two towers through the binding. Their inner states are compared in test/csrc/clip_model_test.cc.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Scorer } from '../../../binding/index.js';
import type { Features } from '../../../binding/types.js';
import { cosine } from '../../../cli/rewards/features.js';
import { type ClipSizes, clipConfig } from '../../rewards/clip_folder.js';
import type { Comparison } from '../report.js';
import type { Tensor } from '../safetensors.js';
import type { ScorersFixture } from './fixture.js';

function unit(rows: Tensor, width: number): Float64Array {
  const out = Float64Array.from(rows.data as Float32Array);
  for (let at = 0; at < out.length; at += width) {
    const row = out.subarray(at, at + width);
    const norm = Math.hypot(...row);
    for (const [k, value] of row.entries()) row[k] = value / norm;
  }
  return out;
}

export async function checkClip(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const described = s.described(name);
  const sizes = described.config as ClipSizes & { images: string[] };
  const { cosine: cosineTolerance = 0, logits = 0 } = described.tolerance ?? {};
  const config = join(scratch, `${name}.json`);
  writeFileSync(config, JSON.stringify(clipConfig(sizes)));
  const images = await Promise.all(sizes.images.map((image) => s.photo(image)));
  const all: Comparison[] = [];
  for (const weights of described.weights ?? []) {
    const clip = await Scorer.load(
      { kind: 'clip', config, weights: [join(s.folder, weights)] },
      { device: 'cpu', dtype: 'fp32' },
    );
    try {
      const ids = s.tensor(`${name}/${weights.includes('.hf.') ? 'input_ids' : 'input_ids_openclip'}`)
        .data as BigInt64Array;
      const captions = Array.from({ length: ids.length / sizes.ctx }, (_, i) =>
        ids.slice(i * sizes.ctx, (i + 1) * sizes.ctx),
      );
      const seen = await clip.imageFeatures(images);
      const said = await clip.textFeatures(captions);
      const features = (what: string, got: Features) =>
        all.push(
          s.compare(`${weights} ${what}`, got.values, unit(s.tensor(`${name}/${what}`), got.width), cosineTolerance),
        );
      features('image_features', seen);
      features('text_features', said);
      const pairs = Array.from({ length: seen.rows * said.rows }, (_, at) =>
        cosine(seen, Math.floor(at / said.rows), said, at % said.rows),
      );
      const scale = Math.exp(clip.info.logitScale);
      const scores = pairs.map((pair) => scale * pair);
      const stored = (what: string) => s.tensor(`${name}/${what}`).data as Float32Array;
      all.push(s.compare(`${weights} cosine`, pairs, stored('cosine'), cosineTolerance));
      all.push(s.compare(`${weights} logits_per_image`, scores, stored('logits_per_image'), logits));
      if (s.io.has(`${name}/neg_wrong_activation`))
        all.push(...s.unlike(name, ['neg_wrong_activation'], scores, logits));
      // PickScore is the logit of an image and its own prompt.
      const own = scores.filter((_, at) => Math.floor(at / said.rows) === at % said.rows);
      if (s.io.has(`${name}/pickscore`)) all.push(s.compare(`${weights} pickscore`, own, stored('pickscore'), logits));
    } finally {
      clip.dispose();
    }
  }
  return all;
}
