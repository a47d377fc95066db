// Lines for pipes and logs; progress by cli-progress's form for streams that are no terminal.
import cliProgress from 'cli-progress';
import type { Event } from '../events.js';
import type { Renderer } from './renderer.js';
import { type Bar, barFigures, lineOf } from './state.js';

/** Progress lines come at least this far apart, so that logs stay readable. */
const NOT_BEFORE_MS = 2000;

export class PlainRenderer implements Renderer {
  #bars = new Map<string, cliProgress.SingleBar>();

  constructor(private readonly quiet: boolean) {}

  emit(event: Event): void {
    if (event.event === 'image') process.stdout.write(`${event.path}\n`);
    else if (event.event === 'result') process.stdout.write(`${event.text}\n`);
    else if (event.event === 'progress') {
      if (!this.quiet) this.#progress(event);
    } else {
      const line = lineOf(event);
      if (line && (!this.quiet || line.kind === 'warning' || line.kind === 'error'))
        process.stderr.write(`${line.text}\n`);
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
    bar.update(event.step, { event });
    if (event.total > 0 && event.step >= event.total) bar.stop();
  }

  note(text: string): void {
    process.stderr.write(`drm: ${text}\n`);
  }

  async close(): Promise<void> {
    for (const bar of this.#bars.values()) bar.stop();
  }
}
