// Three ways to show one event stream: an ink view on a terminal, plain lines in a pipe, JSON lines for programs.
// Results go to stdout, all else to stderr.

import { asCalled } from '../common/called.js';
import type { GlobalOptions } from '../common/command.js';
import type { Event } from '../common/events.js';
import { visible, visibleLine } from '../text/visible.js';
import type { Renderer } from './renderer.js';
import { stderr, stdout } from './streams.js';

/** Whether somebody looks on: what a view may show as it changes is for them alone. */
export const onTerminal = (): boolean =>
  process.stderr.isTTY && process.stdout.isTTY && process.env.TERM !== 'dumb' && !process.env.CI;

export async function createRenderer(global: GlobalOptions): Promise<Renderer> {
  if (global.json) return new JsonRenderer();
  if (global.quiet || !onTerminal()) {
    const { PlainRenderer } = await import('./plain.js');
    return new Shown(new PlainRenderer(global.quiet));
  }
  const { InkRenderer } = await import('./ink.js');
  return new Shown(new InkRenderer(global.color && !process.env.NO_COLOR));
}

/** The texts of events that we have laid out in lines ourselves. */
const IN_LINES = new Set(['message', 'text']);
/** Not for reading. */
const UNSHOWN = new Set(['png', 'data', 'details']);

/** An event whose texts are all visible. */
export function visibleEvent<E extends Event>(event: E): E {
  const shown = (value: unknown): unknown => {
    if (typeof value === 'string') return visibleLine(value);
    if (Array.isArray(value)) return value.map(shown);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [visibleLine(key), shown(one)]));
  };
  const entries = Object.entries(event).map(([key, value]) => {
    if (UNSHOWN.has(key)) return [key, value];
    return [key, IN_LINES.has(key) ? visible(String(value)) : shown(value)];
  });
  return Object.fromEntries(entries) as E;
}

/** Between the events and whoever draws them. */
class Shown implements Renderer {
  constructor(private readonly renderer: Renderer) {}

  emit(event: Event): void {
    const said = 'message' in event ? { ...event, message: asCalled(event.message) } : event;
    this.renderer.emit(visibleEvent(said));
  }
  note(text: string): void {
    this.renderer.note(visible(text));
  }
  close(): Promise<void> {
    return this.renderer.close();
  }
}

class JsonRenderer implements Renderer {
  emit(event: Event): void {
    const { png: _, ...rest } = event as Event & { png?: unknown };
    stdout.write(`${JSON.stringify(rest)}\n`);
    if (event.event === 'error') stderr.write(`drm: ${asCalled(event.message)}\n`);
  }
  note(text: string): void {
    stderr.write(`drm: ${text}\n`);
  }
  async close(): Promise<void> {}
}
