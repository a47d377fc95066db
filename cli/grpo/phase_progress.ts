// How far a phase of an iteration is.
import { type Events, progressOf } from '../common/events.js';

export function phaseProgress(
  { events }: { events: Events },
  { label, total, unit }: { label: string; total: number; unit: string },
): (step: number) => void {
  const tell = progressOf(events, { id: label, label, unit });
  return (step) => tell(step, total);
}
