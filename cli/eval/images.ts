// Images of a model for measuring: made once, kept with their recipe inside, used again by a later run.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { Pipeline } from '../../binding/index.js';
import type { SampleSummary, StepwiseRequest } from '../../binding/types.js';
import { writeAtomically } from '../common/files.js';
import type { SampleSettings } from '../config/types.js';
import type { ResolvedModel } from '../hub/resolve.js';
import { readText } from '../image/png_text.js';
import { encodePng, type Image, slug } from '../image/write.js';
import type { Lora } from '../lora/loras.js';
import type { Team } from '../parallel/team.js';
import { type Job, tokenize } from '../sample/jobs.js';
import { recipeTexts } from '../sample/metadata.js';
import { requestOf } from '../sample/settings.js';
import type { PromptTokenizer } from '../text/tokenizer.js';

/** Where image `i` lies. */
const fileOf = (folder: string, i: number, { prompt, seed }: Job): string =>
  join(folder, `${String(i).padStart(5, '0')}-${seed}-${slug(prompt)}.png`);

/** What an image must say about itself to be used again. The default size is the model's affair. */
function matches(file: string, job: Job, settings: SampleSettings, { weights, loras }: Maker): boolean {
  if (!existsSync(file)) return false;
  try {
    const texts = readText(readFileSync(file));
    const { settings: made } = JSON.parse(texts.drm ?? '') as { settings: SampleSettings };
    const wanted = recipeTexts(
      { ...settings, height: settings.height || made.height, width: settings.width || made.width },
      job,
      loras,
    );
    return texts.drm === wanted.drm && texts.weights === weights;
  } catch {
    return false; // cut off or another program's: made again
  }
}

export interface ImageSet {
  /** One a job, in order. */
  files: string[];
  /** Made now, not taken from an earlier run. */
  made: number;
  /** That making them took, the models' loading apart; of several processes their sum. */
  seconds: number;
  /** Undefined when none was made. */
  cost?: Cost;
}

/** Where those seconds went; only a CPU has done the work when a call returns. */
export type Cost = Pick<SampleSummary, 'policySeconds' | 'rewardSeconds' | 'branchSeconds'>;

export interface Maker {
  model: ResolvedModel;
  weights: string;
  loras: readonly Lora[];
  tokenizer: PromptTokenizer;
  /** Loaded when the first image is missing. */
  pipeline: () => Promise<Pipeline>;
  /** How a reward chooses among candidates; loaded likewise. */
  stepwise?: (jobs: Job[], pipeline: Pipeline) => Promise<StepwiseRequest>;
  /** The processes that share the work and see one folder: all must come here. */
  team: Team;
  signal: AbortSignal;
  onImage: (done: number, total: number, seconds: number) => void;
  onWarning: (message: string) => void;
}

/** Said by each process of its part. */
interface Part {
  made: number;
  seconds: number;
  cost: Cost | undefined;
  warnings: string[];
}

/**
 * The images of all jobs, made where they are missing, by each process its part. `settings.dtype` is the one that is run
 * in. Rejects with DISK where the first process does not find what another has made.
 */
export async function makeImages(
  folder: string,
  jobs: Job[],
  settings: SampleSettings,
  maker: Maker,
): Promise<ImageSet> {
  const { team } = maker;
  const files = jobs.map((job, i) => fileOf(folder, i, job));
  // What is there the first process says for all: others may have begun to write while the last one looks.
  const missing = await team.fromFirst(async () =>
    jobs.flatMap((job, i) => (matches(files[i] as string, job, settings, maker) ? [] : [i])),
  );
  if (missing.length === 0) return { files, made: 0, seconds: 0 };
  const already = files.length - missing.length;
  const own = await makePart({ which: team.part(missing), already, files, folder }, jobs, settings, maker);
  const parts = await team.exchange<Part>({ ...own, warnings: team.takeWarnings() });
  for (const { warnings } of parts.slice(1)) for (const message of warnings) maker.onWarning(message);
  const seen = (i: number) => matches(files[i] as string, jobs[i] as Job, settings, maker);
  const absent = team.first && !team.alone ? missing.filter((i) => !seen(i)).map((i) => files[i] as string) : [];
  if (absent.length > 0)
    throw new DrmError(
      'DISK',
      `[eval] ${absent[0]}: expected this image, which another process made, and ${absent.length - 1} others, found none; all processes must see the same --out folder`,
      { file: absent[0] as string },
    );
  const costs = parts.flatMap(({ cost }) => (cost ? [cost] : []));
  const sum = (key: keyof Cost) => costs.reduce((all, cost) => all + cost[key], 0);
  return {
    files,
    made: parts.reduce((all, { made }) => all + made, 0),
    seconds: parts.reduce((all, { seconds }) => all + seconds, 0),
    ...(costs.length > 0 && {
      cost: {
        policySeconds: sum('policySeconds'),
        rewardSeconds: sum('rewardSeconds'),
        branchSeconds: sum('branchSeconds'),
      },
    }),
  };
}

/** Images `which` of the jobs. The pipeline embeds their prompts some at a time, however many they are. */
async function makePart(
  { which, already, files, folder }: { which: number[]; already: number; files: readonly string[]; folder: string },
  jobs: readonly Job[],
  settings: SampleSettings,
  maker: Maker,
): Promise<Omit<Part, 'warnings'>> {
  if (which.length === 0) return { made: 0, seconds: 0, cost: undefined };
  const asked = which.map((i) => jobs[i] as Job);
  const texts = await tokenize(asked, maker.tokenizer, settings.t5_length, maker.onWarning);
  const pipeline = await maker.pipeline();
  const stepwise = await maker.stepwise?.(asked, pipeline);
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const stop = new AbortController();
  let failure: unknown;
  let cost: Cost;
  let written = 0;
  let queue: Promise<void> = Promise.resolve();
  const write = async (at: number, image: Image) => {
    const i = which[at] as number;
    const { width, height } = image;
    const recipe = recipeTexts({ ...settings, width, height }, jobs[i] as Job, maker.loras);
    await writeAtomically(files[i] as string, await encodePng(image, { ...recipe, weights: maker.weights }));
    written += 1;
    maker.onImage(already + written, already + which.length, elapsed());
  };
  try {
    cost = await pipeline.sample(
      { ...texts, ...requestOf(settings), ...(stepwise && { stepwise }), freeEncoders: false, previewEvery: 0 },
      {
        signal: AbortSignal.any([maker.signal, stop.signal]),
        onEvent: (event) => {
          if (event.kind === 'warning') maker.onWarning(String(event.message));
          if (event.kind !== 'image' || !event.bytes) return;
          const image = { pixels: event.bytes, width: Number(event.width), height: Number(event.height) };
          queue = queue
            .then(() => write(Number(event.index), image))
            .catch((error: unknown) => {
              failure ??= error;
              stop.abort();
            });
        },
      },
    );
    await queue;
  } catch (error) {
    await queue; // images made before are kept, and a full disk is the better explanation
    if (failure) throw failure;
    if (error instanceof DrmError && error.code === 'CANCELLED')
      throw new DrmError(
        'CANCELLED',
        `stopped: ${already + written}${maker.team.alone ? '' : ' or more'} of ${files.length} images are in ${folder}; the same command goes on from there`,
      );
    throw error;
  }
  if (failure) throw failure;
  const { policySeconds, rewardSeconds, branchSeconds } = cost;
  return { made: which.length, seconds: elapsed(), cost: { policySeconds, rewardSeconds, branchSeconds } };
}
