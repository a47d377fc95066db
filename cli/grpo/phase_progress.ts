// How far a phase of an iteration is, and how long it took.
import type { Events } from '../common/events.js';

export const secondsSince = (began: number): number => (performance.now() - began) / 1000;

export function phaseProgress(
  { events }: { events: Events },
  { label, total, unit }: { label: string; total: number; unit: string },
): (step: number) => void {
  const began = performance.now();
  return (step) =>
    events.emit({ event: 'progress', id: label, label, step, total, unit, seconds: secondsSince(began) });
}
