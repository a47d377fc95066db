// The one error type that comes out of the binding. No native import here: code that only handles errors must not load
// the addon.

/**
 * Mirrors `enum class Code` in csrc/common/failure.h, up to INTERNAL; that the addon cannot be loaded is ENVIRONMENT, too.
 * The last three come from the command line: wrong usage, weights that are not on this machine, the network.
 */
export const ERROR_CODES = [
  'CANCELLED',
  'OUT_OF_MEMORY',
  'BAD_FILE',
  'BAD_CONFIG',
  'BAD_SHAPE',
  'KEYS_MISMATCH',
  'BAD_REQUEST',
  'NOT_FINITE',
  'DEVICE',
  'PEER_LOST',
  'DISK',
  'ENVIRONMENT',
  'INTERNAL',
  'USAGE',
  'MISSING_WEIGHTS',
  'NETWORK',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Facts beside the message, as data: file, key, expected, found, bytes, ... */
export type ErrorDetails = Readonly<Record<string, string>>;

export class DrmError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DrmError';
    this.code = code;
    this.details = details;
  }
}

/** What the native side says about a failure. */
export interface NativeFailure {
  code: string;
  message: string;
  details: Record<string, string>;
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return ERROR_CODES.includes(code as ErrorCode);
}

/** `site` carries the JavaScript stack of the call that failed, since a worker thread has none. */
export function fromNative(failure: NativeFailure, site?: { stack?: string }): DrmError {
  const code = isErrorCode(failure.code) ? failure.code : 'INTERNAL';
  const error = new DrmError(code, failure.message, failure.details);
  const frames = site?.stack?.split('\n').slice(1).join('\n');
  if (frames) error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}
