// A command in the test's own process: quick, and an event can be acted upon before the next one.
import { expect } from 'vitest';
import type { DrmError } from '../../binding/error.js';
import { describe } from '../../cli/commands/describe.js';
import { type AnyCommand, type Command, type GlobalOptions, isGroup } from '../../cli/common/command.js';
import { exitCode } from '../../cli/common/errors.js';
import type { Event } from '../../cli/common/events.js';
import { readOptions } from '../../cli/common/options.js';

type OnEvent = (event: Event) => void;

/** The command that these words run, and the words that are its own: of a group the first names it. */
export function commandOf(command: AnyCommand, argv: string[]): { command: Command; own: string[] } {
  if (!isGroup(command)) return { command, own: argv };
  const [name, ...own] = argv;
  const found = command.subcommands.find((one) => one.name === name);
  if (!found) throw new Error(`drm ${command.name} ${name}: no such command`);
  return { command: found, own };
}

/** Runs the command line after `drm <name>`; returns its events. */
export async function runHere(asked: AnyCommand, argv: string[], onEvent: OnEvent = () => {}): Promise<Event[]> {
  const { command, own } = commandOf(asked, argv);
  const events: Event[] = [];
  const emit = (event: Event) => {
    events.push(event);
    onEvent(event);
  };
  const count = command.arguments?.length ?? 0;
  const program = describe(command).action(async (...given: unknown[]) => {
    const args = given.slice(0, count);
    const found = given[count] as Record<string, unknown>;
    const global = found as unknown as GlobalOptions;
    const options = readOptions(command.options ?? [], found);
    await command.run({ args, options, global, events: { emit }, signal: new AbortController().signal });
  });
  await program.parseAsync([...own, '--threads', '1'], { from: 'user' });
  return events;
}

/** Expects it to fail with this exit code and all these words in its message. */
export async function refusedHere(
  command: AnyCommand,
  argv: string[],
  code: number,
  words: (string | RegExp)[],
  onEvent?: OnEvent,
): Promise<void> {
  const error = await runHere(command, argv, onEvent).then(
    () => expect.unreachable(`drm ${command.name} ${argv.join(' ')}: expected an error`),
    (error: unknown) => error as DrmError,
  );
  for (const word of words) expect(error.message).toMatch(word);
  expect(exitCode(error), error.message).toBe(code);
}
