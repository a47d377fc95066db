// Builds the commander program from the registry and runs one command.
import { CommanderError, type OutputConfiguration, Command as Program } from 'commander';
import { DrmError } from '../binding/error.js';
import { describe, describeGroup } from './commands/describe.js';
import { registry } from './commands/registry.js';
import { asCalled } from './common/called.js';
import { type Command, type CommandGroup, type Context, type GlobalOptions, isGroup } from './common/command.js';
import { errorEvent } from './common/errors.js';
import { flagOf, nameOf, readOptions } from './common/options.js';
import { onSignals } from './common/signals.js';
import { VERSION } from './common/version.js';
import type { Renderer } from './ui/renderer.js';
import { type Loss, stderr, stdout } from './ui/streams.js';

const GLOBAL_NAMES = ['device', 'dtype', 'threads', 'json', 'quiet', 'verbose', 'color', 'config', 'set', 'out'];

/** `given` is all that commander found. */
async function run(command: Command, args: unknown[], given: Record<string, unknown>): Promise<void> {
  const global = Object.fromEntries(GLOBAL_NAMES.map((name) => [name, given[name]])) as unknown as GlobalOptions;
  const { createRenderer } = await import('./ui/renderers.js');
  const renderer = await createRenderer(global);
  const abort = new AbortController();
  const ignoreSignals = onSignals(
    () => {
      renderer.note('stopping after this step; once more leaves at once');
      abort.abort();
    },
    // The addon's exit hook ends running jobs, and every file is written whole or not at all.
    () => process.exit(130),
  );
  // What nobody waited for. Files are whole or not there, and the exit hooks end running jobs and give locks back.
  const crash = (error: unknown) => {
    const event = errorEvent(error, global.verbose);
    renderer.emit(event);
    void renderer.close();
    process.exit(event.exit_code);
  };
  process.on('uncaughtException', crash);
  try {
    const options = readOptions(command.options ?? [], given);
    const context: Context = { args, options, global, events: renderer, signal: abort.signal };
    stdout.onLoss = (loss) => {
      const goesOn = command.makesFiles?.(context) ?? false;
      lostStdout(loss, goesOn);
      if (!goesOn) abort.abort();
    };
    const named = namedIn(options, global);
    if (named.length > 0) await (await import('./train/tasks/checkpoint_names.js')).prepareCheckpoints(named, context);
    await command.run(context);
    await renderer.close();
  } catch (error) {
    // What was waiting when Ctrl-C came (a request, a timer) ends with the signal's own reason.
    const interrupted = abort.signal.aborted && error === abort.signal.reason;
    const cancelled = () => new DrmError('CANCELLED', 'stopped; the same command begins again', {}, { cause: error });
    await fail(interrupted ? cancelled() : error, global.verbose, renderer);
  } finally {
    process.off('uncaughtException', crash);
    ignoreSignals();
  }
}

/** Options that name models. */
const NAMING = ['model', 'reward', 'scorer', 'judge', 'sweep', 'early'];

/** What they say, by flag or by --set. */
function namedIn(options: object, { set }: GlobalOptions): string[] {
  const flags = Object.entries(options).flatMap(([name, value]) => (NAMING.includes(name) ? [value].flat() : []));
  const settings = set.filter((text) => NAMING.includes(text.split('=', 1)[0] ?? ''));
  return [...flags, ...settings].filter((text) => typeof text === 'string');
}

/** stdout takes no more. The exit code says so, but where all there is to make is made all the same. */
function lostStdout(loss: Loss, goesOn: boolean): void {
  if (!stdout.wasLeft(loss)) {
    process.exitCode ||= 4;
    stderr.write(`drm: [out] stdout: cannot be written: ${loss.message}; free some space, or send it elsewhere\n`);
  } else if (goesOn) stderr.write('drm: nobody reads stdout any more; going on without it\n');
  else process.exitCode ||= 130;
}

async function fail(error: unknown, verbose: boolean, renderer: Renderer): Promise<void> {
  const event = errorEvent(error, verbose);
  renderer.emit(event);
  await renderer.close();
  process.exitCode = event.exit_code;
}

/** commander's own words: help, whose columns have the lengths of `drm`, and what is wrong with a command line. */
const OUTPUT: OutputConfiguration = {
  writeOut: (text: string) => stdout.write(text.replaceAll(/^(Usage: | {2}\$ ).*$/gm, asCalled)),
  writeErr: (text: string) => stderr.write(asCalled(text)),
};

/** `path`: what is typed to run it, 'eval images'. */
function programOf(command: Command, path: string, output = OUTPUT): Program {
  return describe(command)
    .configureOutput(output)
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError(`\`drm ${path} --help\` lists its options.`)
    .action(async (...given: unknown[]) => {
      await run(command, given.slice(0, -2), given.at(-2) as Record<string, unknown>);
    });
}

function programOfGroup(group: CommandGroup): Program {
  const { name, subcommands } = group;
  /** A flag that others of the group have: whose it is. */
  const whose = (flag: string) =>
    subcommands.filter(({ options = [] }) => options.some((option) => flagOf(nameOf(option)) === flag));
  const outputError = (text: string, write: (text: string) => void) => {
    const owners = whose(/unknown option '(--[\w-]+)'/.exec(text)?.[1] ?? '').map((one) => `drm ${name} ${one.name}`);
    write(owners.length > 0 ? `${text.split('\n', 1)[0]}\n(It is one of ${owners.join(' and ')}.)\n` : text);
  };
  const described = subcommands.map((one) => programOf(one, `${name} ${one.name}`, { ...OUTPUT, outputError }));
  return describeGroup(group, described)
    .configureOutput(OUTPUT)
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError(`\`drm ${name} --help\` lists its commands.`);
}

/** `help sample` is `sample --help`. */
const unhelped = (argv: string[]): string[] => {
  const [first, ...asked] = argv;
  return first === 'help' && registry.some(({ name }) => name === asked[0]) ? [...asked, '--help'] : argv;
};

/** Runs one command line; sets process.exitCode. */
export async function main(typed: string[]): Promise<void> {
  const argv = unhelped(typed);
  stdout.onLoss = (loss) => lostStdout(loss, false);
  const program = new Program('drm')
    .description(
      'From raw preference data to an aligned text-to-image model: diffusion reward models with step-wise guidance.',
    )
    .version(VERSION)
    .showSuggestionAfterError()
    .configureOutput(OUTPUT)
    .showHelpAfterError('`drm --help` lists the commands, `drm COMMAND --help` its options.')
    .exitOverride();
  const name = argv.find((argument) => !argument.startsWith('-'));
  for (const entry of registry) {
    if (entry.name !== name) {
      program.command(entry.name).description(entry.summary);
      continue;
    }
    const command = await entry.load();
    program.addCommand(isGroup(command) ? programOfGroup(command) : programOf(command, command.name));
  }
  program.addHelpText('after', '\nStart with:\n  $ drm doctor\n  $ drm sample "red apple, noto style" -n 4 --grid');
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode !== 0) process.exitCode = 2;
      return;
    }
    const event = errorEvent(error, false);
    stderr.write(`drm: ${asCalled(event.message)}\n`);
    process.exitCode = event.exit_code;
  }
}
