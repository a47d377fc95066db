// Tells one model's weights from another's under the same name.
import { createHash, type Hash } from 'node:crypto';
import { closeSync, createReadStream, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import type { ComponentFiles, PipelineSource } from '../../binding/types.js';
import { shardsOf } from './weight_index.js';

const ENDS = 1 << 20;

function hashEnds(hash: Hash, file: string): void {
  const fd = openSync(file, 'r');
  try {
    const { size } = fstatSync(fd);
    const length = Math.min(ENDS, size);
    for (const at of [0, size - length]) {
      const bytes = Buffer.alloc(length);
      for (let have = 0; have < length; ) {
        const got = readSync(fd, bytes, have, length - have, at + have);
        if (got === 0) break;
        have += got;
      }
      hash.update(bytes);
    }
    hash.update(String(size));
  } finally {
    closeSync(fd);
  }
}

/**
 * Of all components, such as those of a PipelineSource; a text is a small file's name. Looks at size, beginning and end of
 * each file: all of a large model would take minutes to read, and training changes every tensor.
 */
export function weightsFingerprint(components: PipelineSource | Record<string, ComponentFiles | string>): string {
  const hash = createHash('sha256');
  for (const component of Object.values(components) as (ComponentFiles | string)[]) {
    if (typeof component === 'string') hash.update(readFileSync(component));
    else
      for (const file of component.weights) {
        if (!file.endsWith('.index.json')) {
          hashEnds(hash, file);
          continue;
        }
        for (const shard of shardsOf(file)) hashEnds(hash, shard);
      }
  }
  return hash.digest('hex').slice(0, 32);
}

/** sha256 of a part's weights, file by file; of a VAE it is what base_vae_sha256 of a reward model holds. */
export async function weightsHash({ weights }: ComponentFiles): Promise<string> {
  const hash = createHash('sha256');
  for (const file of weights) for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
