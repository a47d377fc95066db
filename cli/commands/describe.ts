// A command in commander's form: arguments, options and help, and the flags that every command has.
import { InvalidArgumentError, Command as Program, Option as ProgramOption } from 'commander';
import type { AnyCommand, Command, CommandGroup } from '../common/command.js';

const collect = (value: string, all: string[] | undefined) => [...(all ?? []), value];

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected a whole number from 1.');
  return value;
}

function device(text: string): string {
  if (!/^(auto|cpu|cuda(:\d+)?)$/.test(text)) throw new InvalidArgumentError('expected auto, cpu, cuda or cuda:N.');
  return text;
}

/** Flags of every command; their names are also what completion offers. */
export function globalOptions(): ProgramOption[] {
  return [
    new ProgramOption('--device <device>', 'auto, cpu, cuda or cuda:N').default('auto').argParser(device),
    new ProgramOption('--dtype <dtype>', 'of weights and matrix products').choices(['fp32', 'bf16', 'fp16']),
    new ProgramOption('--threads <n>', 'CPU threads').argParser(positiveInteger),
    new ProgramOption('--config <file>', 'settings as JSON; see `drm config show`'),
    new ProgramOption('--set <key=value>', 'one setting; may be repeated').argParser(collect).default([], 'none'),
    new ProgramOption('--out <path>', 'where results go'),
    new ProgramOption('--json', 'one event object a line on stdout').default(false, 'off'),
    new ProgramOption('--quiet', 'only results, warnings and errors').default(false, 'off'),
    new ProgramOption('--verbose', 'stack traces').default(false, 'off'),
    new ProgramOption('--no-color', 'plain text (also NO_COLOR)'),
  ];
}

const examplesOf = ({ examples }: AnyCommand): string =>
  `\nExamples:\n${examples.map((e) => `  $ ${e.command}\n      ${e.does}`).join('\n')}`;

const EVERYWHERE = 'Options of every command:';

/** commander's form of one of our commands, without an action. */
export function describe(command: Command): Program {
  const program = new Program(command.name).description(command.summary);
  for (const argument of command.arguments ?? []) {
    const made = program.createArgument(argument.name, argument.description);
    program.addArgument(argument.choices ? made.choices([...argument.choices]) : made);
  }
  for (const option of command.options ?? []) {
    const made = new ProgramOption(
      option.flags,
      option.default === undefined ? option.description : `${option.description} (default: ${option.default})`,
    );
    if (option.choices) made.choices([...option.choices]);
    if (option.repeatable) made.argParser(collect);
    if (option.group !== undefined) made.helpGroup(option.group);
    program.addOption(made);
    for (const alias of option.aliases ?? []) program.addOption(new ProgramOption(alias).hideHelp());
  }
  for (const option of globalOptions()) program.addOption(option.helpGroup(EVERYWHERE));
  program.addHelpOption(new ProgramOption('-h, --help', 'this text').helpGroup(EVERYWHERE));
  return program.addHelpText('after', examplesOf(command));
}

/** Likewise a group, with its subcommands as they are `described`. */
export function describeGroup(group: CommandGroup, described: readonly Program[]): Program {
  const program = new Program(group.name).description(group.summary).usage('COMMAND [options]').helpCommand(false);
  for (const one of described) program.addCommand(one);
  return program.addHelpText('after', examplesOf(group));
}
