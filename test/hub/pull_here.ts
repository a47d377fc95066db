// `drm pull` in the test's own process: its events, and what it throws.
import { afterEach, vi } from 'vitest';
import { OPTIONS } from '../../cli/commands/pull/options.js';
import { command } from '../../cli/commands/pull.js';
import type { GlobalOptions } from '../../cli/common/command.js';
import { errorEvent } from '../../cli/common/errors.js';
import type { Event } from '../../cli/common/events.js';
import { readOptions } from '../../cli/common/options.js';
import { patience } from '../../cli/hub/client.js';

const usual = { ...patience };
afterEach(() => {
  vi.unstubAllEnvs();
  Object.assign(patience, usual);
});

export interface Pulled {
  code: number;
  error: string;
  warnings: string[];
  /** All that any renderer could print, as --json with --verbose does. */
  output: string;
  result?: { fetched: number; present: number; folder: string };
}

export async function pullHere(
  env: Record<string, string>,
  options: Record<string, unknown> = {},
  signal = new AbortController().signal,
): Promise<Pulled> {
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'])
    vi.stubEnv(name, '');
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const events: Event[] = [];
  let thrown: ReturnType<typeof errorEvent> | undefined;
  try {
    await command.run({
      args: ['org/model'],
      options: readOptions(OPTIONS, options),
      global: {} as GlobalOptions,
      events: { emit: (event) => events.push(event) },
      signal,
    });
  } catch (error) {
    thrown = errorEvent(error, true);
  }
  const result = events.find((event) => event.event === 'result');
  return {
    code: thrown?.exit_code ?? 0,
    error: thrown?.message ?? '',
    warnings: events.flatMap((event) => (event.event === 'warning' ? [event.message] : [])),
    output: JSON.stringify([...events, thrown]),
    ...(result?.event === 'result' && { result: result.data as NonNullable<Pulled['result']> }),
  };
}
