// The scorers that a command names, loaded.
import { DrmError } from '../../binding/error.js';
import { setThreads } from '../../binding/index.js';
import type { Context } from '../common/command.js';
import { chooseDevice } from '../common/device.js';
import { loadRewards, type RewardLoading } from '../rewards/load.js';
import { findReward } from '../rewards/registry.js';
import { CLEAN, type Reward } from '../rewards/reward.js';
import { loadScorer } from '../scorers/registry.js';
import type { Scorer } from '../scorers/scorer.js';

/** A reward model as it sees finished pictures; undefined for what is none. */
async function rewardScorer(name: string, loading: RewardLoading): Promise<Scorer | undefined> {
  if (!isRewardModel(name)) return undefined;
  const [reward] = (await loadRewards([name], loading)) as [Reward];
  return {
    name,
    unit: reward.unit,
    score: async (pictures, captions, job) => {
      const judged = pictures.map((picture, i) => ({ picture, prompt: captions[i] as string, key: 0 })); // no noise
      const [scores] = (await reward.score(judged, CLEAN, job)) as [number[]];
      return scores;
    },
    dispose: () => reward.dispose(),
  };
}

/** What is no reward at all is left to the scorers' own error. */
function isRewardModel(name: string): boolean {
  try {
    return findReward(name).kind === 'drm';
  } catch (error) {
    if (error instanceof DrmError && error.code === 'USAGE') return false;
    throw error;
  }
}

/** Always in fp32: a score must not depend on what the judged model runs in. */
export async function loadScorers({ options, global, events, signal }: Context): Promise<Scorer[]> {
  const names = (options.scorer as string[] | undefined) ?? [];
  if (names.length === 0) throw new DrmError('USAGE', 'eval: expected a scorer; give --scorer clip:FOLDER');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device } = await chooseDevice({ device: global.device, dtype: 'fp32' });
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  const scorers: Scorer[] = [];
  try {
    for (const name of names) {
      const loading = { device, dtype: 'fp32' as const, signal, onWarning };
      scorers.push((await rewardScorer(name, loading)) ?? (await loadScorer(name, loading)));
    }
  } catch (error) {
    for (const scorer of scorers) scorer.dispose();
    throw error;
  }
  return scorers;
}
