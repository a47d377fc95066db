// From one command line to the processes that train by it.
import { DrmError } from '../../binding/error.js';
import type { Context } from '../common/command.js';
import type { ParallelOptions } from './options.js';
import { LAUNCHED, rankOf } from './rank.js';
import { Team } from './team.js';

/**
 * Runs `work` in this process: alone, or as one of those that a launcher (torchrun, Slurm, our own --nproc) has started.
 * With --nproc it runs in the processes started here instead. `resume` is what to type to go on.
 */
export async function inProcessGroup<Own extends Context<ParallelOptions>>(
  context: Own,
  resume: string,
  work: (team: Team, context: Own) => Promise<void>,
): Promise<void> {
  const count = context.options.nproc ?? 1;
  const place = rankOf(process.env);
  const launched = process.env[LAUNCHED] !== undefined;
  if (count > 1 && !launched) {
    if (place)
      throw new DrmError(
        'USAGE',
        `--nproc ${count}: expected to start the processes, found that this is one already (RANK ${place.rank} of WORLD_SIZE ${place.size} in the environment); leave --nproc out, or unset RANK and WORLD_SIZE`,
      );
    const { launch } = await import('./launch.js');
    process.exitCode = await launch(count, { threads: context.global.threads, resume });
    return;
  }
  if (!place) return work(Team.solo, context);
  if (launched && process.channel) {
    // Without the process that started us nobody would end us.
    process.channel.unref();
    process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  } else if (place.rank === 0) {
    const message = `waiting for all ${place.size} processes at ${place.address}:${place.port}`;
    context.events.emit({ event: 'info', message });
  }
  const team = await Team.join(place, context.signal);
  try {
    await work(team, { ...context, events: team.events(context.events), signal: team.signal });
  } catch (thrown) {
    const error = reason(thrown, team, context.signal);
    await team.leave(error);
    throw error;
  }
  await team.leave();
}

/** What the user should hear: not that work was stopped because another process is gone, but that it is gone. */
function reason(thrown: unknown, team: Team, user: AbortSignal): unknown {
  const stopped = thrown instanceof DrmError && thrown.code === 'CANCELLED' && !user.aborted;
  const error = (stopped || thrown === team.peerFailure) && team.peerFailure ? team.peerFailure : thrown;
  if (team.first || !(error instanceof DrmError)) return error;
  return new DrmError(error.code, `rank ${team.rank}: ${error.message}`, error.details, { cause: error });
}
