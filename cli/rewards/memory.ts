// Whether several scorers may stay loaded beside each other.
import { freemem } from 'node:os';
import { runtimeInfo } from '../../binding/index.js';
import type { Reward } from './reward.js';

/** Of the free memory: images, activations and the model that makes the images need the rest. */
const SHARE = 0.6;

/** Bytes; undefined where the driver does not tell. */
function freeBytes(device: string): number | undefined {
  if (!device.startsWith('cuda')) return freemem();
  const index = Number(/^cuda:(\d+)$/.exec(device)?.[1] ?? 0);
  return runtimeInfo().gpus[index]?.freeBytes || undefined;
}

/** Of weights whose size is known before they are loaded. */
export function fitInMemory(rewards: readonly Reward[], device: string): boolean {
  const free = freeBytes(device);
  const needed = rewards.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  return free === undefined || needed <= free * SHARE;
}
