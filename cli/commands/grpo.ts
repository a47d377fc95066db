import { DrmError } from '../../binding/error.js';
import { defineCommand } from '../common/command.js';
import { flagOf, toNumber } from '../common/options.js';
import type { GrpoSettings } from '../config/types.js';
import { algorithmOf, algorithmOptions, algorithmsGiven, allAlgorithms } from '../grpo/algorithms/registry.js';
import { LEARNING_RATE, RUN_OPTIONS } from '../train/options.js';

export const command = defineCommand({
  name: 'grpo',
  summary: 'fine-tune a base by reinforcement learning from a reward, as an adapter (LoRA)',
  examples: [
    {
      command: 'drm grpo --step --config grpo/tiny-step --out runs/step',
      does: 'Step-GRPO on the embedded model: a reward at every step',
    },
    {
      command:
        'drm grpo --config grpo/sd35-medium-flow --reward runs/reward --prompts pickscore --nproc 4 --out runs/flow',
      does: 'Flow-GRPO on four GPUs: a reward at the end',
    },
    { command: 'drm grpo --config grpo/tiny-step --plan', does: 'says what a run consists of, takes and needs' },
    { command: 'drm grpo --out runs/step --resume', does: 'goes on where that run stopped' },
  ],
  options: [
    ...algorithmOptions(),
    { flags: '--model <model>', description: 'the base that the adapter is for' },
    { flags: '--reward <reward>', description: 'a reward model, a scorer, or a weighted sum 0.7*drm:A+0.3*judge' },
    { flags: '--prompts <file>', description: "prompts to train on, or a folder of flow_grpo's; else the model's own" },
    { flags: '--eval-prompts <file>', description: 'held-out prompts; else the test list beside --prompts' },
    { flags: '--judge <scorer>', description: 'scorer of held-out images that has no part in the reward' },
    { flags: '--k <n>', description: 'Step-GRPO: candidates of a state', parse: toNumber },
    { flags: '--group <n>', description: 'Flow-GRPO: trajectories of a prompt', parse: toNumber },
    { flags: '--prompts-per-iteration <n>', description: 'different prompts an iteration', parse: toNumber },
    { flags: '--iterations <n>', description: 'iterations in all: sampling, then updates', parse: toNumber },
    { flags: '--denoising-steps <n>', description: 'steps of sampling in training', parse: toNumber },
    { flags: '--batch <n>', description: 'trajectories a network call in sampling', parse: toNumber },
    { flags: '--micro-batch <n>', description: 'trajectories a pass in updates, for less memory', parse: toNumber },
    LEARNING_RATE,
    { flags: '--seed <n>', description: 'of the adapter, the order of prompts and all noise', parse: toNumber },
    {
      flags: '--stop-when <warning>',
      description: 'end well when it is given, as judge-falls; may be repeated',
      repeatable: true,
    },
    { flags: '--plan', description: 'print geometry, time and memory by phase, and exit' },
    { flags: '--dry-run', description: 'run one step of every phase, print what it took, and exit' },
    ...RUN_OPTIONS,
  ],
  tasks: ['grpo'],
  makesFiles: ({ options }) => !options.plan && !options.dryRun,
  async run(context) {
    const { options } = context;
    const { runFolder, runSettings, trainInRun, trainingFlags } = await import('../train/run.js');
    const { recommendedSettingsFile: recommended } = await import('../hub/resolve.js');
    const only: string[] = (['plan', 'dryRun'] as const).filter((name) => options[name]);
    if (only.length > 0 && options.resume) only.push('resume');
    excludeEachOther(only);
    const chosen = algorithmsGiven(options);
    excludeEachOther(chosen.map(({ flag }) => flag));
    const folder = only.length > 0 ? '' : runFolder(context, 'grpo', 'runs/grpo');
    const flags = {
      ...trainingFlags(context),
      algorithm: chosen[0]?.name,
      model: options.model,
      reward: options.reward,
      prompts: options.prompts,
      evaluate_prompts: options.evalPrompts,
      judge: options.judge,
      k: options.k,
      group: options.group,
      prompts_per_iteration: options.promptsPerIteration,
      iterations: options.iterations,
      denoising_steps: options.denoisingSteps,
      micro_batch: options.microBatch,
      stop_when: options.stopWhen,
    };
    const settings = await runSettings('grpo', context, folder, { flags, recommended });
    fitsAlgorithm(settings, options);
    const { prepareCheckpoints } = await import('../train/tasks/checkpoint_names.js');
    await prepareCheckpoints([settings.model, settings.reward, settings.judge], context);
    if (options.plan) return (await import('../grpo/plan_command.js')).showPlan(settings, context);
    if (options.dryRun) return (await import('../grpo/plan_command.js')).dryRun(settings, context);
    const { preparePolicy } = await import('../grpo/prepare_policy.js');
    await trainInRun(context, { name: 'grpo', folder, settings, exact: true }, (made) => preparePolicy(settings, made));
  },
});

/** Throws DrmError USAGE for more than one of these flags. */
function excludeEachOther(given: readonly string[]): void {
  if (given.length < 2) return;
  throw new DrmError('USAGE', `grpo: ${given.map(flagOf).join(' and ')} exclude each other; leave one of the two out`);
}

/** A flag that only other algorithms read would be without effect. */
function fitsAlgorithm(settings: GrpoSettings, options: { k: number | undefined; group: number | undefined }): void {
  const chosen = algorithmOf(settings);
  for (const { label, flag, groupFlags, groupMembers } of allAlgorithms()) {
    const foreign = groupFlags.find((name) => options[name] !== undefined && !chosen.groupFlags.includes(name));
    if (foreign === undefined) continue;
    const own = flagOf(chosen.groupFlags[0]);
    const instead = flag
      ? `add ${flagOf(flag.name)}, or give ${own}`
      : `those of ${chosen.label} are ${chosen.groupMembers}, give ${own}`;
    throw new DrmError('USAGE', `${flagOf(foreign)}: is for ${label}, whose groups are ${groupMembers}; ${instead}`);
  }
}
