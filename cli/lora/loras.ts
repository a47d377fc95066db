// The adapters that a user asks for: FILE[:SCALE], found on disk, told about once they are applied.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { LoraInfo, LoraUse } from '../../binding/types.js';
import type { Events } from '../common/events.js';
import { hashOfFile } from '../common/files.js';
import { cachedSnapshot, isHubId } from '../hub/cache.js';
import { checkpointNamed } from '../runs/checkpoint_name.js';
import { writeCheckpointAdapter } from './checkpoint_adapter.js';

export interface Lora extends LoraUse {
  /** As the user named it, without the scale. */
  name: string;
  sha256: string;
}

/** Splits FILE[:SCALE]; a colon inside an existing file's name is part of the name. */
export function splitScale(text: string): { name: string; strength: number } {
  const at = text.lastIndexOf(':');
  if (existsSync(text) || at < 1) return { name: text, strength: 1 };
  const scale = text.slice(at + 1);
  const strength = Number(scale);
  if (scale.trim() === '' || !Number.isFinite(strength))
    throw new DrmError(
      'USAGE',
      `--lora ${text}: expected FILE or FILE:SCALE, such as style.safetensors:0.8, found the scale ${JSON.stringify(scale)}`,
    );
  return { name: text.slice(0, at), strength };
}

/** Where the adapter of a folder is: diffusers', PEFT's, that of a run of ours, or the only safetensors file there. */
const IN_FOLDER = [
  'pytorch_lora_weights.safetensors',
  'adapter_model.safetensors',
  join('model', 'pytorch_lora_weights.safetensors'),
];

/** The file behind a name: a file, a folder, a run's checkpoint, or a hub id in the cache. Throws DrmError BAD_FILE. */
export async function findLora(name: string): Promise<string> {
  const checkpoint = await checkpointNamed(name);
  if (checkpoint) return writeCheckpointAdapter(checkpoint);
  const path = existsSync(name) ? name : isHubId(name) ? cachedSnapshot(name) : undefined;
  if (path === undefined)
    throw new DrmError(
      'BAD_FILE',
      `[lora] ${name}: expected an adapter's .safetensors file, a folder with ${IN_FOLDER[0]} or ${IN_FOLDER[1]}, a run or RUN@STEP, or a hub id in the cache, found no such thing; check the path${isHubId(name) ? `, or run \`drm pull ${name}\`` : ''}`,
      { file: name },
    );
  if (!statSync(path).isDirectory()) return path;
  const known = IN_FOLDER.map((file) => join(path, file)).find(existsSync);
  if (known !== undefined) return known;
  const others = readdirSync(path).filter((file) => file.endsWith('.safetensors'));
  if (others.length === 1) return join(path, others[0] as string);
  throw new DrmError(
    'BAD_FILE',
    `[lora] ${name}: expected ${IN_FOLDER[0]} or ${IN_FOLDER[1]} in this folder, found ${others.length === 0 ? 'no .safetensors file' : `several: ${others.slice(0, 5).join(', ')}; name one of them`}`,
    { file: name },
  );
}

/** The adapters that settings name. Throws DrmError USAGE or BAD_FILE. */
export async function findLoras(asked: readonly string[]): Promise<Lora[]> {
  const loras: Lora[] = [];
  for (const text of asked) {
    const { name, strength } = splitScale(text);
    const file = await findLora(name);
    loras.push({ name, strength, file, sha256: await hashOfFile(file) });
  }
  return loras;
}

/** What a model takes. */
export const usesOf = (loras: readonly Lora[]): LoraUse[] => loras.map(({ file, strength }) => ({ file, strength }));

/** "style.safetensors:0.8", as splitScale() reads it. */
export const textOf = ({ name, strength }: Pick<Lora, 'name' | 'strength'>): string => `${name}:${strength}`;

export const UNSTATED =
  'does not say its alpha: alpha = rank, a scale of 1, is assumed, as diffusers does; if it was trained with another, say alpha / rank as FILE:SCALE';

/** Says what was applied. */
export function tellLoras(applied: readonly LoraInfo[], events: Events): void {
  for (const { file, strength, tensors, layers, alphaStated } of applied) {
    events.emit({
      event: 'info',
      message: `${file}: ${tensors} of ${tensors} tensors matched (${layers} layers), times ${strength}`,
    });
    if (!alphaStated) events.emit({ event: 'warning', message: `${file} ${UNSTATED}` });
  }
}
