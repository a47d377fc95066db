// Rewards, loaded: all of them or none.
import type { Reward } from './reward.js';
import type { RewardLoading } from './spec.js';
import { parseRewards, WeightedSum } from './weighted_sum.js';

/** In order. What was loaded is given back where a later one fails. */
export async function loadAll(
  specs: readonly { load(loading: RewardLoading): Promise<Reward> }[],
  loading: RewardLoading,
): Promise<Reward[]> {
  const loaded: Reward[] = [];
  try {
    for (const spec of specs) loaded.push(await spec.load(loading));
    return loaded;
  } catch (error) {
    for (const reward of loaded) reward.dispose();
    throw error;
  }
}

/** The rewards, or weighted sums, of these names, in order. All names are looked up before the first is loaded. */
export async function loadRewards(names: readonly string[], loading: RewardLoading): Promise<Reward[]> {
  const specs = names.map((name) => {
    const parts = parseRewards(name);
    const [first] = parts;
    if (parts.length === 1 && first?.weight === 1) return first.reward;
    return {
      load: async () => {
        const rewards = await loadAll(
          parts.map(({ reward }) => reward),
          loading,
        );
        return new WeightedSum(
          name,
          parts.map(({ weight }, i) => ({ weight, reward: rewards[i] as Reward })),
        );
      },
    };
  });
  return loadAll(specs, loading);
}
