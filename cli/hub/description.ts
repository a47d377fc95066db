// What a base says of itself, read once.
import { describeModel } from '../../binding/index.js';
import type { ModelDescription, PipelineSource } from '../../binding/types.js';

/** By the source as it was found: who finds a model again reads its files again. */
const known = new WeakMap<PipelineSource, ModelDescription>();

/**
 * By its configs and the shapes of its weights. All checks and estimates of one command thus speak of the same reading.
 * Throws DrmError BAD_FILE or BAD_CONFIG, as loading it would.
 */
export function describeBase(source: PipelineSource): ModelDescription {
  const before = known.get(source);
  if (before) return before;
  const description = describeModel({ source });
  known.set(source, description);
  return description;
}
