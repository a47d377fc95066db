// `drm grpo`: an adapter of a text-to-image model by policy gradients, from its settings to what the training loop runs.
// The run's model/ holds pytorch_lora_weights.safetensors.
import type { GrpoSettings } from '../config/types.js';
import type { Prepared, TaskContext } from '../train/run.js';
import type { TrainingData } from '../train/training_task.js';
import { algorithmOf } from './algorithms/registry.js';
import { findPolicy, loadPolicy } from './load_policy.js';
import { type IterationPlan, planner } from './plan.js';
import { PolicyTask } from './policy_task.js';

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
  return {
    task: new PolicyTask(s, parts, context),
    data: new Iterations(plan, geometry.rows * geometry.updates),
    steps: s.iterations,
    loop: { previewEvery: s.evaluate_every, evaluateFirst: true },
    facts: {
      algorithm: algorithmOf(s).label,
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
