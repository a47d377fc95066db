// Before any update of a sitting the ratio is 1, but for rounding, or sampling and training are not of the same policy and
// nothing is learned that is meant.
import { DrmError } from '../../binding/error.js';
import { shortNumber } from '../ui/figures.js';
import { type PassOptions, passesOf, type Sampled } from './passes.js';
import type { PolicyContext, PolicyTrainer } from './policy_parts.js';
import type { StepValues } from './step_values.js';

/** In fp32. */
const RATIO_ERROR = 1e-5;

/** Of one network call's trajectories. Throws DrmError INTERNAL in fp32; otherwise says how far off it is. */
export async function checkRatio(
  sampled: readonly Sampled[],
  advantages: StepValues,
  options: PassOptions & { trainer: PolicyTrainer; clipRange: number },
  { dtype, events }: PolicyContext,
): Promise<void> {
  const { trainer, clipRange, pass } = options;
  const error = await trainer.ratioError(passesOf(sampled, advantages, { ...options, drop: false }));
  if (dtype === 'fp32' && !(error <= RATIO_ERROR))
    throw new DrmError(
      'INTERNAL',
      `[grpo] ratio before the first update: expected 1 to within ${RATIO_ERROR} at every trained step, found it off by ${shortNumber(error)}: sampling and training are not of the same policy, and updates would not mean what they should. ${pass < (sampled[0]?.positions.length ?? 0) ? 'Passes of another size than in sampling may be the reason: --set micro_batch=0' : 'Stopped before anything was learned'}`,
      { expected: String(RATIO_ERROR), found: String(error) },
    );
  const message = `ratio before the first update: off 1 by ${shortNumber(error)} at most (${dtype})`;
  if (error > clipRange)
    events.emit({
      event: 'warning',
      message: `${message}, more than the clip range ${clipRange}: rounding alone is clipped. Train earlier steps (--set window_until=0.5), or in fp32 (--dtype fp32)`,
    });
  else events.emit({ event: 'info', message });
}
