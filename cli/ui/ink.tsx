// The terminal view, drawn on stderr. Results are lines of it, too: on a terminal, printing them past ink would tear it,
// and where stdout is no terminal the plain renderer is chosen.
import { existsSync, readFileSync } from 'node:fs';
import { render } from 'ink';
import type { Event } from '../common/events.js';
import { inlineImage } from './inline_image.js';
import type { Renderer } from './renderer.js';
import { initialState, reduce, type State } from './state.js';
import { View } from './View.js';

const FRAME_MS = 80;

export class InkRenderer implements Renderer {
  #state: State = initialState;
  #app: ReturnType<typeof render>;
  #color: boolean;
  #resized = () => this.#draw();
  #drawn = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(color: boolean) {
    this.#color = color;
    // Ctrl-C is ours: it finishes the step first. debug off, so that ink throttles what a fast model would flood.
    this.#app = render(this.#view(), {
      stdout: process.stderr,
      stderr: process.stderr,
      exitOnCtrlC: false,
      patchConsole: false,
    });
    process.stderr.on('resize', this.#resized);
  }

  #view() {
    const { columns, rows } = process.stderr;
    return <View state={this.#state} style={{ color: this.#color, width: columns || 80, height: rows || 24 }} />;
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#drawn = performance.now();
    this.#app.rerender(this.#view());
  }

  /** At most so often: a model of a thousand steps a second must not wait for React. */
  #drawSoon(): void {
    const pause = FRAME_MS - (performance.now() - this.#drawn);
    if (pause <= 0) this.#draw();
    else this.#timer ??= setTimeout(() => this.#draw(), pause);
  }

  #showImage(png: Uint8Array): void {
    const image = inlineImage(png);
    if (!image) return;
    this.#app.clear();
    process.stderr.write(`${image}\n`);
  }

  emit(event: Event): void {
    if (event.event === 'preview' && event.png) this.#showImage(event.png);
    if (event.event === 'sample_sheet' && event.paths[0]?.endsWith('.png') && existsSync(event.paths[0]))
      this.#showImage(readFileSync(event.paths[0]));
    this.#state = reduce(this.#state, event);
    this.#drawSoon();
  }

  note(text: string): void {
    this.emit({ event: 'warning', message: text });
  }

  async close(): Promise<void> {
    process.stderr.off('resize', this.#resized);
    this.#state = { lines: this.#state.lines, bars: [] };
    this.#draw();
    this.#app.unmount();
    await this.#app.waitUntilExit();
  }
}
