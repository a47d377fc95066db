// From "auto" to what this machine has.
import { DrmError } from '../../binding/error.js';
import type { Dtype } from '../../binding/types.js';

export interface DeviceSettings {
  device: string;
  dtype: 'auto' | Dtype;
}

/** Of a number in memory. */
export const bytesOf = (dtype: Dtype): number => (dtype === 'fp32' ? 4 : 2);

/** `team`: of several processes on this machine each has a GPU of its own. */
export async function chooseDevice(
  settings: DeviceSettings,
  team: { size: number; localRank: number } = { size: 1, localRank: 0 },
): Promise<{ device: string; dtype: Dtype }> {
  const { runtimeInfo } = await import('../../binding/index.js');
  let device = settings.device;
  if (device === 'auto') {
    const info = runtimeInfo();
    device = info.cudaBuilt && info.gpus.length > 0 && !info.cudaError ? 'cuda' : 'cpu';
  }
  if (team.size > 1) {
    if (device.startsWith('cuda:'))
      throw new DrmError(
        'BAD_CONFIG',
        `[device] expected cuda, of which each of the ${team.size} processes takes its own, found ${device} for all of them; give --device cuda`,
        { key: 'device', found: device },
      );
    if (device === 'cuda') device = `cuda:${team.localRank}`;
  }
  return { device, dtype: settings.dtype === 'auto' ? (device === 'cpu' ? 'fp32' : 'bf16') : settings.dtype };
}

const NO_BF16 = 'this CPU has no instructions for bf16';

export interface TrainingDevice {
  device: string;
  dtype: Dtype;
  /** Why, where the user did not choose. */
  because?: string;
  /** What the user's choice costs here. */
  warning?: string;
}

/**
 * The same for a training, which is quicker in bf16 on a CPU that has instructions for it, and many times slower on one
 * that has none.
 */
export async function chooseForTraining(
  settings: DeviceSettings,
  team: { size: number; localRank: number },
): Promise<TrainingDevice> {
  const { runtimeInfo } = await import('../../binding/index.js');
  const { device, dtype } = await chooseDevice(settings, team);
  if (device !== 'cpu') return { device, dtype };
  const { cpuBf16 } = runtimeInfo();
  if (settings.dtype === 'auto')
    return cpuBf16
      ? { device, dtype: 'bf16', because: 'this CPU has instructions for bf16' }
      : { device, dtype: 'fp32', because: NO_BF16 };
  if (dtype === 'fp32' || cpuBf16) return { device, dtype };
  return {
    ...{ device, dtype },
    warning: `dtype ${dtype}: ${NO_BF16}, so that each step takes several times as long as in fp32; --dtype auto takes what is quick here`,
  };
}
