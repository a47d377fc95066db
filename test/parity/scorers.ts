// The golden scorers: images as CLIP sees them byte by byte, and what its two towers say of image files and token
// ids, through the binding. Their inner states are compared in test/csrc/clip_model_test.cc.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { resizeImages, Scorer } from '../../binding/index.js';
import type { Bitmap, Features } from '../../binding/types.js';
import { cosine } from '../../cli/rewards/features.js';
import { type ClipSizes, clipConfig } from '../rewards/clip_folder.js';
import type { Comparison } from './report.js';
import { largestDifference, readTensors, type Tensor } from './safetensors.js';

interface Stored {
  rtol: number;
  cases: Record<string, { weights: string[] | null; tolerance: Record<string, number>; config: unknown }>;
}

interface Square {
  image: string;
  kind: string;
  size: number;
}

class Scorers {
  readonly io: Map<string, Tensor>;
  readonly stored: Stored;

  constructor(readonly folder: string) {
    this.io = readTensors(join(folder, 'io.safetensors'));
    this.stored = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Stored;
  }

  tensor(name: string): Tensor {
    const tensor = this.io.get(name);
    if (!tensor) throw new Error(`${this.folder}/io.safetensors: expected a tensor ${name}`);
    return tensor;
  }

  async photo(name: string): Promise<Bitmap> {
    const { data, info } = await sharp(join(this.folder, `images/photo_${name}.png`), { ignoreIcc: true })
      .removeAlpha()
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { pixels: data, width: info.width, height: info.height };
  }

  /** |got - want| <= tolerance + rtol |want| is what passes: the error beyond the second term is given. */
  compare(tensor: string, got: ArrayLike<number>, want: ArrayLike<number>, atol: number): Comparison {
    if (got.length !== want.length) return { tensor, note: `expected ${want.length} numbers, got ${got.length}` };
    let error = 0;
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs((got[i] as number) - (want[i] as number));
      if (Number.isNaN(difference)) return { tensor, error: null, atol };
      error = Math.max(error, difference - this.stored.rtol * Math.abs(want[i] as number));
    }
    return { tensor, error, atol };
  }
}

async function checkSquares(s: Scorers): Promise<Comparison[]> {
  const all: Comparison[] = [];
  const config = s.stored.cases.pre?.config;
  if (config === undefined) throw new Error('the fixture has no case `pre`');
  const { square } = config as { square: Square[] };
  for (const { image, kind, size } of square) {
    if (!kind.startsWith('square_')) continue; // the letterbox comes with HPSv2
    const rule = kind === 'square_tv' ? 'torchvision' : 'transformers';
    const [got] = await resizeImages({ pictures: [await s.photo(image)], width: size, height: size, square: rule });
    const name = `pre/${kind}_${size}_${image}_u8`;
    all.push({ tensor: name, error: largestDifference(got?.pixels ?? [], s.tensor(name).data), atol: 0 });
  }
  return all;
}

function unit(rows: Tensor, width: number): Float64Array {
  const out = Float64Array.from(rows.data as Float32Array);
  for (let at = 0; at < out.length; at += width) {
    const row = out.subarray(at, at + width);
    const norm = Math.hypot(...row);
    for (const [k, value] of row.entries()) row[k] = value / norm;
  }
  return out;
}

async function checkClip(s: Scorers, name: string, scratch: string): Promise<Comparison[]> {
  const described = s.stored.cases[name];
  const sizes = described?.config as ClipSizes & { images: string[] };
  const { cosine: cosineTolerance = 0, logits = 0 } = described?.tolerance ?? {};
  const config = join(scratch, `${name}.json`);
  writeFileSync(config, JSON.stringify(clipConfig(sizes)));
  const pictures = await Promise.all(sizes.images.map((image) => s.photo(image)));
  const all: Comparison[] = [];
  for (const weights of described?.weights ?? []) {
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
      const seen = await clip.imageFeatures(pictures);
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
      // PickScore is the logit of an image and its own prompt.
      const own = scores.filter((_, at) => Math.floor(at / said.rows) === at % said.rows);
      if (s.io.has(`${name}/pickscore`)) all.push(s.compare(`${weights} pickscore`, own, stored('pickscore'), logits));
    } finally {
      clip.dispose();
    }
  }
  return all;
}

export async function checkScorers(folder: string): Promise<Comparison[]> {
  const s = new Scorers(folder);
  const scratch = mkdtempSync(join(tmpdir(), 'drm-parity-'));
  try {
    const all: Comparison[] = [];
    for (const name of Object.keys(s.stored.cases)) {
      if (name === 'pre') all.push(...(await checkSquares(s)));
      else if (name === 'clip_l' || name === 'clip_h') all.push(...(await checkClip(s, name, scratch)));
      else all.push({ tensor: name, note: 'not built yet' });
    }
    return all;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
