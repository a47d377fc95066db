// `drm eval pairs`.
import { DrmError } from '../../binding/error.js';
import type { Context } from '../command.js';

export async function evaluatePairs(context: Context): Promise<void> {
  if (context.options.scores !== undefined) return (await import('./scores_command.js')).evaluateScores(context);
  throw new DrmError('USAGE', 'eval pairs: expected --scores FILE');
}
