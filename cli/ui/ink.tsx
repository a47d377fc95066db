// The terminal view, drawn on stderr. Results are lines of it, too: on a terminal, printing them past ink would tear it,
// and where stdout is no terminal the plain renderer is chosen.
import { render } from 'ink';
import type { Event } from '../events.js';
import { inlineImage } from './inline_image.js';
import type { Renderer } from './renderer.js';
import { initialState, reduce, type State } from './state.js';
import { View } from './View.js';

export class InkRenderer implements Renderer {
  #state: State = initialState;
  #app: ReturnType<typeof render>;
  #color: boolean;
  #resized = () => this.#draw();

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
    return <View state={this.#state} style={{ color: this.#color, width: process.stderr.columns || 80 }} />;
  }

  #draw(): void {
    this.#app.rerender(this.#view());
  }

  emit(event: Event): void {
    if (event.event === 'preview' && event.png) {
      const picture = inlineImage(event.png);
      if (picture) {
        this.#app.clear();
        process.stderr.write(`${picture}\n`);
      }
    }
    this.#state = reduce(this.#state, event);
    this.#draw();
  }

  note(text: string): void {
    this.emit({ event: 'warning', message: text });
  }

  async close(): Promise<void> {
    process.stderr.off('resize', this.#resized);
    this.#state = { ...this.#state, bars: [] };
    this.#draw();
    this.#app.unmount();
    await this.#app.waitUntilExit();
  }
}
