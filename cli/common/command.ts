// A command is a value: help, parsing and completion are derived from it, and its file is loaded only when it runs.
import type { Dtype } from '../../binding/types.js';
import type { Events } from './events.js';

export interface Option {
  /** commander's notation: '--steps <n>', '--json', '-p, --prompt <text>'. */
  flags: string;
  description: string;
  /** Shown in help; the value itself comes from the schema or from the command. */
  default?: string;
  /** May be given several times; the command sees an array. */
  repeatable?: boolean;
  /** The only values allowed; also what completion offers. */
  choices?: string[];
  /** A name that it had before, which works still and is not shown. */
  formerly?: string;
}

export interface Argument {
  /** commander's notation: '<id>', '[file]', '<image...>'. */
  name: string;
  description: string;
  choices?: string[];
}

/** Flags that every command has. */
export interface GlobalOptions {
  device: string;
  dtype?: Dtype;
  threads?: number;
  json: boolean;
  quiet: boolean;
  verbose: boolean;
  color: boolean;
  config?: string;
  set: string[];
  out?: string;
}

export interface Context {
  /** Positional arguments in order; a variadic one is an array. */
  args: (string | string[] | undefined)[];
  /** The command's own options by camelCase name. Numbers are still text: the command checks them. */
  options: Record<string, unknown>;
  global: GlobalOptions;
  /** Everything a command has to say goes through here. */
  events: Events;
  /** Aborted by the first Ctrl-C, SIGTERM or SIGHUP. */
  signal: AbortSignal;
}

export interface Command {
  name: string;
  summary: string;
  /** Two or three complete command lines, with what they do. */
  examples: { command: string; does: string }[];
  arguments?: Argument[];
  options?: Option[];
  /**
   * Whether what it makes is in files: it then goes on when nobody reads stdout any more. What is made to be read there
   * ends. Not said: it ends.
   */
  makesFiles?(context: Pick<Context, 'args' | 'options' | 'global'>): boolean;
  run(context: Context): Promise<void>;
}
