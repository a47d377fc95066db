// A diffusion reward model, loaded with its base: the base's VAE and text encoders make what it sees.
import { DrmError } from '../../binding/error.js';
import type { RewardModel } from '../../binding/index.js';
import type { JobOptions, PromptTokens } from '../../binding/types.js';
import { chooseDevice } from '../common/device.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { resolveModel } from '../hub/resolve.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { levelText } from './levels.js';
import { distinct, type Judged, type LatentSpace, type Reward, type Viewing } from './reward.js';
import type { DrmSpec, RewardLoading } from './spec.js';

/** Throws DrmError USAGE where the base is not known, and what the hub and the core throw. */
export async function loadDrm(spec: DrmSpec, loading: RewardLoading): Promise<Reward> {
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
  const encode = async (prompts: string[]) => {
    const rows: PromptTokens[] = [];
    let cut = 0;
    for (const prompt of prompts) {
      const { tokens, truncated } = await tokenizer.encode(prompt, reward.info.t5Length);
      rows.push(tokens);
      if (truncated.length > 0) cut += 1;
    }
    if (cut > 0) loading.onWarning?.(`${spec.name}: the text encoders do not see the end of ${cut} long prompts`);
    return rows;
  };
  const weights = weightsFingerprint({ checkpoint: spec.checkpoint, ...model.source });
  return new DrmReward(spec.name, reward, weights, encode);
}

class DrmReward implements Reward {
  readonly unit = 'score';
  readonly sees = 'noisy latents';
  readonly latents: LatentSpace;

  constructor(
    readonly name: string,
    private readonly model: RewardModel,
    readonly weights: string,
    private readonly encode: (prompts: string[]) => Promise<PromptTokens[]>,
  ) {
    this.latents = { schedule: model.info.schedule, sizes: [model.info.size] };
  }

  definitions({ levels, addNoise, draws, seed, posteriorSample, size = this.model.info.size }: Viewing): string[] {
    const latent = posteriorSample ? `drawn from the VAE's posterior (seed ${seed})` : "the VAE's mode";
    return levels.map((level) => {
      const noisy = addNoise && level.timestep > 0;
      const what = noisy
        ? `noise of level ${level.sigma} added to the latent (${latent}), seed ${seed}, network conditioned on that timestep`
        : `clean latent, ${latent}, no noise added${level.timestep > 0 ? ', network conditioned on that timestep all the same' : ''}`;
      const averaged = draws > 1 && (noisy || posteriorSample) ? `, mean of ${draws} draws` : '';
      return `${levelText(level)}: ${what}${averaged}, images at ${size} x ${size}`;
    });
  }

  async score(judged: readonly Judged[], viewing: Viewing, job: JobOptions = {}): Promise<number[][]> {
    const { levels, addNoise, draws, seed, posteriorSample, size } = viewing;
    const { all, of } = distinct(judged.map(({ prompt }) => prompt));
    const scores = await this.model.score(
      {
        images: judged.map(({ image }) => image),
        prompts: await this.encode(all),
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
