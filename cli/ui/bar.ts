// Work whose end is known, or nearly: how far it is.
import type { Progress } from '../common/events.js';
import { bytes, duration } from './figures.js';

export type Bar = Omit<Progress, 'note'>;

/** "12/50 · 0.31 s/step · 12 s left", as much of it as is known. */
export function barFigures(bar: Bar): string {
  const amount =
    bar.unit === 'B'
      ? bar.total
        ? `${bytes(bar.step)}/${bytes(bar.total)}`
        : bytes(bar.step)
      : `${bar.step}/${bar.total || '?'}`;
  const parts = [amount];
  if (bar.step > 0 && bar.seconds > 0) {
    if (bar.unit === 'B') parts.push(`${bytes(bar.step / bar.seconds)}/s`);
    else parts.push(`${(bar.seconds / bar.step).toPrecision(2)} s/${bar.unit}`);
    if (bar.total > 0) parts.push(`${duration(((bar.total - bar.step) * bar.seconds) / bar.step)} left`);
  }
  return parts.join(' · ');
}
