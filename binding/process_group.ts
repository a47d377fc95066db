// The processes that train one model together; see csrc/parallel/process_group.h.

import type { GroupHandle } from './handles.js';
import { runJob } from './job.js';
import { callNative, type Native, type NativeJob, type NativeListener } from './native.js';
import type { GroupPlace, JobOptions, ParallelInfo } from './types.js';

export class ProcessGroup {
  readonly rank: number;
  readonly size: number;
  readonly handle: GroupHandle;

  private constructor(handle: GroupHandle, { rank, size }: GroupPlace) {
    this.handle = handle;
    this.rank = rank;
    this.size = size;
  }

  /** Waits for all processes. Rejects with PEER_LOST when some do not come, DEVICE when there is no way to meet. */
  static async join(place: GroupPlace, job: JobOptions = {}): Promise<ProcessGroup> {
    return new ProcessGroup(await runJob(job, (addon, listen) => addon.joinGroup(place, listen)), place);
  }

  /** What each process has said, by rank. All must call it. Rejects with PEER_LOST naming the process that is gone. */
  exchange(text: string, job: JobOptions = {}): Promise<string[]> {
    return this.#run(job, (addon, handle, listen) => addon.groupExchange(handle, { text }, listen));
  }

  /** Resolves when this process leaves; rejects with PEER_LOST or CANCELLED as soon as another one is gone before that. */
  watch(job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.groupWatch(handle, listen));
  }

  /** Says goodbye, with the error that ends this process, if one does. Takes a moment where the others meet here. */
  async leave(error?: { code: string; message: string }): Promise<void> {
    const said = { code: error?.code ?? '', message: error?.message ?? '' };
    await this.#run({}, (addon, handle, listen) => addon.leaveGroup(handle, said, listen));
  }

  async #run<Result>(
    job: JobOptions,
    start: (addon: Native, handle: GroupHandle, listen: NativeListener) => NativeJob<Result>,
  ): Promise<Result> {
    return await runJob(job, (addon, listen) => start(addon, this.handle, listen));
  }
}

/** What this build can connect processes with. */
export function parallelInfo(): ParallelInfo {
  return callNative((addon) => addon.parallelInfo());
}
