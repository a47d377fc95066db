// The index of weights that are in several files.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { readShaped } from '../common/json.js';
import { mapOf, objectOf, text } from '../common/shape.js';

const INDEX = objectOf<{ weight_map: Record<string, string> }>({ weight_map: mapOf(text) });

/** The files that a `.safetensors.index.json` names, each once, by name. Throws DrmError BAD_FILE, MISSING_WEIGHTS. */
export function shardsOf(index: string): string[] {
  const as = { part: 'model', advice: 'fetch it again with `drm pull`' };
  const { weight_map: map } = readShaped(index, INDEX, as);
  const shards = [...new Set(Object.values(map))].sort().map((name) => join(dirname(index), name));
  const missing = shards.find((shard) => !existsSync(shard));
  if (missing !== undefined)
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[model] ${missing}: expected a file of weights that ${index} names, found none; fetch it with \`drm pull\``,
      { file: missing },
    );
  return shards;
}
