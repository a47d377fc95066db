// Pictures of a model for measuring: made once, kept with their recipe inside, used again by a later run.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { Pipeline } from '../../binding/index.js';
import type { PipelineSource } from '../../binding/types.js';
import type { SampleSettings } from '../config/types.js';
import { writeAtomically } from '../files.js';
import type { ResolvedModel } from '../hub/resolve.js';
import { recipeTexts } from '../image/metadata.js';
import { readText } from '../image/png_text.js';
import { encodePng, type Picture, slug } from '../image/write.js';
import { type Job, tokenize } from '../sample/jobs.js';
import { requestOf } from '../sample/settings.js';
import type { PromptTokenizer } from '../text/tokenizer.js';

const ENDS = 1 << 20;

function hashEnds(hash: ReturnType<typeof createHash>, file: string): void {
  const fd = openSync(file, 'r');
  try {
    const { size } = fstatSync(fd);
    const length = Math.min(ENDS, size);
    for (const at of [0, size - length]) {
      const bytes = Buffer.alloc(length);
      for (let have = 0; have < length; ) {
        const got = readSync(fd, bytes, have, length - have, at + have);
        if (got === 0) break;
        have += got;
      }
      hash.update(bytes);
    }
    hash.update(String(size));
  } finally {
    closeSync(fd);
  }
}

/**
 * Tells one model's weights from another's under the same name: size, beginning and end of each file. All of a large
 * model would take minutes to read, and training changes every tensor.
 */
export function weightsFingerprint(source: PipelineSource): string {
  const hash = createHash('sha256');
  for (const component of Object.values(source)) {
    if (typeof component === 'string') hash.update(readFileSync(component));
    else
      for (const file of component.weights) {
        if (!file.endsWith('.index.json')) {
          hashEnds(hash, file);
          continue;
        }
        const { weight_map: map } = JSON.parse(readFileSync(file, 'utf8')) as { weight_map: Record<string, string> };
        for (const shard of [...new Set(Object.values(map))].sort()) hashEnds(hash, join(dirname(file), shard));
      }
  }
  return hash.digest('hex').slice(0, 32);
}

/** Where picture `i` lies. */
const fileOf = (folder: string, i: number, { prompt, seed }: Job): string =>
  join(folder, `${String(i).padStart(5, '0')}-${seed}-${slug(prompt)}.png`);

/** What a picture must say about itself to be used again. The default size is the model's affair. */
function matches(file: string, job: Job, settings: SampleSettings, weights: string): boolean {
  if (!existsSync(file)) return false;
  try {
    const texts = readText(readFileSync(file));
    const { settings: made } = JSON.parse(texts.drm ?? '') as { settings: SampleSettings };
    const wanted = recipeTexts(
      { ...settings, height: settings.height || made.height, width: settings.width || made.width },
      job,
    );
    return texts.drm === wanted.drm && texts.weights === weights;
  } catch {
    return false; // cut off or another program's: made again
  }
}

export interface PictureSet {
  /** One a job, in order. */
  files: string[];
  /** Made now, not taken from an earlier run. */
  made: number;
  /** That making them took, the model's loading apart. */
  seconds: number;
}

export interface Maker {
  model: ResolvedModel;
  weights: string;
  tokenizer: PromptTokenizer;
  /** Loaded when the first picture is missing. */
  pipeline: () => Promise<Pipeline>;
  signal: AbortSignal;
  onPicture: (done: number, total: number, seconds: number) => void;
  onWarning: (message: string) => void;
}

/** The pictures of all jobs, made where they are missing. `settings.dtype` is the one that is run in. */
export async function makePictures(
  folder: string,
  jobs: Job[],
  settings: SampleSettings,
  maker: Maker,
): Promise<PictureSet> {
  const files = jobs.map((job, i) => fileOf(folder, i, job));
  const missing = jobs.flatMap((job, i) => (matches(files[i] as string, job, settings, maker.weights) ? [] : [i]));
  if (missing.length === 0) return { files, made: 0, seconds: 0 };
  const asked = missing.map((i) => jobs[i] as Job);
  const texts = await tokenize(asked, maker.tokenizer, settings.t5_length, maker.onWarning);
  const pipeline = await maker.pipeline();
  const began = performance.now();
  const stop = new AbortController();
  let failure: unknown;
  let written = 0;
  let queue: Promise<void> = Promise.resolve();
  const write = async (at: number, picture: Picture) => {
    const i = missing[at] as number;
    const { width, height } = picture;
    const recipe = recipeTexts({ ...settings, width, height }, jobs[i] as Job);
    await writeAtomically(files[i] as string, await encodePng(picture, { ...recipe, weights: maker.weights }));
    written += 1;
    maker.onPicture(files.length - missing.length + written, files.length, (performance.now() - began) / 1000);
  };
  try {
    await pipeline.sample(
      { ...texts, ...requestOf(settings), freeEncoders: false, previewEvery: 0 },
      {
        signal: AbortSignal.any([maker.signal, stop.signal]),
        onEvent: (event) => {
          if (event.kind === 'warning') maker.onWarning(String(event.message));
          if (event.kind !== 'image' || !event.bytes) return;
          const picture = { pixels: event.bytes, width: Number(event.width), height: Number(event.height) };
          queue = queue
            .then(() => write(Number(event.index), picture))
            .catch((error: unknown) => {
              failure ??= error;
              stop.abort();
            });
        },
      },
    );
    await queue;
  } catch (error) {
    await queue; // pictures made before are kept, and a full disk is the better explanation
    if (failure) throw failure;
    if (error instanceof DrmError && error.code === 'CANCELLED')
      throw new DrmError(
        'CANCELLED',
        `stopped: ${files.length - missing.length + written} of ${files.length} pictures are in ${folder}; the same command goes on from there`,
      );
    throw error;
  }
  if (failure) throw failure;
  return { files, made: missing.length, seconds: (performance.now() - began) / 1000 };
}
