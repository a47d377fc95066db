// The event stream: all that a command reports. The three renderers show it, `--json` prints it, and run folders keep it.
// This is a public format: fields are added, never renamed; EVENT_VERSION counts breaking changes.

export const EVENT_VERSION = 1;

/** Of work that goes on; the latest wins. */
export interface Progress {
  /** Tells parallel bars apart. Within a training it is the phase that a step is at. */
  id: string;
  label: string;
  step: number;
  /** 0: not known. */
  total: number;
  /** What `step` counts: 'step', 'B', 'image'. */
  unit: string;
  seconds: number;
  note?: string;
}

export type Event =
  /** First event: the command and what it works with, as label/value pairs worth showing. `steps`, where it trains. */
  | { event: 'started'; version: number; command: string; facts: Record<string, string | number>; steps?: number }
  | ({ event: 'progress' } & Progress)
  /** A line worth keeping. */
  | { event: 'info'; message: string }
  | { event: 'warning'; message: string }
  | { event: 'image'; path: string; width: number; height: number; prompt?: string; seed?: string }
  | { event: 'preview'; path: string; step: number; png?: Uint8Array }
  /**
   * Figures of training, after `step` steps of `total`: loss, learning_rate, grad_norm, samples_per_second (pairs_per_second), data_wait (share
   * of the time spent waiting for data, from 0 to 1), memory_mb, and whatever the task measures; `reward/3` is that of denoising step 3. Each is the mean over the
   * steps since the last such event. `seconds` is training time, that of earlier sittings included; `step_seconds` is
   * that of the steps alone, without evaluations, images and checkpoints.
   */
  | {
      event: 'metric';
      step: number;
      total: number;
      seconds: number;
      step_seconds?: number;
      seconds_left: number;
      values: Record<string, number>;
    }
  /** Figures on held-out data after `step` steps. */
  | { event: 'evaluation'; step: number; values: Record<string, number> }
  /** A complete checkpoint, from which the run can go on. */
  | { event: 'checkpoint'; step: number; path: string }
  /** The run goes on from this checkpoint. */
  | { event: 'resumed'; step: number; path: string }
  /** Images made after `step` steps. */
  | { event: 'sample_sheet'; step: number; paths: string[] }
  /** A line of a table or report, printed on stdout as text; `data` is what --json prints. */
  | { event: 'result'; text: string; data: unknown }
  /** Last event of a run that ended well. */
  | { event: 'done'; seconds: number; facts: Record<string, string | number> }
  | { event: 'error'; code: string; message: string; details: Record<string, string>; exit_code: number };

export interface Events {
  emit(event: Event): void;
}

export const secondsSince = (began: number): number => (performance.now() - began) / 1000;

/** Says how far a piece of work is, with the seconds since it began. */
export const progressOf =
  (
    events: Events,
    { id, label, unit, note }: Pick<Progress, 'id' | 'label' | 'unit' | 'note'>,
    began = performance.now(),
  ) =>
  (step: number, total: number, seconds = secondsSince(began)): void =>
    events.emit({
      ...{ event: 'progress', id, label, step, total, unit, seconds },
      ...(note !== undefined && { note }),
    });
