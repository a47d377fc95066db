// How far another image is from a caption, and one that is as far as wanted.
import type { PhiloxStream } from '../../random/philox_stream.js';
import { GRADES, type Grade } from './corruptions.js';
import type { EmojiImage } from './emoji.js';

const known = new Map<string, string[]>();
function wordsOf(concept: string): string[] {
  const words = known.get(concept) ?? concept.split(' ').filter((word) => word.length > 3);
  known.set(concept, words);
  return words;
}

/** How far another image is from a caption: 1 is only the style, 5 is another style and another kind of thing. */
export function distance(a: EmojiImage, b: EmojiImage): Grade | undefined {
  const sameStyle = a.style === b.style;
  if (a.concept === b.concept) return sameStyle ? undefined : 1;
  // Variants of one thing may look alike, and no order is known.
  if (a.family === b.family) return undefined;
  if (!sameStyle) return a.category === b.category ? undefined : 5;
  if (a.category !== b.category) return 4;
  const words = wordsOf(a.concept);
  return wordsOf(b.concept).some((word) => words.includes(word)) ? 2 : 3;
}

/** One of the images at this distance, or at the nearest one that there is. */
export function wrongOne(of: EmojiImage, from: EmojiImage[], grade: Grade, draws: PhiloxStream) {
  const far = from.map((other) => distance(of, other));
  const byNearness = [...GRADES].sort((a, b) => Math.abs(a - grade) - Math.abs(b - grade));
  for (const wanted of byNearness) {
    const found = far.flatMap((grade, i) => (grade === wanted ? [i] : []));
    if (found.length > 0) return { image: from[draws.pick(found)] as EmojiImage, grade: wanted };
  }
  return undefined;
}
