// A policy and its rewards: what settings and files say of them, and then all of it loaded.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { PolicyTrainer } from '../../binding/index.js';
import type { Events } from '../common/events.js';
import { badSetting } from '../config/bad_setting.js';
import type { GrpoSettings } from '../config/types.js';
import type { ResolvedModel } from '../hub/resolve.js';
import type { Team } from '../parallel/team.js';
import { findImageReward } from '../rewards/registry.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { cutWarnings, partsFit, targetsFit, trainableBase } from '../train/fit.js';
import { type TaskContext, trainerOptions } from '../train/run.js';
import { imageSize } from '../train/tasks/encoded.js';
import { algorithmOf } from './algorithms/registry.js';
import { type Geometry, geometryOf } from './geometry.js';
import { HeldOut } from './held_out.js';
import type { PolicyParts } from './policy_parts.js';
import { type PromptLists, promptLists } from './prompts.js';
import { type FoundReward, findRewardParts, RewardParts } from './reward_parts.js';
import { PromptTexts } from './texts.js';

/** All that settings and files say of a run, before anything large is loaded. */
export interface FoundPolicy {
  base: ResolvedModel;
  /** config.json of its transformer. */
  transformer: string;
  geometry: Geometry;
  lists: PromptLists;
  reward: FoundReward;
}

/** Throws DrmError USAGE, BAD_CONFIG, BAD_FILE or MISSING_WEIGHTS for what cannot be trained. */
export async function findPolicy(s: GrpoSettings, team: Pick<Team, 'size'>, events: Events): Promise<FoundPolicy> {
  const say = {
    info: (message: string) => events.emit({ event: 'info', message }),
    warn: (message: string) => events.emit({ event: 'warning', message }),
  };
  if (s.model === '')
    throw new DrmError('USAGE', 'grpo: expected --model, the base that is adapted, such as tiny or sd3.5-medium');
  const geometry = geometryOf(s, team.size);
  checkSettings(s);
  const { base, transformer } = await trainableBase('grpo', s, 128);
  partsFit(s.size || imageSize(base), base.source);
  if (s.lora_from === '') await targetsFit(s.lora_targets, base.source.transformer.weights);
  else if (!existsSync(s.lora_from))
    throw new DrmError(
      'BAD_FILE',
      `[grpo] lora_from ${s.lora_from}: expected an adapter to go on from, such as RUN/model/pytorch_lora_weights.safetensors, found no such file`,
      { file: s.lora_from },
    );
  const reward = await findRewardParts(s, base, say.warn);
  if (reward.images.some(({ reward }) => reward.name === s.judge))
    say.warn(`${s.judge} judges what it is also part of the reward of: choose another --judge to tell cheating by`);
  const lists = promptLists(s, dirname(dirname(transformer)), say);
  const needsJudge = s.stop_when.includes('judge-falls') && (s.judge === '' || !lists.heldOut);
  if (needsJudge)
    throw new DrmError(
      'BAD_CONFIG',
      `[grpo] stop_when: expected a judge and held-out prompts for judge-falls, found ${s.judge === '' ? 'no judge; give --judge SCORER' : 'no such prompts; give --eval-prompts FILE'}`,
      { key: 'stop_when' },
    );
  return { base, transformer, geometry, lists, reward };
}

function checkSettings(s: GrpoSettings): void {
  const { noise_level: level } = s;
  if (level === 0)
    throw badSetting(
      'grpo',
      'noise_level',
      'expected a number above 0, found 0, which leaves nothing to learn: without noise every step has one outcome, which no update makes more or less likely; 0.7 is usual',
      { found: String(level) },
    );
  if (s.sde === 'cps' && level > 1)
    throw badSetting('grpo', 'noise_level', `expected at most 1 with sde=cps, found ${level}; 0.8 is usual`, {
      found: String(level),
    });
  algorithmOf(s).checkSettings?.(s);
}

/** A model and its rewards, loaded, and what runs on them. */
export interface LoadedPolicy {
  parts: PolicyParts & { trainer: PolicyTrainer };
  close(): Promise<void>;
}

export async function loadPolicy(
  s: GrpoSettings,
  { base, geometry, lists, reward }: FoundPolicy,
  { events, device, dtype, signal, team }: TaskContext,
): Promise<LoadedPolicy> {
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const { PolicyTrainer } = await import('../../binding/index.js');
  const trainer = await PolicyTrainer.of({ source: base.source, settings: s }, trainerOptions(s, device, dtype), {
    signal,
    group: team.group,
  });
  let rewards: RewardParts | undefined;
  try {
    const loaded = await RewardParts.load(reward, { device, dtype, signal, onWarning: warn });
    rewards = loaded;
    const tokenizer = loadTokenizers(base.tokenizers);
    const rewardLength = base.tokenizers.t5 === undefined ? undefined : loaded.t5Length;
    const texts = new PromptTexts(tokenizer, { policy: s.t5_length, reward: rewardLength }, cutWarnings(warn));
    // The first process alone evaluates.
    const judge =
      lists.heldOut && s.judge !== '' && team.first
        ? await findImageReward(s.judge).load({ device, dtype: 'fp32', signal, onWarning: warn })
        : undefined;
    const shown = lists.heldOut?.prompts.slice(0, s.evaluate_samples);
    const heldOut = shown && new HeldOut(s, shown, { trainer, rewards: loaded, texts, judge });
    const parts = {
      trainer,
      geometry,
      rewards: loaded,
      prompts: lists.train,
      texts,
      heldOut,
    };
    return {
      parts,
      close: async () => {
        heldOut?.dispose();
        loaded.dispose();
        trainer.dispose();
      },
    };
  } catch (error) {
    rewards?.dispose();
    trainer.dispose();
    throw error;
  }
}
