// What a reward model that is trained is made of: its base, the blocks that it keeps, its head; what must agree before it.
import { DrmError } from '../../../binding/error.js';
import type { ComponentFiles, ModelDescription, PipelineSource, RewardObjective } from '../../../binding/types.js';
import type { TrainSettings } from '../../config/types.js';
import { describeBase } from '../../hub/description.js';
import type { ResolvedModel } from '../../hub/resolve.js';
import { baseFits, type DescribedReward, findDrm, keptByRule, otherVae } from '../../rewards/base_fit.js';
import type { RewardDescription } from '../../rewards/describe.js';
import { partsFit, readConfig, targetsFit, trainableBase } from '../fit.js';

type Head = RewardDescription['head'];

const headOf = (s: TrainSettings): Head => ({
  channels: s.head_channels,
  groups: s.head_groups,
  hidden: s.head_hidden,
  dropout: s.head_dropout,
});

/** What the model is made of, by settings and files. */
export interface RewardPlan {
  base: ResolvedModel;
  described: ModelDescription;
  /** config.json of the base's transformer. */
  backbone: Record<string, unknown>;
  from: DescribedReward | undefined;
  keepLayers: number;
  layers: number;
  head: Head;
}

/** Throws DrmError USAGE, BAD_CONFIG for settings that contradict each other, whatever the base. */
function settingsFit(s: TrainSettings): void {
  if (s.model === '')
    throw new DrmError(
      'USAGE',
      'train: expected --model, the base that becomes a reward model, such as tiny or sd3.5-medium',
    );
  if (s.from !== '' && s.init === 'random')
    throw new DrmError(
      'USAGE',
      'train: --from goes on with trained weights, --from-scratch (init=random) draws new ones; leave one of the two out',
    );
  if (s.init === 'random' && s.backbone !== 'full')
    throw new DrmError(
      'BAD_CONFIG',
      `[train] backbone: expected full where first weights are random, found ${s.backbone}, which would leave them as they are drawn; give --backbone full, or leave --from-scratch out`,
      { key: 'backbone', found: s.backbone },
    );
  if (s.init === 'random' && s.export === 'authors')
    throw new DrmError(
      'BAD_CONFIG',
      "[train] export: expected drm where first weights are random, found authors, whose layout holds the base's skipped blocks beside blocks that never saw them; leave --export or --from-scratch out",
      { key: 'export', found: s.export },
    );
}

/** Throws where a reward model cannot go on with this base; warns of what else will differ. */
async function continuationFits(
  from: DescribedReward,
  s: TrainSettings,
  base: ResolvedModel,
  warn: (message: string) => void,
): Promise<void> {
  const own = from.description;
  baseFits(from, s.model, base.source);
  const other = await otherVae(from, s.model, base.source.vae);
  if (other !== undefined) warn(other);
  for (const key of ['size', 't5_length'] as const)
    if (own && own[key] !== s[key])
      warn(
        `${from.name} was trained with ${key} ${own[key]} and goes on with ${s[key]}; keep it with --set ${key}=${own[key]}`,
      );
}

/** Blocks of the base's that are kept: as the model that goes on has them, by the setting, or by rule. */
function keptLayers(s: TrainSettings, own: RewardDescription | undefined, layers: number): number {
  const keepLayers = own?.keep_layers ?? (s.keep_layers > 0 ? s.keep_layers : keptByRule(layers));
  if (s.keep_layers > 0 && s.keep_layers !== keepLayers)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] keep_layers: expected ${keepLayers}, as ${s.from} has it, found ${s.keep_layers}; leave it out`,
      { key: 'keep_layers' },
    );
  if (keepLayers > layers)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] keep_layers: expected at most ${layers}, the blocks of ${s.model}, found ${keepLayers}; 0 chooses by rule`,
      { key: 'keep_layers', expected: String(layers), found: String(keepLayers) },
    );
  return keepLayers;
}

function headFor(s: TrainSettings, own: RewardDescription | undefined): Head {
  const head = { ...headOf(s), ...own?.head, dropout: s.head_dropout };
  if (head.channels % head.groups !== 0)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] head_channels: expected a multiple of head_groups (${head.groups}), found ${head.channels}`,
      { key: 'head_channels', found: String(head.channels) },
    );
  return head;
}

/** Throws DrmError naming the setting or the file at fault. */
export async function planReward(s: TrainSettings, warn: (message: string) => void): Promise<RewardPlan> {
  settingsFit(s);
  const { base, transformer: file } = await trainableBase('train', s, 512);
  partsFit(s.size, base.source);
  if (s.backbone === 'lora') await targetsFit(s.lora_targets, base.source.transformer.weights);
  const backbone = readConfig(file);
  const described = describeBase(base.source);
  const { layers } = described;
  const from = s.from === '' ? undefined : findDrm(s.from);
  if (from) await continuationFits(from, s, base, warn);
  const own = from?.description;
  const keepLayers = keptLayers(s, own, layers);
  return { base, described, backbone, from, keepLayers, layers, head: headFor(s, own) };
}

/** What the core is asked to train. */
export function rewardObjective(
  s: TrainSettings,
  {
    source: { transformer, ...others },
    checkpoint,
    keepLayers,
    head = headOf(s),
  }: { source: PipelineSource; checkpoint?: ComponentFiles; keepLayers: number; head?: Head },
): RewardObjective {
  const source = { ...others, transformer: s.init === 'random' ? { ...transformer, weights: [] } : transformer };
  return {
    kind: 'reward',
    source,
    ...(checkpoint && { checkpoint }),
    settings: {
      ...s,
      keep_layers: keepLayers,
      head_channels: head.channels,
      head_groups: head.groups,
      head_hidden: head.hidden,
      head_dropout: head.dropout,
    },
  };
}

export const plannedObjective = (
  s: TrainSettings,
  { base, from, keepLayers, head }: Pick<RewardPlan, 'base' | 'from' | 'keepLayers' | 'head'>,
): RewardObjective =>
  rewardObjective(s, { source: base.source, ...(from && { checkpoint: from.checkpoint }), keepLayers, head });
