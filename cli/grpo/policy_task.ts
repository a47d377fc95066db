// A policy as the training loop sees it. A step of the loop is an iteration: trajectories are collected with the adapter as
// it is, their rewards compared, and the adapter updated by them.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { secondsSince } from '../common/events.js';
import { writeAtomically } from '../common/files.js';
import { readShaped } from '../common/json.js';
import { commandLine } from '../common/options.js';
import { count, objectOf } from '../common/shape.js';
import type { GrpoSettings } from '../config/types.js';
import { STATE } from '../train/tasks/native.js';
import type { TrainingTask, Values } from '../train/training_task.js';
import { compareRewards } from './compare_rewards.js';
import { Evaluation } from './evaluation.js';
import { inOrder, updateFigures } from './figures.js';
import { MONITOR_STATE, Monitor, type MonitorState, ruleOf } from './monitor.js';
import { anyTeaches, passesOf } from './passes.js';
import { phaseProgress } from './phase_progress.js';
import type { IterationPlan } from './plan.js';
import type { PolicyContext, PolicyParts } from './policy_parts.js';
import { checkRatio } from './ratio_check.js';
import { type Collected, Rollouts } from './rollouts.js';
import type { StepValues } from './step_values.js';

/** Beside the trainer's state: what this task itself has to remember. */
const OWN_STATE = 'policy.json';

interface OwnState {
  updates: number;
  /** The monitor's; the file has had this name for it from the beginning. */
  watch: MonitorState;
}

const STATE_SHAPE = objectOf<OwnState>({ updates: count, watch: MONITOR_STATE });

export class PolicyTask implements TrainingTask<IterationPlan> {
  #updates = 0;
  #monitor: Monitor;
  #ratioChecked = false;
  readonly #rollouts: Rollouts;
  readonly evaluate?: (steps: number, signal: AbortSignal) => Promise<Values>;
  readonly preview?: (steps: number, folder: string, signal: AbortSignal) => Promise<string[]>;

  constructor(
    private readonly settings: GrpoSettings,
    private readonly parts: PolicyParts,
    private readonly context: PolicyContext,
  ) {
    this.#monitor = this.#monitorFrom(undefined);
    this.#rollouts = new Rollouts(settings, parts, context);
    if (!parts.heldOut) return;
    const evaluation = new Evaluation(parts.heldOut, context);
    this.evaluate = async (step, signal) => {
      const { values, judged } = await evaluation.look(step, signal);
      this.#tell(this.#monitor.evaluation({ step, values, judged }));
      return values;
    };
    this.preview = async (step, folder, signal) => [await evaluation.sheet(step, folder, signal)];
  }

  get savesTogether(): boolean {
    return this.parts.trainer.spread;
  }

  async step(index: number, plan: IterationPlan, learningRate: number): Promise<Values> {
    const { settings, context } = this;
    const { geometry, trainer } = this.parts;
    const collected = await this.#rollouts.collect(plan).catch((error: unknown) => {
      if (error instanceof DrmError && error.code === 'NOT_FINITE') return error;
      throw error;
    });
    const own = collected instanceof DrmError ? collected : collected.shares.flat();
    const { advantages, figures } = await compareRewards(plan, own, { settings, geometry, team: context.team });
    const { shares, rolloutSeconds, rewardSeconds } = collected as Collected; // else all processes have thrown by now
    const passes = { window: plan.window, pass: geometry.pass, drop: settings.drop_zero_variance };
    if (!this.#ratioChecked) {
      this.#ratioChecked = true;
      const first = shares[0]?.slice(0, 1) ?? [];
      await checkRatio(first, advantages, { ...passes, trainer, clipRange: settings.clip_range }, context);
    }
    const began = performance.now();
    const told: Values[] = [];
    const progress = phaseProgress(context, { label: 'updating', total: shares.length, unit: 'update' });
    for (const [update, sampled] of shares.entries()) {
      progress(update);
      if (this.#nothingToLearn(update, advantages)) continue;
      const batches = passesOf(sampled, advantages, passes);
      const values = await trainer.step({ index: index * geometry.updates + update, learningRate, batches });
      told.push(values);
      if ('grad_norm' in values) this.#updates += 1; // else fp16 overflowed, and nothing was updated
    }
    const values = inOrder({
      ...updateFigures(told),
      ...figures,
      updates: this.#updates,
      rollout_seconds: rolloutSeconds,
      reward_seconds: rewardSeconds,
      update_seconds: secondsSince(began),
    });
    this.#tell(this.#monitor.iteration(values));
    return values;
  }

  ended(): string | undefined {
    const { on } = this.#monitor.state;
    const rule = this.settings.stop_when.map(ruleOf).find((rule) => on[rule] !== undefined);
    return rule === undefined ? undefined : `${rule}: ${on[rule]}`;
  }

  /** Of an update over all processes. With KL there is, but for what is dropped. */
  #nothingToLearn(update: number, advantages: StepValues): boolean {
    const { drop_zero_variance: drop, kl_beta: beta } = this.settings;
    const { geometry } = this.parts;
    if (!drop && beta > 0) return false;
    const each = geometry.trajectories / geometry.updates;
    const positions = Array.from({ length: each }, (_, i) => update * each + i);
    return !anyTeaches(advantages, positions);
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
}
