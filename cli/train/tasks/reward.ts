// `drm train`: a reward model from preference pairs. The run's model/ is its folder (see cli/rewards/describe.ts).
import { DrmError } from '../../../binding/error.js';
import type { TrainSettings } from '../../config/types.js';
import { loadTokenizers, type PromptTokenizer } from '../../text/tokenizer.js';
import { cutWarnings } from '../fit.js';
import { type Prepared, type TaskContext, trainerOptions } from '../run.js';
import { imageWarnings } from './images.js';
import { openPairs, PairData, type PairForm, type PairPart, type PairParts } from './pairs.js';
import { chooseInputs, giveInputs, type RewardInputs } from './reward_inputs.js';
import { plannedObjective, planReward, type RewardPlan } from './reward_plan.js';
import { RewardTask } from './reward_task.js';

type Warn = (message: string) => void;

export async function prepareReward(s: TrainSettings, context: TaskContext): Promise<Prepared> {
  const warn: Warn = (message) => context.events.emit({ event: 'warning', message });
  const warnOfImage = imageWarnings(context.events);
  const plan = await planReward(s, warn);
  const parts = await openPairs(s, context.events);
  try {
    return await prepareWith(parts, plan, s, { warn, warnOfImage }, context);
  } catch (error) {
    await parts.close();
    throw error;
  }
}

/** `parts` lose the pairs whose images cannot be read, and are closed with what is returned. */
async function prepareWith(
  parts: PairParts,
  plan: RewardPlan,
  s: TrainSettings,
  { warn, warnOfImage }: { warn: Warn; warnOfImage: Warn },
  context: TaskContext,
): Promise<Prepared> {
  const { device, dtype, signal, team } = context;
  const used = [parts.train, ...(parts.heldOut ? [parts.heldOut.first(s.evaluate_samples)] : [])];
  const tokenizer = loadTokenizers(plan.base.tokenizers);
  const inputs = await chooseInputs(s, plan, used, tokenizer, context);
  const { Trainer } = await import('../../../binding/index.js');
  const trainer = await Trainer.create(plannedObjective(s, plan), trainerOptions(s, device, dtype), {
    signal,
    group: team.group,
  });
  try {
    const bad = await giveInputs(trainer, inputs, { settings: s, parts: used, tokenizer }, warnOfImage, context);
    const leftOut = bad ? await leaveOut(bad, parts, s) : 0;
    const form = formOf(s, inputs, tokenizer, { warn, warnOfImage });
    const { train } = parts;
    return {
      task: new RewardTask(trainer, s, plan, parts, form, inputs.texts),
      data: new PairData(train, s, form, team, leftOut),
      steps: s.steps > 0 ? s.steps : Math.max(1, Math.ceil((s.epochs * train.length) / s.batch)),
      facts: factsOf(s, plan, parts, trainer.parameters),
      close: async () => {
        trainer.dispose();
        await parts.close();
      },
    };
  } catch (error) {
    trainer.dispose();
    throw error;
  }
}

/** Takes pairs with these images out of the parts; returns how many of training. Throws BAD_FILE when no batch is left. */
async function leaveOut(
  bad: ReadonlyMap<PairPart['set'], Set<number>>,
  parts: PairParts,
  s: TrainSettings,
): Promise<number> {
  const without = (part: PairPart) => part.without(bad.get(part.set) ?? new Set());
  const before = parts.train.length;
  parts.train = await without(parts.train);
  if (parts.heldOut) parts.heldOut = await without(parts.heldOut.first(s.evaluate_samples));
  if (parts.train.length < s.batch)
    throw new DrmError(
      'BAD_FILE',
      `[train] ${s.data}: expected at least ${s.batch} pairs whose images can be read, a batch, found ${parts.train.length} of ${before}; check it with \`drm data inspect ${s.data} --verify\``,
      { file: s.data },
    );
  return before - parts.train.length;
}

/** With each batch comes what the trainer does not keep. */
function formOf(
  s: TrainSettings,
  { texts, latents }: RewardInputs,
  tokenizer: PromptTokenizer,
  { warn, warnOfImage }: { warn: Warn; warnOfImage: Warn },
): PairForm {
  const cut = cutWarnings(warn);
  return {
    size: s.size,
    pass: s.micro_batch,
    pixels: !latents,
    onWarning: warnOfImage,
    ...(!texts && {
      tokens: async (prompt: string) => {
        const { tokens, truncated } = await tokenizer.encode(prompt, s.t5_length);
        if (truncated.length > 0) cut(prompt);
        return tokens;
      },
    }),
  };
}

const factsOf = (s: TrainSettings, plan: RewardPlan, { train, heldOut, note }: PairParts, parameters: number) => ({
  model: s.model,
  blocks: `${plan.keepLayers}/${plan.layers}`,
  ...(s.backbone !== 'full' && { backbone: s.backbone }),
  ...(s.init === 'random' && { init: s.init }),
  ...(plan.from && { from: plan.from.name }),
  parameters,
  pairs: train.length,
  ...(heldOut && { held_out: heldOut.length, held_out_from: note }),
  size: s.size,
});
