// ATTRIBUTION.md of the embedded sets: what was done to the images, which CC-BY asks for, and whose they are.
import type { SourceNote } from '../prepared/manifest.js';

export const attribution = (notes: readonly SourceNote[], changes: readonly string[]): string =>
  [
    '# Sources and licences of these images',
    '',
    ...changes,
    '',
    ...notes.map(
      (note) =>
        `- ${note.name} ${note.version}: by ${note.author} (${note.url}), licence ${note.licence} (${note.licence_url})`,
    ),
    '',
  ].join('\n');
