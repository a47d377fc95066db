// Weight files: what is inside, by name. Both reject with BAD_FILE, ENVIRONMENT or OUT_OF_MEMORY.
import { runJob } from './job.js';
import type { ComponentInside, JobOptions } from './types.js';

/** Names of all tensors, as the files have them; a file may be an index of shards. */
export function tensorNames(files: readonly string[], job: JobOptions = {}): Promise<string[]> {
  return runJob(job, (addon, listen) => addon.tensorNames({ files: [...files] }, listen));
}

/** What a single file of SD3's original form holds beside the transformer. */
export function componentsInside(file: string, job: JobOptions = {}): Promise<ComponentInside[]> {
  return runJob(job, (addon, listen) => addon.componentsInside({ file }, listen));
}
