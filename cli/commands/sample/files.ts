// What the options of `drm sample` say of files: latents, and the parts of the model.
import { existsSync, statSync } from 'node:fs';
import { DrmError } from '../../../binding/error.js';
import type { ModelOptions } from '../../hub/resolve.js';
import type { SampleContext } from './options.js';

/** Splits FILE[:TENSOR]; a colon inside an existing file's name is part of the name. */
export function splitInit(text: string): { file: string; tensor: string } {
  const at = text.lastIndexOf(':');
  if (existsSync(text) || at < 1) return { file: text, tensor: 'latents' };
  return { file: text.slice(0, at), tensor: text.slice(at + 1) };
}

/** A file of that name is replaced; a folder or a device (/dev/full) must not be. */
export function latentsFile(path: string): string {
  if (existsSync(path) && !statSync(path).isFile())
    throw new DrmError(
      'DISK',
      `[sample] --save-latents ${path}: expected the name of a file, found ${statSync(path).isDirectory() ? 'a folder' : 'a device'}; name a .safetensors file`,
      { file: path },
    );
  return path;
}

export function modelOptions({ t5, ...options }: SampleContext['options']): ModelOptions {
  const files = (['components', 'vae', 'clipL', 'clipG', 'revision'] as const).flatMap((key) =>
    options[key] === undefined ? [] : [[key, options[key]]],
  );
  return { ...Object.fromEntries(files), ...(typeof t5 === 'string' && { t5 }), noT5: t5 === false };
}
