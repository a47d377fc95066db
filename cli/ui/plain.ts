// Lines for pipes and logs; progress by cli-progress's form for streams that are no terminal.
import cliProgress from 'cli-progress';
import type { Event } from '../common/events.js';
import { type Bar, barFigures } from './bar.js';
import { Means, metricLine } from './figures.js';
import type { Renderer } from './renderer.js';
import { lineOf } from './state.js';
import { stderr, stdout } from './streams.js';

type Metric = Extract<Event, { event: 'metric' }>;

/** Progress lines come at least this far apart, so that logs stay readable. */
const NOT_BEFORE_MS = 2000;
const NOT_AFTER_MS = 60_000;
/** A step of training that is silent for so long says what it is at. */
const SILENT_MS = 5000;

export class PlainRenderer implements Renderer {
  #bars = new Map<string, cliProgress.SingleBar>();
  /** What training said since its last line. */
  #means = new Means();
  #last: { metric: Metric; shown: boolean } | undefined;
  #metricBegan = performance.now();
  #metricShown = 0;
  /** Of a training: where it is, and when it last said so, by whatever line. */
  #training: { step: number; heard: number } | undefined;

  constructor(private readonly quiet: boolean) {}

  emit(event: Event): void {
    if (event.event === 'image') stdout.write(`${event.path}\n`);
    else if (event.event === 'result') stdout.write(`${event.text}\n`);
    else if (event.event === 'progress') {
      if (this.quiet) return;
      if (this.#training) this.#phase(event, this.#training);
      else this.#progress(event);
    } else if (event.event === 'metric') {
      if (!this.quiet) this.#metric(event);
    } else {
      if (event.event !== 'warning') this.#flush();
      if (event.event === 'done' || event.event === 'error') this.#endBars();
      if (event.event === 'started' && event.steps !== undefined)
        this.#training = { step: 0, heard: performance.now() };
      if (event.event === 'resumed' && this.#training) this.#training.step = event.step;
      const line = lineOf(event);
      if (line && (!this.quiet || line.kind === 'warning' || line.kind === 'error')) stderr.write(`${line.text}\n`);
    }
  }

  #progress(event: Bar): void {
    let bar = this.#bars.get(event.id);
    if (!bar) {
      bar = new cliProgress.SingleBar({
        noTTYOutput: true,
        notTTYSchedule: NOT_BEFORE_MS,
        stream: process.stderr,
        format: (_options, params, payload: { event: Bar }) =>
          `${payload.event.label}  ${Math.round(params.progress * 100)} %  ${barFigures(payload.event)}`,
      });
      bar.start(event.total || 1, event.step, { event });
      this.#bars.set(event.id, bar);
    }
    bar.setTotal(event.total || 1); // of a set, less what turns out to be left out
    bar.update(event.step, { event });
    if (event.total > 0 && event.step >= event.total) bar.stop();
  }

  /** Of a step that takes long. Figures tell more, so that a phase is told of only where they have been silent. */
  #phase(bar: Bar, training: { step: number; heard: number }): void {
    const now = performance.now();
    if (now - training.heard < Math.max(SILENT_MS, this.#pause(now))) return;
    training.heard = now;
    const done = bar.total > 0 ? `  ${Math.floor((100 * bar.step) / bar.total)} %` : '';
    stderr.write(`after step ${training.step}: ${bar.label}${done}  ${barFigures(bar)}\n`);
  }

  /** Dense at first, when one looks, sparser later, since a log of days should stay readable. */
  #pause(now: number): number {
    return Math.max(NOT_BEFORE_MS, Math.min(NOT_AFTER_MS, 0.02 * (now - this.#metricBegan)));
  }

  #metric(metric: Metric): void {
    const now = performance.now();
    this.#means.add(metric.values);
    this.#last = { metric, shown: false };
    if (this.#training) this.#training.step = metric.step;
    if (now - this.#metricShown >= this.#pause(now) || metric.step >= metric.total) this.#flush();
  }

  /** Means over the steps since the last line. */
  #flush(): void {
    if (!this.#last || this.#last.shown) return;
    const { step, total, seconds_left } = this.#last.metric;
    stderr.write(`${metricLine(step, total, this.#means.take(), seconds_left)}\n`);
    this.#last.shown = true;
    this.#metricShown = performance.now();
    if (this.#training) this.#training.heard = this.#metricShown;
  }

  note(text: string): void {
    stderr.write(`drm: ${text}\n`);
  }

  async close(): Promise<void> {
    this.#endBars();
  }

  /** The last word is what the run came to, not how far a bar had got. */
  #endBars(): void {
    for (const bar of this.#bars.values()) bar.stop();
    this.#bars.clear();
  }
}
