// A native job as a promise: AbortSignal to cancel flag (here and nowhere else), listeners, typed errors.
import { DrmError, fromNative } from './error.js';
import { callNative, type Native, type NativeJob, type NativeListener } from './native.js';
import type { JobOptions } from './types.js';

function cancelled(reason: unknown): DrmError {
  return new DrmError('CANCELLED', 'cancelled by the caller', {}, { cause: reason });
}

/**
 * Starts a job and follows it to its end.
 * Rejects with a DrmError, or with whatever a listener threw: that cancels the job. Settles only when the job's thread is
 * done, so a file that the job was writing is then either complete or gone.
 */
export async function runJob<Result>(
  { signal, onProgress, onEvent }: JobOptions,
  start: (addon: Native, listen: NativeListener) => NativeJob<Result>,
): Promise<Result> {
  if (signal?.aborted) throw cancelled(signal.reason);
  const site: { stack?: string } = {};
  Error.captureStackTrace(site, runJob);

  const listen = ((kind: 'progress' | 'event', value: never) => {
    if (kind === 'progress') onProgress?.(value);
    else onEvent?.(value);
  }) as NativeListener;
  const job = callNative((addon) => start(addon, listen));
  const onAbort = () => job.cancel();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const outcome = await job.promise;
    if ('value' in outcome) return outcome.value;
    const error = fromNative(outcome.failure, site);
    if (error.code === 'CANCELLED' && signal?.aborted) error.cause = signal.reason;
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
