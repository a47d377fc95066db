// HPS v1 and HPSv2 through the binding: CLIPs with other weights and other ways of preparing images.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { letterboxImages, Scorer } from '../../../binding/index.js';
import { type ClipSizes, clipConfig } from '../../rewards/clip_folder.js';
import type { Comparison } from '../report.js';
import type { ScorersFixture } from './fixture.js';

/** The CLIP case that says which sizes the file has. */
function sizesOf(s: ScorersFixture, weights: string): ClipSizes {
  const owner = Object.values(s.stored.cases).find(
    ({ weights: files, config }) => files?.includes(weights) && 'vw' in (config as object),
  );
  if (!owner) throw new Error(`${s.folder}/config.json: expected a case with the sizes of ${weights}`);
  return owner.config as ClipSizes;
}

/** Cosines of each of the case's images with its own prompt, prepared as the settings say. */
async function scores(s: ScorersFixture, name: string, scratch: string, settings: object): Promise<Float32Array> {
  const { config, weights } = s.described(name);
  const file = weights?.[0] ?? '';
  const sizes = sizesOf(s, file);
  const path = join(scratch, `${name}.json`);
  writeFileSync(path, JSON.stringify(clipConfig(sizes)));
  const scorer = await Scorer.load(
    { kind: 'clip', config: path, weights: [join(s.folder, file)], settings: JSON.stringify(settings) },
    { device: 'cpu', dtype: 'fp32' },
  );
  try {
    const { images: names } = config as { images: string[] };
    const ids = s.tensor(`${name}/input_ids`).data as BigInt64Array;
    const captions = names.map((_, i) => ids.slice(i * sizes.ctx, (i + 1) * sizes.ctx));
    const images = await Promise.all(names.map((image) => s.photo(image)));
    const { values } = await scorer.score({ images, rows: captions, promptOf: images.map((_, i) => i) });
    return values;
  } finally {
    scorer.dispose();
  }
}

export async function checkHpsV2(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const { config, tolerance } = s.described(name);
  const { images: names, size } = config as { images: string[]; size: number };
  const { float_resized: pixelTolerance = 0 } = s.described('pre').tolerance;
  const images = await Promise.all(names.map((image) => s.photo(image)));
  const stored = (what: string) => s.tensor(`${name}/${what}`).data as Float32Array;
  const all: Comparison[] = [];
  for (const [tag, antialias] of [['aa', true] as const, ['noaa', false] as const]) {
    const seen = await letterboxImages({ images, size, antialias });
    const pixels = `pixel_values_${tag}`;
    all.push(s.compare(`${name} ${pixels}`, seen.values, stored(pixels), pixelTolerance));
    const got = await scores(s, name, scratch, { pixels: 'letterbox', antialias });
    all.push(s.compare(`${name} score_${tag}`, got, stored(`score_${tag}`), tolerance.score ?? 0));
    all.push(...s.unlike(name, ['neg_score_center_crop'], got, tolerance.score ?? 0));
  }
  // The mistake itself, so that the control is known to be one.
  const cropped = await scores(s, name, scratch, { pixels: 'torchvision' });
  const mistake = stored('neg_score_center_crop');
  all.push(s.compare(`${name} centre crop`, cropped, mistake, tolerance.score ?? 0));
  return all;
}

export async function checkHpsV1(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const { score = 0 } = s.described(name).tolerance;
  const got = await scores(s, name, scratch, { pixels: 'torchvision' });
  return [s.compare(`${name} score`, got, s.tensor(`${name}/score`).data as Float32Array, score)];
}
