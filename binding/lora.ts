// Adapter files: told about, renamed, merged into a transformer.
import { runJob } from './job.js';
import type { ComponentFiles, JobOptions, LoraConversion, LoraInfo, LoraInspection, LoraMerge } from './types.js';

/** With a transformer, of which no weights are read, also how many tensors match. Rejects with BAD_FILE or BAD_CONFIG. */
export function inspectLora(file: string, transformer?: ComponentFiles, job: JobOptions = {}): Promise<LoraInspection> {
  return runJob(job, (addon, listen) => addon.inspectLora({ file, ...(transformer && { transformer }) }, listen));
}

/** The same values under other names. Rejects with BAD_FILE, DISK, or BAD_REQUEST for what the other names cannot say. */
export function convertLora(request: LoraConversion, job: JobOptions = {}): Promise<void> {
  return runJob(job, (addon, listen) => addon.convertLora(request, listen));
}

/** Reports phase "merge" in tensors. Rejects with BAD_FILE, BAD_CONFIG, KEYS_MISMATCH, OUT_OF_MEMORY, DISK or CANCELLED. */
export function mergeLoras(request: LoraMerge, job: JobOptions = {}): Promise<LoraInfo[]> {
  return runJob(job, (addon, listen) => addon.mergeLoras(request, listen));
}
