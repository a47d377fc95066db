// `drm pretrain` in the test's own process: quick, and an event can be acted upon before the next one.
import { expect } from 'vitest';
import type { DrmError } from '../../binding/error.js';
import type { GlobalOptions } from '../../cli/command.js';
import { command } from '../../cli/commands/pretrain.js';
import { exitCode } from '../../cli/errors.js';
import type { Event } from '../../cli/events.js';
import { describe } from '../../cli/program.js';

/** Runs the command line after `drm pretrain`; returns its events. */
export async function pretrainHere(argv: string[], onEvent: (event: Event) => void = () => {}): Promise<Event[]> {
  const events: Event[] = [];
  const emit = (event: Event) => {
    events.push(event);
    onEvent(event);
  };
  const program = describe(command).action(async (part: string, options: Record<string, unknown>) => {
    const global = options as unknown as GlobalOptions;
    await command.run({ args: [part], options, global, events: { emit }, signal: new AbortController().signal });
  });
  await program.parseAsync([...argv, '--threads', '1'], { from: 'user' });
  return events;
}

/** Expects it to fail with this exit code and all these words in its message. */
export async function refuses(
  argv: string[],
  code: number,
  words: (string | RegExp)[],
  onEvent?: (event: Event) => void,
) {
  const error = await pretrainHere(argv, onEvent).then(
    () => expect.unreachable(`drm pretrain ${argv.join(' ')}: expected an error`),
    (error: unknown) => error as DrmError,
  );
  for (const word of words) expect(error.message).toMatch(word);
  expect(exitCode(error)).toBe(code);
}
