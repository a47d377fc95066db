// Where this process stands among those that train one model, by the environment that launchers set.
import { DrmError } from '../../binding/error.js';
import type { GroupPlace } from '../../binding/types.js';

export interface Rank extends GroupPlace {
  /** On its machine: which GPU is its own. */
  localRank: number;
  /** Processes on its machine; all of them, where the launcher does not say. */
  localSize: number;
}

/** Set by our own launcher beside the others; see launch.ts. */
export const LAUNCHED = 'DRM_LAUNCHED';

/** Seconds in which all processes must have come: on a cluster some start minutes after others. DRM_JOIN_SECONDS says others. */
const PATIENCE = 600;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. Inside a Slurm step that sets the last two, Slurm's own
 * names serve for the others. Undefined for a process alone. Throws DrmError ENVIRONMENT naming what is missing or odd.
 */
export function rankOf(env: Environment): Rank | undefined {
  const slurm = env.MASTER_ADDR !== undefined && env.SLURM_STEP_ID !== undefined;
  const names = { RANK: 'SLURM_PROCID', WORLD_SIZE: 'SLURM_NTASKS', LOCAL_RANK: 'SLURM_LOCALID' } as const;
  const named = (name: string): string | undefined =>
    env[name] ?? (slurm && name in names ? env[names[name as keyof typeof names]] : undefined);
  if (named('RANK') === undefined && named('WORLD_SIZE') === undefined) return undefined;

  const needed = ['RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'];
  if (named('WORLD_SIZE') === '1') return undefined;
  const missing = needed.filter((name) => !named(name));
  if (missing.length > 0)
    throw new DrmError(
      'ENVIRONMENT',
      `[parallel] expected ${needed.join(', ')} in the environment, as torchrun sets them, found no ${missing.join(', ')}; set them all, or none to run as one process (--nproc N starts several on this machine)`,
      { missing: missing.join(', ') },
    );
  const whole = (name: string, least: number, below: number): number => {
    const value = Number(named(name));
    if (Number.isInteger(value) && value >= least && value < below) return value;
    throw new DrmError(
      'ENVIRONMENT',
      `[parallel] ${name}: expected a whole number from ${least} to ${below - 1}, found ${JSON.stringify(named(name))}; correct the environment`,
      { name, found: String(named(name)) },
    );
  };
  const size = whole('WORLD_SIZE', 1, 1 << 20);
  const rank = whole('RANK', 0, size);
  return {
    rank,
    size,
    localRank: named('LOCAL_RANK') === undefined ? 0 : whole('LOCAL_RANK', 0, size),
    localSize: named('LOCAL_WORLD_SIZE') === undefined ? size : whole('LOCAL_WORLD_SIZE', 1, size + 1),
    address: String(env.MASTER_ADDR),
    port: whole('MASTER_PORT', 1, 65536),
    storeIsThere: env.TORCHELASTIC_USE_AGENT_STORE === 'True',
    attempt: env.TORCHELASTIC_RESTART_COUNT ?? '0',
    patience: env.DRM_JOIN_SECONDS === undefined ? PATIENCE : whole('DRM_JOIN_SECONDS', 1, 1 << 20),
  };
}
