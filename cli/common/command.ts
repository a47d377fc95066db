// A command is a value: help, parsing and completion are derived from it, and its file is loaded only when it runs.
import type { Dtype } from '../../binding/types.js';
import type { Events } from './events.js';
import type { Argument, ArgumentsOf, Option, OptionsOf } from './option.js';

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

export interface Context<Options extends object = object, Arguments extends readonly unknown[] = readonly unknown[]> {
  /** Positional arguments in order; a variadic one is an array. */
  args: Arguments;
  /** The command's own options by camelCase name, read as its definitions say. */
  options: Options;
  global: GlobalOptions;
  /** Everything a command has to say goes through here. */
  events: Events;
  /** Aborted by the first Ctrl-C, SIGTERM or SIGHUP. */
  signal: AbortSignal;
}

/** What the handler of a command sees, from the definitions of its options and arguments. */
export type ContextOf<Options extends readonly Option[], Arguments extends readonly Argument[] = readonly []> = Context<
  OptionsOf<Options>,
  ArgumentsOf<Arguments>
>;

export interface Command<Options extends object = object, Arguments extends readonly unknown[] = readonly unknown[]> {
  name: string;
  summary: string;
  /** Two or three complete command lines, with what they do. */
  examples: { command: string; does: string }[];
  arguments?: readonly Argument[];
  options?: readonly Option[];
  /** Whose settings --config and --set give, by the names of their schemas. */
  tasks?: readonly string[];
  /**
   * Whether what it makes is in files: it then goes on when nobody reads stdout any more. What is made to be read there
   * ends. Not said: it ends.
   */
  makesFiles?(context: Pick<Context<Options, Arguments>, 'args' | 'options' | 'global'>): boolean;
  run(context: Context<Options, Arguments>): Promise<void>;
}

/** A command whose work is that of others under its name: `drm eval images`. Each has its own flags and help. */
export interface CommandGroup {
  name: string;
  summary: string;
  examples: Command['examples'];
  subcommands: readonly Command[];
}

/** What the registry holds. */
export type AnyCommand = Command | CommandGroup;

export const isGroup = (command: AnyCommand): command is CommandGroup => 'subcommands' in command;

interface Definition<Options extends readonly Option[], Arguments extends readonly Argument[]>
  extends Command<OptionsOf<Options>, ArgumentsOf<Arguments>> {
  options?: Options;
  arguments?: Arguments;
}

/** The command as it is: what it sees has the types that its options and arguments say. */
export const defineCommand = <
  const Options extends readonly Option[] = readonly [],
  const Arguments extends readonly Argument[] = readonly [],
>(
  definition: Definition<Options, Arguments>,
): Command<OptionsOf<Options>, ArgumentsOf<Arguments>> => definition;
