// The judges of generated or real images that `drm eval --scorer` names, loaded.
import { DrmError } from '../../binding/error.js';
import { setThreads } from '../../binding/index.js';
import type { Context } from '../common/command.js';
import { chooseDevice } from '../common/device.js';
import { findDistance } from './distances.js';
import { loadAll } from './load.js';
import { findJudge } from './registry.js';
import type { Distance, Reward } from './reward.js';

/** Always in fp32: a score must not depend on what the judged model runs in. */
export async function loadJudges({ options, global, events, signal }: Context): Promise<Reward[]> {
  const names = (options.scorer as string[] | undefined) ?? [];
  if (names.length === 0) throw new DrmError('USAGE', 'eval: expected a scorer; give --scorer clip:FOLDER');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device } = await chooseDevice({ device: global.device, dtype: 'fp32' });
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  return loadAll(names.map(findJudge), { device, dtype: 'fp32', signal, onWarning });
}

/** What `--diversity` names, likewise in fp32; undefined where nothing does. */
export async function loadDistance({ options, global, events, signal }: Context): Promise<Distance | undefined> {
  if (options.diversity === undefined) return undefined;
  const spec = findDistance(String(options.diversity));
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  return spec.load({ device: global.device, signal, onWarning });
}
