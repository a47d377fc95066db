// Emoji in further styles, for `drm data prepare emoji --also`: more images of what training sees already.

import { Drop } from '../io/drop.js';
import type { SourceNote } from '../prepared/manifest.js';
import { type Concept, type EmojiImage, imageOf, isUnseen, unseenStyle, withoutSelectors } from './emoji.js';
import { readIconPackage } from './icon_package.js';

/** An older edition of one of the first sets all but shows what `test-style` holds out of that, and leaves it out, too. */
const FURTHER_SETS: readonly { style: string; name: string; editionOf?: string }[] = [
  { style: 'openmoji', name: '@iconify-json/openmoji' },
  { style: 'emojione', name: '@iconify-json/emojione' },
  { style: 'emojione-v1', name: '@iconify-json/emojione-v1' },
  { style: 'fxemoji', name: '@iconify-json/fxemoji' },
  { style: 'noto-v1', name: '@iconify-json/noto-v1', editionOf: 'noto' },
];
export const FURTHER_STYLES: readonly string[] = FURTHER_SETS.map(({ style }) => style);

/**
 * Images of concepts that training sees already, in further styles: told by code points where the package has them,
 * else by the name, with or without hyphens, that a set of the first three has for the concept. All are of `train`.
 *
 * @param styles Of `FURTHER_STYLES`.
 * @param note What notes of theirs are counted from.
 */
export function furtherImages(
  concepts: Concept[],
  styles: readonly string[],
  note: number,
): { notes: SourceNote[]; images: EmojiImage[]; dropped: Drop[] } {
  const byCode = new Map<string, Concept>();
  const byName = new Map<string, Concept>();
  for (const concept of concepts)
    for (const { code, name } of concept.emoji) {
      byCode.set(code, concept);
      byName.set(name.replaceAll('-', ''), concept);
    }
  const notes: SourceNote[] = [];
  const images: EmojiImage[] = [];
  const dropped: Drop[] = [];
  for (const { style, name: packageName, editionOf } of FURTHER_SETS.filter(({ style }) => styles.includes(style))) {
    const { note: source, chars, names, svgOf } = readIconPackage(packageName, `npm install --no-save ${packageName}`);
    const coded = Object.entries(chars).map(([point, name]) => ({
      name,
      concept: byCode.get(withoutSelectors(point)),
    }));
    const listed =
      coded.length > 0 ? coded : names.map((name) => ({ name, concept: byName.get(name.replaceAll('-', '')) }));
    const seen = new Set<Concept>();
    for (const { name, concept } of listed) {
      const where = `${packageName} ${name}`;
      if (!concept) dropped.push(new Drop('not_a_concept', where));
      else if (seen.has(concept)) dropped.push(new Drop('duplicate', where));
      else if (isUnseen(concept)) dropped.push(new Drop('unseen_concept', where));
      else if (editionOf !== undefined && unseenStyle(concept) === editionOf)
        dropped.push(new Drop('unseen_style', where));
      else {
        seen.add(concept);
        const emoji = {
          set: note + notes.length,
          name,
          code: concept.emoji[0]?.code ?? '',
          category: '',
          svg: svgOf(name),
        };
        images.push(imageOf(concept, 'train', style, emoji));
      }
    }
    notes.push(source);
  }
  return { notes, images, dropped };
}
