// `drm grpo`: an adapter of a text-to-image model by policy gradients. A step of the loop is an iteration: trajectories are
// collected with the adapter as it is, their rewards compared, and the adapter updated by them. The run's model/ holds
// pytorch_lora_weights.safetensors.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { Trainer } from '../../binding/index.js';
import type { AdvantageRequest, Advantages } from '../../binding/types.js';
import { writeAtomically } from '../common/files.js';
import { readShaped } from '../common/json.js';
import { commandLine } from '../common/options.js';
import { count, objectOf } from '../common/shape.js';
import type { GrpoSettings } from '../config/types.js';
import { contactSheet } from '../image/write.js';
import type { TrainingData, TrainingTask, Values } from '../train/loop.js';
import type { Prepared, TaskContext } from '../train/run.js';
import { STATE } from '../train/tasks/native.js';
import { COUNTS, shortNumber } from '../ui/figures.js';
import type { HeldOut, Look } from './held_out.js';
import { findPolicy, loadPolicy } from './load_policy.js';
import { MONITOR_STATE, Monitor, type MonitorState } from './monitor.js';
import { type Geometry, type IterationPlan, planner, sharesOf } from './plan.js';
import type { RewardParts } from './reward_parts.js';
import {
  anyTeaches,
  assembled,
  type Compared,
  compared,
  type Graded,
  gains,
  joined,
  packed,
  passesOf,
  type Sampled,
  unpacked,
} from './rewards.js';
import type { PromptTexts } from './texts.js';

/** Beside the trainer's state: what this task itself has to remember. */
const OWN_STATE = 'policy.json';
/** Of the ratio before the first update, in fp32. */
const RATIO_ERROR = 1e-5;
/** Pictures of a sample sheet. */
const SHEET = { pictures: 16, columns: 4 };

export type PolicyTrainer = Pick<
  Trainer,
  'rollout' | 'step' | 'ratioError' | 'sample' | 'save' | 'restore' | 'export' | 'spread' | 'parameters'
>;

export interface PolicyParts {
  trainer: PolicyTrainer;
  geometry: Geometry;
  rewards: RewardParts;
  /** What plans name by number. */
  prompts: readonly string[];
  texts: PromptTexts;
  heldOut: HeldOut | undefined;
  /** The core's groupAdvantages(). */
  compare: (request: AdvantageRequest) => Advantages;
}

export type PolicyContext = Pick<TaskContext, 'events' | 'signal' | 'dtype' | 'team'>;

interface OwnState {
  updates: number;
  watch: MonitorState;
}

const STATE_SHAPE = objectOf<OwnState>({ updates: count, watch: MONITOR_STATE });

/** Trajectories with their rewards: steps x trajectories x candidates. */
interface Rewarded extends Sampled {
  values: Float32Array;
}

/** What a process tells the others of its trajectories. */
interface Report {
  rewards?: string;
  /** The latents of some stopped being finite. */
  failed?: string;
}

interface Seconds {
  rollout: number;
  reward: number;
}

const since = (began: number) => (performance.now() - began) / 1000;

export class PolicyTask implements TrainingTask<IterationPlan> {
  #updates = 0;
  #monitor: Monitor;
  #checked = false;
  #look: (Look & { step: number }) | undefined;
  readonly evaluate?: (steps: number, signal: AbortSignal) => Promise<Values>;
  readonly preview?: (steps: number, folder: string, signal: AbortSignal) => Promise<string[]>;

  constructor(
    private readonly settings: GrpoSettings,
    private readonly parts: PolicyParts,
    private readonly context: PolicyContext,
  ) {
    this.#monitor = this.#monitorFrom(undefined);
    const { heldOut } = parts;
    if (!heldOut) return;
    this.evaluate = (steps, signal) => this.#evaluate(heldOut, steps, signal);
    this.preview = (steps, folder, signal) => this.#preview(heldOut, steps, folder, signal);
  }

  get savesTogether(): boolean {
    return this.parts.trainer.spread;
  }

  async step(index: number, plan: IterationPlan, learningRate: number): Promise<Values> {
    const { geometry } = this.parts;
    const seconds: Seconds = { rollout: 0, reward: 0 };
    const collected = await this.#collect(plan, seconds).catch((error: unknown) => {
      if (error instanceof DrmError && error.code === 'NOT_FINITE') return error;
      throw error;
    });
    const { advantages, figures } = await this.#compare(plan, collected);
    const shares = collected as Exclude<typeof collected, DrmError>; // else all processes have thrown by now
    const form = { window: plan.window, pass: geometry.pass, drop: this.settings.drop_zero_variance };
    await this.#checkRatio(shares[0]?.slice(0, 1) ?? [], advantages, form);
    const began = performance.now();
    const told: Values[] = [];
    const progress = this.#phase('updating', shares.length, 'update');
    for (const [update, sampled] of shares.entries()) {
      progress(update);
      if (this.#nothingToLearn(update, advantages)) continue;
      const batches = passesOf(sampled, advantages, form);
      const values = await this.parts.trainer.step({ index: index * geometry.updates + update, learningRate, batches });
      told.push(values);
      if ('grad_norm' in values) this.#updates += 1; // else fp16 overflowed, and nothing was updated
    }
    const values = inOrder({
      ...meansOf(told),
      ...figures,
      updates: this.#updates,
      rollout_seconds: seconds.rollout,
      reward_seconds: seconds.reward,
      update_seconds: since(began),
    });
    this.#tell(this.#monitor.iteration(values));
    return values;
  }

  ended(): string | undefined {
    const { on } = this.#monitor.state;
    const rule = this.settings.stop_when.find((rule) => on[rule] !== undefined);
    return rule === undefined ? undefined : `${rule}: ${on[rule]}`;
  }

  /** This process's trajectories of each update, with their rewards. */
  async #collect(plan: IterationPlan, seconds: Seconds): Promise<Rewarded[][]> {
    const { geometry } = this.parts;
    const { team } = this.context;
    const shares = sharesOf(geometry, team.rank);
    const all: Rewarded[][] = [];
    const progress = this.#phase('sampling', geometry.steps * shares.flat().length, 'step');
    let done = 0;
    for (const share of shares) {
      const sampled: Rewarded[] = [];
      for (const positions of share) {
        sampled.push(await this.#sample(plan, positions, seconds, (step) => progress(done + step)));
        done += geometry.steps;
      }
      all.push(sampled);
    }
    return all;
  }

  async #sample(
    plan: IterationPlan,
    positions: readonly number[],
    seconds: Seconds,
    onStep: (step: number) => void,
  ): Promise<Rewarded> {
    const { settings: s } = this;
    const { trainer, rewards, texts, geometry } = this.parts;
    // Alone, an interruption need not wait: nothing has changed yet, and the resumed run samples the same again.
    const job = this.context.team.alone ? { signal: this.context.signal } : {};
    const own = positions.map((position) => plan.trajectories[position] as IterationPlan['trajectories'][number]);
    const prompts = own.map(({ prompt }) => this.parts.prompts[prompt] as string);
    const began = performance.now();
    const rolled = await trainer.rollout(
      {
        iteration: plan.iteration,
        ...(await texts.request(prompts)),
        samples: own.map(({ sample }) => sample),
        latents: own.map(({ latents }) => latents),
        k: geometry.k,
        goOn: s.continue,
        ...plan.window,
        rewards: rewards.forCore(),
        score: s.credit === 'gain' ? 'states' : 'final',
        pictures: rewards.seesPictures,
      },
      { ...job, onProgress: ({ phase, step }) => phase === 'rollout' && onStep(step) },
    );
    seconds.rollout += since(began) - rolled.rewardSeconds;
    const scoring = performance.now();
    const total = await rewards.total(rolled.scores, { pictures: rolled.pictures, prompts }, job);
    seconds.reward += rolled.rewardSeconds + since(scoring);
    return {
      positions,
      firstRow: rolled.firstRow,
      values: s.credit === 'gain' ? gains(total, positions.length) : total,
    };
  }

  /** Rewards of all processes against each other: each of them comes to the same advantages. */
  async #compare({ trajectories, window }: IterationPlan, own: readonly Rewarded[][] | DrmError): Promise<Compared> {
    const { settings: s } = this;
    const { geometry, compare } = this.parts;
    const { team } = this.context;
    const graded = s.algorithm === 'step' || s.credit === 'gain' ? geometry.trained : 1;
    const form = { trajectories: trajectories.length, steps: graded, columns: geometry.k };
    const told = await team.exchange<Report>(
      own instanceof DrmError ? { failed: own.message } : { rewards: packed(joined(own.flat(), form).values) },
    );
    const failed = told.find(({ failed }) => failed !== undefined)?.failed;
    if (failed !== undefined) throw notFinite(failed);
    const all = told.map(({ rewards = '' }, rank) => ({
      positions: sharesOf(geometry, rank).flat(2),
      values: unpacked(rewards),
    }));
    const result = compared(assembled(all, form), window.from, {
      groupOf: trajectories.map(({ group }) => group),
      together: s.statistics === 'batch',
      globalDeviation: s.global_deviation,
      epsilon: s.advantage_epsilon,
      compare,
    });
    if (!Number.isFinite(result.figures.reward)) throw notFinite('no reward of the iteration is a finite number');
    return result;
  }

  /**
   * In the first iteration of a sitting: before any update the ratio is 1, but for rounding, or sampling and training are
   * not of the same policy and nothing is learned that is meant.
   */
  async #checkRatio(
    sampled: readonly Sampled[],
    advantages: Graded,
    form: Parameters<typeof passesOf>[2],
  ): Promise<void> {
    if (this.#checked) return;
    this.#checked = true;
    const { dtype, events } = this.context;
    const error = await this.parts.trainer.ratioError(passesOf(sampled, advantages, { ...form, drop: false }));
    if (dtype === 'fp32' && !(error <= RATIO_ERROR))
      throw new DrmError(
        'INTERNAL',
        `[grpo] ratio before the first update: expected 1 to within ${RATIO_ERROR} at every trained step, found it off by ${shortNumber(error)}: sampling and training are not of the same policy, and updates would not mean what they should. ${form.pass < (sampled[0]?.positions.length ?? 0) ? 'Passes of another size than in sampling may be the reason: --set micro_batch=0' : 'Stopped before anything was learned'}`,
        { expected: String(RATIO_ERROR), found: String(error) },
      );
    const { clip_range: clip } = this.settings;
    const message = `ratio before the first update: off 1 by ${shortNumber(error)} at most (${dtype})`;
    if (error > clip)
      events.emit({
        event: 'warning',
        message: `${message}, more than the clip range ${clip}: rounding alone is clipped. Train earlier steps (--set window_until=0.5), or in fp32 (--dtype fp32)`,
      });
    else events.emit({ event: 'info', message });
  }

  /** Of an update over all processes. With KL there is, but for what is dropped. */
  #nothingToLearn(update: number, advantages: Graded): boolean {
    const { drop_zero_variance: drop, kl_beta: beta } = this.settings;
    const { geometry } = this.parts;
    if (!drop && beta > 0) return false;
    const each = geometry.trajectories / geometry.updates;
    const positions = Array.from({ length: each }, (_, i) => update * each + i);
    return !anyTeaches(advantages, positions);
  }

  async #lookAt(heldOut: HeldOut, step: number, signal: AbortSignal): Promise<Look> {
    if (this.#look?.step !== step) {
      const progress = this.#phase('judging', heldOut.prompts.length, 'picture');
      this.#look = { step, ...(await heldOut.look(signal, progress)) };
    }
    return this.#look;
  }

  async #evaluate(heldOut: HeldOut, step: number, signal: AbortSignal): Promise<Values> {
    const { values, judged } = await this.#lookAt(heldOut, step, signal);
    this.#tell(this.#monitor.evaluation({ step, values, judged }));
    return values;
  }

  /** Always the same prompts and seeds, so that the sheets can be laid beside each other. */
  async #preview(heldOut: HeldOut, step: number, folder: string, signal: AbortSignal): Promise<string[]> {
    const { pictures } = await this.#lookAt(heldOut, step, signal);
    const shown = pictures.slice(0, SHEET.pictures);
    const sheet = join(folder, 'sheet.png');
    await writeAtomically(sheet, await contactSheet(shown, Math.min(SHEET.columns, shown.length)));
    await writeAtomically(join(folder, 'prompts.txt'), `${heldOut.prompts.slice(0, shown.length).join('\n')}\n`);
    return [sheet];
  }

  async save(folder: string): Promise<void> {
    await this.parts.trainer.save(join(folder, STATE));
    const own: OwnState = { updates: this.#updates, watch: this.#monitor.state };
    if (this.context.team.first) await writeAtomically(join(folder, OWN_STATE), JSON.stringify(own));
  }

  async restore(folder: string): Promise<void> {
    await this.parts.trainer.restore(join(folder, STATE));
    const { updates, watch } = readShaped(join(folder, OWN_STATE), STATE_SHAPE, { part: 'checkpoint' });
    this.#updates = updates;
    this.#monitor = this.#monitorFrom(watch);
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings: s, parts } = this;
    const model = join(runFolder, 'model');
    await mkdir(model, { recursive: true });
    const lora = join(model, 'pytorch_lora_weights.safetensors');
    await parts.trainer.export(lora, s.export_dtype, { signal });
    const sample = ['sample', '--model', s.model, '--lora', lora, '--prompt', parts.prompts[0] ?? ''];
    this.context.events.emit({ event: 'info', message: `sample with it: ${commandLine(sample)}` });
    return { updates: this.#updates, lora, parameters: parts.trainer.parameters };
  }

  #monitorFrom(state: MonitorState | undefined): Monitor {
    return new Monitor({ clipRange: this.settings.clip_range, updates: this.parts.geometry.updates }, state);
  }

  #tell(alarms: readonly { message: string }[]): void {
    if (!this.context.team.first) return; // the others' would be the same
    for (const { message } of alarms) this.context.events.emit({ event: 'warning', message });
  }

  /** How far a phase of the step is. */
  #phase(label: string, total: number, unit: string): (step: number) => void {
    const began = performance.now();
    return (step) =>
      this.context.events.emit({ event: 'progress', id: label, label, step, total, unit, seconds: since(began) });
  }
}

const notFinite = (message: string) =>
  new DrmError('NOT_FINITE', `[grpo] ${message}`, { name: 'reward', found: 'NaN' });

/** Means over an iteration's updates, or the last value; of the variance of a ratio that is 1 on average, the deviation. */
function meansOf(updates: readonly Values[]): Values {
  const names = new Set(updates.flatMap((values) => Object.keys(values)));
  const means: Values = {};
  for (const name of names) {
    const told = updates.flatMap((values) => (name in values ? [values[name] as number] : []));
    const mean = told.reduce((sum, value) => sum + value, 0) / told.length;
    if (COUNTS.includes(name)) means[name] = told.at(-1) as number;
    else if (name.startsWith('ratio_variance')) means[name.replace('variance', 'deviation')] = Math.sqrt(mean);
    else means[name] = mean;
  }
  return means;
}

/** What one looks at first. */
const FIRST = ['loss', 'reward', 'group_deviation', 'zero_variance', 'kl', 'ratio', 'ratio_deviation', 'clip_fraction'];

/** As they are shown; those of single denoising steps last. */
function inOrder(values: Values): Values {
  const rank = (name: string) =>
    FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length + Number(name.includes('/'));
  return Object.fromEntries(Object.entries(values).sort(([a], [b]) => rank(a) - rank(b)));
}

/** The iterations of this process: what there is to do is known from the number alone. */
class Iterations implements TrainingData<IterationPlan> {
  constructor(
    private readonly plan: (iteration: number) => IterationPlan,
    private readonly samples: number,
  ) {}

  async next(index: number) {
    return { batch: this.plan(index), samples: this.samples, waitedSeconds: 0 };
  }

  close(): void {}
}

export async function preparePolicy(s: GrpoSettings, context: TaskContext): Promise<Prepared> {
  const found = await findPolicy(s, context.team, context.events);
  const { geometry, lists } = found;
  const plan = planner(s, geometry, lists.train.length);
  const { parts, close } = await loadPolicy(s, found, context);
  const ours = geometry.rows * geometry.updates;
  return {
    task: new PolicyTask(s, parts, context),
    data: new Iterations(plan, ours),
    steps: s.iterations,
    loop: { previewEvery: s.evaluate_every, evaluateFirst: true },
    facts: {
      algorithm: s.algorithm === 'step' ? 'Step-GRPO' : 'Flow-GRPO',
      model: s.model,
      reward: s.reward,
      ...(parts.heldOut && s.judge !== '' && { judge: s.judge }),
      parameters: parts.trainer.parameters,
      prompts: lists.train.length,
      ...(parts.heldOut && { held_out: parts.heldOut.prompts.length }),
      trajectories: geometry.trajectories,
      group: geometry.group,
      updates_per_iteration: geometry.updates,
      samples_per_update: geometry.samples,
    },
    close,
  };
}
