// All distances by name. A new one is its own file, which gives a spec (spec.ts) and, loaded, a Distance (reward.ts), and a
// line in KINDS.
import { DrmError } from '../../binding/error.js';
import { nearest } from '../common/nearest.js';
import { findLpips, findLpipsVgg } from './lpips.js';
import type { DistanceSpec } from './spec.js';

interface DistanceKind {
  name: string;
  about: string;
  /** `place`: what stands after the colon; '' leaves it to where such files usually are. */
  find(name: string, place: string): DistanceSpec;
}

const KINDS: readonly DistanceKind[] = [
  { name: 'lpips', about: "LPIPS v0.1 by AlexNet's features", find: findLpips },
  { name: 'lpips-vgg', about: "LPIPS v0.1 by VGG16's features", find: findLpipsVgg },
];

/** Whether a distance is asked for by this name. */
export const isDistance = (name: string): boolean => KINDS.some((kind) => kind.name === name.split(':')[0]);

/** Throws DrmError USAGE for what is no distance, MISSING_WEIGHTS for one whose files are not here. */
export function findDistance(name: string): DistanceSpec {
  const colon = name.indexOf(':');
  const [wanted, place] = colon < 0 ? [name, ''] : [name.slice(0, colon), name.slice(colon + 1)];
  const kind = KINDS.find((one) => one.name === wanted);
  if (kind && place === '' && colon >= 0)
    throw new DrmError('USAGE', `--diversity ${name}: expected a folder after the colon; give ${wanted}:FOLDER`);
  if (kind) return kind.find(name, place);
  const guess = nearest(
    wanted,
    KINDS.map((one) => one.name),
  );
  const known = KINDS.map((one) => `${one.name}, ${one.name}:FOLDER (${one.about})`).join(', ');
  throw new DrmError(
    'USAGE',
    `--diversity ${name}: expected one of ${known}${guess ? `; did you mean ${guess}?` : ''}`,
    { distance: name },
  );
}
