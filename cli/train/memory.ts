// How much a training may keep of what it could compute again.
import { totalmem } from 'node:os';

/** Of the whole memory and not of what is free now: a resumed run has to choose as the first one did. */
const SHARE = 4;

/** A quarter of the memory that this device computes in, in bytes; of main memory, that for each of so many processes. */
export async function memoryShare(device: string, processes: number): Promise<number> {
  if (device.startsWith('cuda')) {
    const { runtimeInfo } = await import('../../binding/index.js');
    const gpu = runtimeInfo().gpus[Number(device.split(':')[1] ?? 0)];
    if (gpu) return gpu.totalBytes / SHARE;
  }
  // In a container less than the machine has may be ours.
  const allowed = process.constrainedMemory() ?? 0;
  return (allowed > 0 ? Math.min(allowed, totalmem()) : totalmem()) / SHARE / processes;
}
