// A published scorer as a reward: its network in the core, loaded when it is first needed, its texts as token ids, its
// number in the published unit. What tells one scorer from another is a plan.
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import type { Scorer } from '../../binding/index.js';
import type { Dtype, ImageGuide, JobOptions, ScorerInfo, ScorerSource } from '../../binding/types.js';
import { chooseDevice } from '../common/device.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { shardsOf } from '../hub/weight_index.js';
import { cutEnd } from '../text/columns.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { visibleLine } from '../text/visible.js';
import { distinct, type FeatureSpace, imageReward, type Judged, type Reward } from './reward.js';
import type { ImageSpec, RewardLoading } from './spec.js';

/** Of a dropped end of a prompt, in a warning. */
const SHOWN = 60;

/** A prompt's ids as the network reads them, and what did not fit. */
export interface Row {
  ids: BigInt64Array;
  dropped: string;
}

/** Prompts to rows; `info` is that of the network, once it is loaded. */
export type Reader = (prompts: readonly string[], info: ScorerInfo) => Promise<Row[]>;

export interface ScorerPlan {
  unit: string;
  /** What the number rests on: 'e^s times the cosine of image and prompt'. */
  definition: string;
  dtype: Dtype;
  /** What is said of the precision; by default nothing of fp32. */
  precision?: string;
  source: ScorerSource;
  /** Undefined where no text is read. */
  reader?: Reader;
  /** Above 0: the core's number times this is in the published unit; 1 where it is left out. */
  factor?(info: ScorerInfo): number;
  /** What makes logits of its numbers, where they are none. */
  scale?: number;
  /** Whether images and captions have features that may be searched. */
  hasSpace?: true;
  /** Whether it says how sure it is. */
  deviates?: true;
}

/** A reward by a plan that is made, with the files found, when it is loaded. Files are looked for at once. */
export const scorerSpec = (name: string, plan: (loading: RewardLoading) => Promise<ScorerPlan>): ImageSpec => ({
  name,
  sees: 'images',
  load: async (loading) => loadPlan(name, await plan(loading), loading),
});

/** Of one tokenizer that pads and cuts to what the network reads. */
export const padded =
  (tokenizer: Tokenizer): Reader =>
  (prompts, { tokens }) =>
    Promise.all(prompts.map((prompt) => tokenizer.padded(prompt, tokens)));

const filesOf = (weights: readonly string[]): string[] =>
  weights.flatMap((file) => (file.endsWith('.index.json') ? shardsOf(file) : [file]));

/** Tells these weights, read and computed so, from others. */
function fingerprintOf({ source, dtype, unit }: ScorerPlan): string {
  const { kind, settings = '' } = source;
  const weights = weightsFingerprint({ scorer: { weights: source.weights }, config: source.config });
  return createHash('sha256')
    .update(JSON.stringify([weights, kind, settings, dtype, unit]))
    .digest('hex')
    .slice(0, 32);
}

class LoadedScorer {
  #scorer: Promise<Scorer> | undefined;
  #told = false;

  constructor(
    private readonly name: string,
    private readonly plan: ScorerPlan,
    private readonly loading: RewardLoading,
  ) {}

  /** The network; loaded anew where its memory was given back. */
  get(): Promise<Scorer> {
    this.#scorer ??= this.#load().catch((error: unknown) => {
      this.#scorer = undefined;
      throw error;
    });
    return this.#scorer;
  }

  async #load(): Promise<Scorer> {
    const { Scorer } = await import('../../binding/index.js');
    const { source, dtype } = this.plan;
    const { signal, onProgress } = this.loading;
    const { device } = await chooseDevice({ device: this.loading.device, dtype });
    return Scorer.load(source, { device, dtype }, { ...(signal && { signal }), ...(onProgress && { onProgress }) });
  }

  async rows(prompts: readonly string[], info: ScorerInfo): Promise<BigInt64Array[]> {
    const rows = (await this.plan.reader?.(prompts, info)) ?? [];
    const cut = rows.findIndex(({ dropped }) => dropped !== '');
    if (cut >= 0 && !this.#told) {
      this.#told = true; // a large set has many
      const [prompt, end] = [prompts[cut] as string, (rows[cut] as Row).dropped].map((text) =>
        cutEnd(visibleLine(text.trim()), SHOWN),
      );
      this.loading.onWarning?.(
        `${this.name} reads ${rows[cut]?.ids.length} tokens: of "${prompt}" it does not see "${end}"; other prompts that are too long are not named`,
      );
    }
    return rows.map(({ ids }) => ids);
  }

  async score(judged: readonly Judged[], job: JobOptions = {}) {
    const { all, of } = distinct(judged.map(({ prompt }) => prompt));
    const scorer = await this.get();
    const reads = this.plan.reader !== undefined;
    const { values, deviations } = await scorer.score(
      {
        images: judged.map(({ image }) => image),
        rows: reads ? await this.rows(all, scorer.info) : [],
        promptOf: reads ? of : [],
      },
      job,
    );
    const factor = this.#factor(scorer);
    return { values: Array.from(values, (score) => factor * score), deviations };
  }

  async guide(prompts: readonly string[]): Promise<ImageGuide> {
    const { all, of } = distinct(prompts);
    const scorer = await this.get();
    const reads = this.plan.reader !== undefined;
    return {
      scorer: scorer.handle(),
      rows: reads ? (await this.rows(all, scorer.info)).map((ids) => ({ ids })) : [],
      rowOf: reads ? of : [],
      factor: this.#factor(scorer),
    };
  }

  #factor({ info }: Scorer): number {
    return this.plan.factor?.(info) ?? 1;
  }

  /** Gives the memory back; a later score loads the network again. */
  release(): void {
    void this.#scorer?.then(
      (scorer) => scorer.dispose(),
      () => {}, // told to whoever waited for it
    );
    this.#scorer = undefined;
  }
}

async function loadPlan(name: string, plan: ScorerPlan, loading: RewardLoading): Promise<Reward> {
  const { unit, definition, dtype, scale, hasSpace, deviates, source } = plan;
  const { precision = dtype === 'fp32' ? '' : `in ${dtype}` } = plan;
  const loaded = new LoadedScorer(name, plan, loading);
  if (!loading.later) await loaded.get();
  const space: FeatureSpace = {
    images: async (images, job) => (await loaded.get()).imageFeatures(images, job),
    captions: async (captions, job) => {
      const scorer = await loaded.get();
      return scorer.textFeatures(await loaded.rows(captions, scorer.info), job);
    },
  };
  return {
    ...imageReward({
      ...{ name, unit, definition: precision === '' ? definition : `${definition}, ${precision}` },
      weights: fingerprintOf(plan),
      ...(hasSpace && { space }),
      ...(scale !== undefined && { scale }),
      score: async (judged, job) => (await loaded.score(judged, job)).values,
      guide: (prompts) => loaded.guide(prompts),
      dispose: () => loaded.release(),
    }),
    bytes: filesOf(source.weights).reduce((sum, file) => sum + statSync(file).size, 0) * (dtype === 'fp32' ? 2 : 1),
    ready: async () => {
      await loaded.get();
    },
    ...(deviates && {
      withDeviations: async (judged: readonly Judged[], job?: JobOptions) => {
        const { values, deviations = [] } = await loaded.score(judged, job);
        return { scores: values, deviations: Array.from(deviations) };
      },
    }),
  };
}
