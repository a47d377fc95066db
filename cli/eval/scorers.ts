// The scorers that a command names, loaded.

import { DrmError } from '../../binding/error.js';
import { setThreads } from '../../binding/index.js';
import type { Context } from '../command.js';
import { chooseDevice } from '../device.js';
import { loadScorer } from '../scorers/registry.js';
import type { Scorer } from '../scorers/scorer.js';

/** Always in fp32: a score must not depend on what the judged model runs in. */
export async function loadScorers({ options, global, events, signal }: Context): Promise<Scorer[]> {
  const names = (options.scorer as string[] | undefined) ?? [];
  if (names.length === 0) throw new DrmError('USAGE', 'eval: expected a scorer; give --scorer clip:FOLDER');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device } = await chooseDevice({ device: global.device, dtype: 'fp32' });
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  const scorers: Scorer[] = [];
  try {
    for (const name of names) scorers.push(await loadScorer(name, { device, dtype: 'fp32', signal, onWarning }));
  } catch (error) {
    for (const scorer of scorers) scorer.dispose();
    throw error;
  }
  return scorers;
}
