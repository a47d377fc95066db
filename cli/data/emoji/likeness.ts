// How much images that a base drew for a caption are like the caption's real image, to order them by. A CLIP says so:
// pixels and latents say where the colours are, and hardly what an image shows (measured: docs/embedded-model.md).
import type { Image } from '../../image/write.js';
import { GRADES, type Grade } from './corruptions.js';

/** More is more alike. */
export type Likeness = (drawn: Image[], real: Image, caption: string) => Promise<number[]>;

/** Gaps of likeness below which two images are of the grade; about a fifth of the pairs of `tiny` each. */
const GAPS = [0.005, 0.01, 0.025, 0.05];

/** From 1, hardly any difference as the CLIP sees it, to 5. */
export const gradeOfGap = (gap: number): Grade => GRADES[GAPS.filter((limit) => gap >= limit).length] as Grade;
