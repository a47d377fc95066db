// The run of a process that is not the first: the first one alone writes, this one only keeps step.
import type { Event, Events } from '../common/events.js';
import type { Checkpoint } from '../runs/checkpoints.js';
import { Run, type RunRequest } from '../runs/folder.js';
import type { Team } from './team.js';

/** What the loop needs of a run. */
export type LoopRun = Pick<
  Run,
  'folder' | 'from' | 'warnings' | 'recording' | 'record' | 'samples' | 'checkpoint' | 'close'
> & { checkpoints: Pick<Run['checkpoints'], 'prune'> };

class FollowedRun implements LoopRun {
  readonly warnings: readonly string[] = [];
  readonly checkpoints = { prune: async () => {} };

  constructor(
    readonly folder: string,
    readonly from: Checkpoint | undefined,
  ) {}

  recording(events: Events): Events {
    return events;
  }
  record(_event: Event): void {}
  async samples(): Promise<string> {
    return '';
  }
  /** Writing a state that is spread over processes takes all of them. */
  async checkpoint(
    step: number,
    _state: Record<string, unknown>,
    fill: (folder: string) => Promise<void>,
  ): Promise<string> {
    await fill('');
    return `${this.folder}/checkpoints/${step}`;
  }
  async close(): Promise<void> {}
}

/** The first process opens the run; the others learn where it goes on from. */
export async function openRun(team: Team, request: RunRequest): Promise<LoopRun> {
  if (team.alone) return Run.open(request);
  let run: Run | undefined;
  try {
    const from = await team.fromFirst(async () => {
      run = await Run.open(request);
      return run.from ?? null;
    });
    return run ?? new FollowedRun(request.folder, from ?? undefined);
  } catch (error) {
    await run?.close();
    throw error;
  }
}
