import type { DrmError } from '../../binding/error.js';
import type { Bitmap, Dtype, PolicySampleRequest, Rollout, RolloutRequest, StepRequest } from '../../binding/types.js';
import type { Event } from '../../cli/common/events.js';
import type { GrpoSettings } from '../../cli/config/types.js';
import { geometryOf } from '../../cli/grpo/geometry.js';
import { HeldOut } from '../../cli/grpo/held_out.js';
import { planner } from '../../cli/grpo/plan.js';
import type { PolicyTrainer } from '../../cli/grpo/policy_parts.js';
import { PolicyTask } from '../../cli/grpo/policy_task.js';
import { RewardParts } from '../../cli/grpo/reward_parts.js';
import { PromptTexts } from '../../cli/grpo/texts.js';
import { Team } from '../../cli/parallel/team.js';
import type { Reward } from '../../cli/rewards/reward.js';
import { grpoSettings } from './settings.js';

export const PROMPTS = ['a cat', 'a dog', 'a cow', 'a hen'];
export const FLOW = { prompts_per_iteration: 2, group: 4, batch: 3, denoising_steps: 4, evaluate_samples: 2 } as const;
export const STEP = { ...FLOW, algorithm: 'step', prompts_per_iteration: 4, k: 3, batch: 2 } as const;

/** A reward of a sample at a step: looks random, and is a function of these alone. */
export const drawn = (...keys: number[]) =>
  Math.fround(Math.sin(keys.reduce((sum, key, i) => sum + (i + 1) * 12.9898 * key, 1)));
export const gray = (value: number): Bitmap => ({ pixels: new Uint8Array(12).fill(value), width: 2, height: 2 });

export interface Behaviour {
  ratioError?: number;
  /** Of sample, step of the window and candidate. */
  score?: (sample: number, step: number, candidate: number) => number;
  fails?: DrmError;
  brightness?: (look: number) => number;
}

export class FakeTrainer implements PolicyTrainer {
  readonly spread = false;
  readonly parameters = 8;
  rollouts: RolloutRequest[] = [];
  steps: StepRequest[] = [];
  samples: PolicySampleRequest[] = [];
  /** Each (sample number, denoising step) that was learned from, with its advantages. */
  learned = new Map<string, number[]>();
  #rows: number[] = [];
  #iteration = -1;

  constructor(private readonly behaviour: Behaviour = {}) {}

  async rollout(request: RolloutRequest): Promise<Rollout> {
    const { score = drawn, fails } = this.behaviour;
    if (fails) throw fails;
    if (request.iteration !== this.#iteration) this.#rows = [];
    this.#iteration = request.iteration;
    this.rollouts.push(request);
    const firstRow = this.#rows.length;
    this.#rows.push(...request.samples);
    const steps = request.until - request.from;
    const count = request.k > 1 ? steps : request.score === 'states' ? steps + 1 : 1;
    const scores = request.rewards.map(() =>
      Float32Array.from({ length: count * request.samples.length * request.k }, (_, i) => {
        const row = Math.floor(i / request.k) % request.samples.length;
        const step = Math.floor(i / request.k / request.samples.length);
        return score(request.samples[row] as number, step, i % request.k);
      }),
    );
    const images = request.images ? request.samples.map((sample) => gray(sample)) : [];
    return { firstRow, scores, encodeSeconds: 0, policySeconds: 0, rewardSeconds: 0, decodeSeconds: 0, images };
  }

  async step(request: StepRequest): Promise<Record<string, number>> {
    this.steps.push(request);
    for (const { samples, step, advantages } of request.batches)
      for (const [i, row] of samples.entries()) {
        const each = (advantages?.length ?? 0) / samples.length;
        const own = [...(advantages ?? [])].slice(i * each, (i + 1) * each);
        this.learned.set(`${this.#rows[row]} ${step}`, own);
      }
    return { loss: 0.5, kl: 0.01, ratio: 1, ratio_variance: 4e-8, 'ratio_variance/1': 1e-8, grad_norm: 1 };
  }

  async ratioError(): Promise<number> {
    return this.behaviour.ratioError ?? 0;
  }

  async sample(request: PolicySampleRequest) {
    const { brightness = () => 200 } = this.behaviour;
    this.samples.push(request);
    const look = Math.floor((this.samples.length - 1) / Math.ceil(2 / 3));
    const images = request.seeds.map(() => gray(brightness(look)));
    return { images, scores: request.rewards.map(() => Float32Array.from(request.seeds, (seed) => seed)) };
  }

  async save(): Promise<void> {}
  async restore(): Promise<void> {}
  async export(): Promise<void> {}
}

/** Gives each text its own length as tokens. */
export const tokenizer = {
  encode: async (text: string, t5Length: number) => ({
    tokens: {
      clipL: BigInt64Array.of(BigInt(text.length)),
      clipG: new BigInt64Array(0),
      t5: new BigInt64Array(t5Length),
    },
    truncated: [],
  }),
};

export const reads = (t5Length: number) =>
  ({ handle: () => ({ tokens: t5Length }), info: { t5Length }, dispose: () => {} }) as unknown as NonNullable<
    Parameters<typeof RewardParts.of>[0]['latent']
  >[0]['model'];

export const scorer = (score: (value: number) => number): Reward => ({
  ...{ name: 'fake', unit: 'score', weights: '', sees: 'images', definitions: () => [''] },
  score: async (judged) => [judged.map(({ image }) => score(image.pixels[0] as number))],
  dispose: () => {},
});

export interface Setup extends Behaviour {
  changes?: Partial<GrpoSettings>;
  rewards?: RewardParts;
  team?: Team;
  dtype?: Dtype;
  held?: boolean;
}

export function setUp({
  changes = FLOW,
  rewards,
  team = Team.solo,
  dtype = 'fp32',
  held = false,
  ...behaviour
}: Setup = {}) {
  const s = grpoSettings({ t5_length: 8, ...changes });
  const trainer = new FakeTrainer(behaviour);
  const geometry = geometryOf(s, team.size);
  const parts = rewards ?? RewardParts.of({ latent: [{ weight: 1, model: reads(8) }] });
  const texts = new PromptTexts(tokenizer, { policy: s.t5_length, reward: parts.t5Length });
  const heldOut = held
    ? new HeldOut(s, ['a fox', 'an owl'], { trainer, rewards: parts, texts, judge: undefined })
    : undefined;
  const events: Event[] = [];
  const task = new PolicyTask(
    s,
    { trainer, geometry, rewards: parts, prompts: PROMPTS, texts, heldOut },
    { events: { emit: (event) => events.push(event) }, signal: new AbortController().signal, dtype, team },
  );
  const plan = planner(s, geometry, PROMPTS.length);
  return {
    ...{ task, trainer, events, plan },
    step: (index: number) => task.step(index, plan(index), 1e-4),
    said: (kind: 'warning' | 'info') => events.flatMap((event) => (event.event === kind ? [event.message] : [])),
  };
}

/** Several tasks that exchange what they say, as processes of a team do. */
export function teamOf(size: number): Team[] {
  let round: { texts: string[]; done: Promise<void>; finish: () => void } | undefined;
  const begin = () => {
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    return { texts: [] as string[], done, finish };
  };
  return Array.from({ length: size }, (_, rank) => ({
    ...{ rank, size, first: rank === 0, alone: false },
    exchange: async (value: unknown) => {
      round ??= begin();
      const mine = round;
      mine.texts[rank] = JSON.stringify(value);
      if (mine.texts.filter((text) => text !== undefined).length === size) {
        round = undefined;
        mine.finish();
      }
      await mine.done;
      return mine.texts.map((text) => JSON.parse(text));
    },
  })) as unknown as Team[];
}

export const sorted = (learned: Map<string, number[]>) => [...learned].sort(([a], [b]) => (a < b ? -1 : 1));
