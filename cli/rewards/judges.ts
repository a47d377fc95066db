// The judges of generated or real images that `drm eval --scorer` names, loaded.
import { DrmError } from '../../binding/error.js';
import { setThreads } from '../../binding/index.js';
import type { Context } from '../common/command.js';
import { chooseDevice } from '../common/device.js';
import { findDistance } from './distances.js';
import { loadAll } from './load.js';
import { fitInMemory } from './memory.js';
import { findJudge } from './registry.js';
import type { Distance, Reward } from './reward.js';

/**
 * In fp32, or as their names say: a score must not depend on what the judged model runs in. Those that do not fit into the
 * memory together are loaded when it is their turn, and then give it back (`allInMemory` is false).
 */
export async function loadJudges({
  options,
  global,
  events,
  signal,
}: Context<{ scorer: string[] | undefined }>): Promise<{ rewards: Reward[]; allInMemory: boolean }> {
  const names = options.scorer ?? [];
  if (names.length === 0)
    throw new DrmError('USAGE', 'eval: expected a scorer; give --scorer clip:FOLDER, or --scorer pickscore');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device } = await chooseDevice({ device: global.device, dtype: 'fp32' });
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  const rewards = await loadAll(names.map(findJudge), { device, dtype: 'fp32', later: true, signal, onWarning });
  const allInMemory = fitInMemory(rewards, device);
  try {
    // What is damaged must not show after an hour of making images.
    if (allInMemory) for (const reward of rewards) await reward.ready?.();
    return { rewards, allInMemory };
  } catch (error) {
    for (const reward of rewards) reward.dispose();
    throw error;
  }
}

/** What `--diversity` names, likewise in fp32; undefined where nothing does. */
export async function loadDistance({
  options,
  global,
  events,
  signal,
}: Context<{ diversity: string | undefined }>): Promise<Distance | undefined> {
  if (options.diversity === undefined) return undefined;
  const spec = findDistance(options.diversity);
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  return spec.load({ device: global.device, signal, onWarning });
}
