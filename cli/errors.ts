// From what went wrong to what the user reads and the shell sees.
import { DrmError, type ErrorCode } from '../binding/error.js';
import type { Event } from './events.js';

const EXIT: Record<ErrorCode, number> = {
  INTERNAL: 1,
  USAGE: 2,
  BAD_FILE: 3,
  BAD_CONFIG: 3,
  BAD_SHAPE: 3,
  KEYS_MISMATCH: 3,
  BAD_REQUEST: 3,
  NOT_FINITE: 3,
  OUT_OF_MEMORY: 4,
  DEVICE: 4,
  PEER_LOST: 4,
  DISK: 4,
  ENVIRONMENT: 4,
  MISSING_WEIGHTS: 4,
  NETWORK: 4,
  CANCELLED: 130,
};

export function exitCode(error: unknown): number {
  return error instanceof DrmError ? EXIT[error.code] : 1;
}

/** The error event of anything thrown. Stacks are for --verbose, and for bugs of ours, which a report needs them for. */
export function errorEvent(error: unknown, verbose: boolean): Extract<Event, { event: 'error' }> {
  const known = error instanceof DrmError;
  const bug = !known || error.code === 'INTERNAL';
  const text = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const message = [
    bug ? `a bug of ours: ${text}` : text,
    ...(verbose && stack ? [stack] : []),
    ...(bug && !verbose ? ['run again with --verbose for the details that a report needs'] : []),
  ].join('\n');
  return {
    event: 'error',
    code: known ? error.code : 'INTERNAL',
    message,
    details: known ? { ...error.details } : {},
    exit_code: exitCode(error),
  };
}
