// From what went wrong to what the user reads and the shell sees.
import { DrmError, type ErrorCode } from '../../binding/error.js';
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

/** libvips, glib, V8 and the system each have words of their own for it. */
const NO_MEMORY =
  /unable to (create|start) thread|creating thread|out of memory|(cannot|can't) allocate|allocation failed|failed to map segment|bad_alloc/i;

/** What this process lacks, where that is why something failed: memory, threads, open files. */
function lackBehind(error: unknown): DrmError | undefined {
  if (error instanceof DrmError || !(error instanceof Error)) return undefined;
  const { code = '', syscall = '' } = error as NodeJS.ErrnoException;
  const said = error.message.split('\n', 1)[0] ?? '';
  const lack = (kind: ErrorCode, expected: string, advice: string) =>
    new DrmError(kind, `[system] expected ${expected}, found ${said}; ${advice}`, { reason: code }, { cause: error });
  if (code === 'EMFILE' || code === 'ENFILE' || said.includes('Too many open files'))
    return lack('ENVIRONMENT', 'to open one more file', 'raise the limit (ulimit -n 4096) or end other programs');
  if (code === 'ENOMEM' || (code === 'EAGAIN' && syscall.startsWith('spawn')) || NO_MEMORY.test(said))
    return lack(
      'OUT_OF_MEMORY',
      'memory and threads to go on with',
      'end other programs, raise the limits (ulimit -v, ulimit -u), or ask for less at once',
    );
  return undefined;
}

/** For whoever catches errors to say that a file is bad: it may be good, and this process lacks what reading it takes. */
export function throwLack(error: unknown): void {
  const lack = lackBehind(error);
  if (lack) throw lack;
}

/** What is wrong with a disk or its permissions, where nobody has said it better. */
function diskTrouble(error: unknown): DrmError | undefined {
  const { code = '', path, message } = error as NodeJS.ErrnoException;
  if (error instanceof DrmError || !['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EFBIG', 'EACCES', 'EPERM'].includes(code))
    return undefined;
  const advice = code === 'ENOSPC' || code === 'EDQUOT' ? 'free some space' : 'check the disk and its permissions';
  const details = { reason: code, ...(path !== undefined && { file: path }) };
  return new DrmError('DISK', `[system] a file cannot be used: ${message}; ${advice}`, details, { cause: error });
}

export function exitCode(error: unknown): number {
  return error instanceof DrmError ? EXIT[error.code] : 1;
}

/** The error event of anything thrown. Stacks are for --verbose, and for bugs of ours, which a report needs them for. */
export function errorEvent(thrown: unknown, verbose: boolean): Extract<Event, { event: 'error' }> {
  const error = lackBehind(thrown) ?? diskTrouble(thrown) ?? thrown;
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
