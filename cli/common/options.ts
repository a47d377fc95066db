// Values out of command line text.
import { DrmError } from '../../binding/error.js';
import type { Option } from './command.js';

/** What the user types for an option of this camelCase name. */
export const flagOf = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The camelCase name of an option by its flags: maxPairs of '--max-pairs <n>'. */
export const nameOf = ({ flags }: Pick<Option, 'flags'>): string =>
  (/--([\w-]+)/.exec(flags)?.[1] ?? '').replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The number that an option of this camelCase name holds, if it was given. Throws DrmError USAGE. */
export function numberOption(options: Record<string, unknown>, name: string): number | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (String(text).trim() === '' || Number.isNaN(value))
    throw new DrmError('USAGE', `${flagOf(name)}: expected a number, found ${JSON.stringify(text)}`);
  return value;
}

/** Likewise a whole number from `least` to `most`. */
export function wholeOption(
  options: Record<string, unknown>,
  name: string,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number | undefined {
  const value = numberOption(options, name);
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= least && value <= most))
    throw new DrmError(
      'USAGE',
      `${flagOf(name)} ${options[name]}: expected a whole number from ${least}${most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ''}`,
    );
  return value;
}

const quote = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A drm command line that a shell reads as these words. */
export const commandLine = (words: readonly string[]): string => ['drm', ...words].map(quote).join(' ');
