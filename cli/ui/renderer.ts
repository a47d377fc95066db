// Three ways to show one event stream: an ink view on a terminal, plain lines in a pipe, JSON lines for programs.
// Results go to stdout, all else to stderr.
import type { GlobalOptions } from '../command.js';
import type { Event, Events } from '../events.js';

export interface Renderer extends Events {
  /** A word to the user that is no event (Ctrl-C was heard). */
  note(text: string): void;
  /** Everything is shown and the terminal is as it was. */
  close(): Promise<void>;
}

export async function createRenderer(global: GlobalOptions): Promise<Renderer> {
  if (global.json) return new JsonRenderer();
  const terminal = process.stderr.isTTY && process.stdout.isTTY && process.env.TERM !== 'dumb' && !process.env.CI;
  if (global.quiet || !terminal) {
    const { PlainRenderer } = await import('./plain.js');
    return new PlainRenderer(global.quiet);
  }
  const { InkRenderer } = await import('./ink.js');
  return new InkRenderer(global.color && !process.env.NO_COLOR);
}

class JsonRenderer implements Renderer {
  emit(event: Event): void {
    const { png: _, ...rest } = event as Event & { png?: unknown };
    process.stdout.write(`${JSON.stringify(rest)}\n`);
    if (event.event === 'error') process.stderr.write(`drm: ${event.message}\n`);
  }
  note(text: string): void {
    process.stderr.write(`drm: ${text}\n`);
  }
  async close(): Promise<void> {}
}
