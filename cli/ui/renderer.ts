// What shows the events of a command. The three that do: renderers.ts.
import type { Events } from '../common/events.js';

export interface Renderer extends Events {
  /** A word to the user that is no event (Ctrl-C was heard). */
  note(text: string): void;
  /** Everything is shown and the terminal is as it was. */
  close(): Promise<void>;
}
