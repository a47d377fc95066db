// Loading a reward that findReward() found.

import { DrmError } from '../../binding/error.js';
import type { RewardModel } from '../../binding/index.js';
import type { Dtype, JobOptions, PromptTokens } from '../../binding/types.js';
import { chooseDevice } from '../common/device.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { resolveModel } from '../hub/resolve.js';
import { cosine } from '../scorers/features.js';
import { loadScorer, scorerWeights } from '../scorers/registry.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { levelText } from './levels.js';
import { type DrmSpec, parseRewards, type RewardSpec, type ScorerSpec, type WeightedReward } from './registry.js';
import { distinct, type Judged, type Reward, type Viewing } from './reward.js';

export interface RewardLoading {
  device: string;
  /** Of a reward model; scorers always run in fp32. */
  dtype?: Dtype | undefined;
  /** The base model, instead of the one that the reward model names. */
  model?: string | undefined;
  signal?: AbortSignal;
  onWarning?: (message: string) => void;
  onProgress?: JobOptions['onProgress'];
}

async function loadDrm(spec: DrmSpec, loading: RewardLoading): Promise<Reward> {
  const { RewardModel } = await import('../../binding/index.js');
  const { device, dtype } = await chooseDevice({ device: loading.device, dtype: loading.dtype ?? 'auto' });
  const base = loading.model ?? spec.base;
  if (base === undefined)
    throw new DrmError(
      'USAGE',
      `--reward ${spec.name}: this file does not say which model it was trained on, whose VAE and text encoders it needs; name that with --model`,
    );
  const model = await resolveModel(base, {}).catch((error: unknown) => {
    if (loading.model !== undefined || !(error instanceof DrmError)) throw error;
    throw new DrmError(
      error.code,
      `[reward] ${spec.name} was trained on ${base}, which is not here: ${error.message}; or name another place with --model`,
      error.details,
      { cause: error },
    );
  });
  const tokenizer = loadTokenizers(model.tokenizers);
  const reward = await RewardModel.load(
    { checkpoint: spec.checkpoint, base: model.source },
    { device, dtype },
    {
      ...(loading.signal && { signal: loading.signal }),
      ...(loading.onProgress && { onProgress: loading.onProgress }),
    },
  );
  return new DrmReward(spec, reward, weightsFingerprint({ checkpoint: spec.checkpoint, ...model.source }), {
    encode: async (prompts) => {
      const rows: PromptTokens[] = [];
      let cut = 0;
      for (const prompt of prompts) {
        const { tokens, truncated } = await tokenizer.encode(prompt, reward.info.t5Length);
        rows.push(tokens);
        if (truncated.length > 0) cut += 1;
      }
      if (cut > 0) loading.onWarning?.(`${spec.name}: the text encoders do not see the end of ${cut} long prompts`);
      return rows;
    },
  });
}

class DrmReward implements Reward {
  readonly unit = 'score';
  readonly noisy = true;
  readonly name: string;
  readonly schedule: ArrayLike<number>;
  readonly sizes: readonly number[];

  constructor(
    spec: RewardSpec,
    private readonly model: RewardModel,
    readonly weights: string,
    private readonly text: { encode: (prompts: string[]) => Promise<PromptTokens[]> },
  ) {
    this.name = spec.name;
    this.schedule = model.info.schedule;
    this.sizes = [model.info.size];
  }

  definitions({ levels, addNoise, draws, seed, posteriorSample, size = this.model.info.size }: Viewing): string[] {
    const latent = posteriorSample ? `drawn from the VAE's posterior (seed ${seed})` : "the VAE's mode";
    return levels.map((level) => {
      const noisy = addNoise && level.timestep > 0;
      const what = noisy
        ? `noise of level ${level.sigma} added to the latent (${latent}), seed ${seed}, network conditioned on that timestep`
        : `clean latent, ${latent}, no noise added${level.timestep > 0 ? ', network conditioned on that timestep all the same' : ''}`;
      const averaged = draws > 1 && (noisy || posteriorSample) ? `, mean of ${draws} draws` : '';
      return `${levelText(level)}: ${what}${averaged}, pictures at ${size} x ${size}`;
    });
  }

  async score(judged: readonly Judged[], viewing: Viewing, job: JobOptions = {}): Promise<number[][]> {
    const { levels, addNoise, draws, seed, posteriorSample, size } = viewing;
    const { all, of } = distinct(judged.map(({ prompt }) => prompt));
    const scores = await this.model.score(
      {
        pictures: judged.map(({ picture }) => picture),
        prompts: await this.text.encode(all),
        promptOf: of,
        samples: judged.map(({ key }) => key),
        timesteps: levels.map(({ timestep }) => timestep),
        draws,
        seed: BigInt(seed),
        posteriorSample,
        addNoise,
        ...(size !== undefined && { size }),
      },
      job,
    );
    return levels.map((_, row) => Array.from(scores.subarray(row * judged.length, (row + 1) * judged.length)));
  }

  dispose(): void {
    this.model.dispose();
  }
}

async function loadScorerReward({ name, scorer: at }: ScorerSpec, loading: RewardLoading): Promise<Reward> {
  const { device } = await chooseDevice({ device: loading.device, dtype: 'fp32' });
  const scorer = await loadScorer(at, {
    device,
    dtype: 'fp32',
    ...(loading.signal && { signal: loading.signal }),
    ...(loading.onWarning && { onWarning: loading.onWarning }),
  });
  return {
    name,
    unit: scorer.unit,
    weights: weightsFingerprint({ scorer: { weights: await scorerWeights(at) } }),
    noisy: false,
    sizes: [],
    ...(scorer.scale !== undefined && { scale: scorer.scale }),
    definitions: ({ levels }) =>
      levels.map((level) => `${levelText(level)}: ${scorer.unit} of picture and prompt, no noise`),
    score: async (judged, { levels }, job) => {
      const pictures = judged.map(({ picture }) => picture);
      const { space } = scorer;
      const same = (scores: number[]) => levels.map(() => scores);
      if (!space)
        return same(
          await scorer.score(
            pictures,
            judged.map(({ prompt }) => prompt),
            job,
          ),
        );
      const { all, of } = distinct(judged.map(({ prompt }) => prompt));
      const said = await space.captions(all, job);
      const seen = await space.pictures(pictures, job);
      return same(judged.map((_, i) => cosine(seen, i, said, of[i] as number)));
    },
    dispose: () => scorer.dispose(),
  };
}

class Sum implements Reward {
  readonly unit = 'weighted sum';
  readonly noisy: boolean;
  readonly weights: string;
  readonly schedule?: ArrayLike<number>;
  readonly sizes: readonly number[];

  constructor(
    readonly name: string,
    private readonly parts: { weight: number; reward: Reward }[],
  ) {
    this.noisy = parts.every(({ reward }) => reward.noisy);
    this.weights = parts.map(({ weight, reward }) => `${weight}*${reward.weights}`).join('+');
    const models = parts.flatMap(({ reward }) => (reward.noisy ? [reward] : []));
    const schedules = distinct(models.map(({ schedule }) => Array.from(schedule ?? []).join())).all;
    if (schedules.length === 1 && models[0]?.schedule) this.schedule = models[0].schedule;
    this.sizes = parts.flatMap(({ reward }) => reward.sizes);
  }

  definitions(viewing: Viewing): string[] {
    const parts = this.parts.map(({ weight, reward }) => ({ weight, reward, of: reward.definitions(viewing) }));
    return viewing.levels.map((_, t) =>
      parts.map(({ weight, reward, of }) => `${weight} * ${reward.name} (${of[t]})`).join(' + '),
    );
  }

  async score(judged: readonly Judged[], viewing: Viewing, job?: JobOptions): Promise<number[][]> {
    let sums = viewing.levels.map(() => judged.map(() => 0));
    for (const { weight, reward } of this.parts) {
      const scores = await reward.score(judged, viewing, job);
      sums = sums.map((row, t) => row.map((sum, i) => sum + weight * (scores[t]?.[i] as number)));
    }
    return sums;
  }

  dispose(): void {
    for (const { reward } of this.parts) reward.dispose();
  }
}

const loadOne = (spec: RewardSpec, loading: RewardLoading): Promise<Reward> =>
  spec.kind === 'drm' ? loadDrm(spec, loading) : loadScorerReward(spec, loading);

async function loadParts(parts: WeightedReward[], loading: RewardLoading): Promise<Reward[]> {
  const loaded: Reward[] = [];
  try {
    for (const { reward } of parts) loaded.push(await loadOne(reward, loading));
    return loaded;
  } catch (error) {
    for (const reward of loaded) reward.dispose();
    throw error;
  }
}

/** The rewards of these names, in order. All names are looked up before the first is loaded. */
export async function loadRewards(names: readonly string[], loading: RewardLoading): Promise<Reward[]> {
  const found = names.map((name) => ({ name, parts: parseRewards(name) }));
  const rewards: Reward[] = [];
  try {
    for (const { name, parts } of found) {
      const loaded = await loadParts(parts, loading);
      const [first] = loaded as [Reward];
      const plain = parts.length === 1 && parts[0]?.weight === 1;
      rewards.push(
        plain
          ? first
          : new Sum(
              name,
              loaded.map((reward, i) => ({ reward, weight: (parts[i] as WeightedReward).weight })),
            ),
      );
    }
    return rewards;
  } catch (error) {
    for (const reward of rewards) reward.dispose();
    throw error;
  }
}
