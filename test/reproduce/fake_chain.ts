// A chain of fake commands in a folder of its own.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Event } from '../../cli/common/events.js';
import { runChain } from '../../cli/reproduce/engine.js';
import { Estimator } from '../../cli/reproduce/estimate.js';
import { ChainFolder } from '../../cli/reproduce/folder.js';
import type { Kind, Step } from '../../cli/reproduce/step.js';
import { repository, temporaryFolder } from '../run_drm.js';

export const COSTS = {
  prepare: { start: 1, seconds: 0.5, bytes: 1000, unit_bytes: 10 },
  train: { start: 10, seconds: 1, bytes: 5000, unit_bytes: 0 },
};

interface FakeStep {
  mode?: string;
  kind?: Kind;
  units?: number;
  needs?: Step[];
  more?: string[];
}

export const fakeStep = (
  id: string,
  { mode = 'good', kind = 'prepare', units = 100, needs = [], more = [] }: FakeStep = {},
): Step => ({
  ...{ id, kind, units, needs },
  words: ({ folder }) => [mode, ...more, ...needs.flatMap((one) => ['--data', folder(one)])],
  ...{ resumes: 'by flag', result: 'result.json' },
});

export class FakeChain {
  readonly out = join(temporaryFolder(), 'out');
  readonly folder = new ChainFolder(this.out, join(this.out, 'prompts-1.jsonl'), []);
  readonly #calls = join(temporaryFolder(), 'calls');

  /** Returns what was said. */
  async run(
    steps: readonly Step[],
    { signal = new AbortController().signal, onEvent = (_: Event) => {} } = {},
  ): Promise<Event[]> {
    const events: Event[] = [];
    const lock = await this.folder.claim('fake');
    process.env.FAKE_CALLS = this.#calls;
    const emit = (event: Event) => {
      events.push(event);
      onEvent(event);
    };
    try {
      await runChain(steps, new Estimator(COSTS), {
        folder: this.folder,
        program: [process.execPath, join(repository, 'test/reproduce/fake_drm.mjs')],
        words: ['--threads', '1'],
        ...{ events: { emit }, signal, live: true, again: 'drm reproduce all' },
      });
    } finally {
      await lock.release();
    }
    return events;
  }

  /** The command lines that were run. */
  calls(): string[][] {
    if (!existsSync(this.#calls)) return [];
    const lines = readFileSync(this.#calls, 'utf8').trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as string[]);
  }
}
