// Formats of images that are written. Apart from their writer, since help names them and must not load it.
import { extname } from 'node:path';

export const FORMATS = ['png', 'webp', 'jpeg'] as const;
export type Format = (typeof FORMATS)[number];

/** What a file of that format is called behind the point. */
export const extensionOf = (format: Format): string => (format === 'jpeg' ? 'jpg' : format);

/** The format that a file's name asks for, if any. */
export function formatNamed(path: string): Format | undefined {
  const end = extname(path).slice(1).toLowerCase();
  return FORMATS.find((format) => end === format || end === extensionOf(format));
}
