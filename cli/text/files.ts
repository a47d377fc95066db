// A tokenizer's files, read with their shapes checked: what a folder from anywhere holds is not taken on trust.
import { readFileSync, statSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';

/** The largest tokenizers that people use have some 35 MB. */
const LARGEST_FILE = 64 << 20;

/** A value for a message, cut; it may be nested too deeply to be written. */
export function shown(value: unknown): string {
  try {
    return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
  } catch {
    return `a nested ${typeof value}`;
  }
}

/** Of a file that is not as expected. */
export const badFile = (file: string, expected: string, found: string): DrmError =>
  new DrmError(
    'BAD_FILE',
    `[tokenizer] ${file}: expected ${expected}, found ${found}; fetch it again with \`drm pull\``,
    {
      file,
    },
  );

/** Throws DrmError BAD_FILE for what cannot be read, is too large or no UTF-8. */
export function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > LARGEST_FILE) throw badFile(file, `at most ${LARGEST_FILE >> 20} MiB`, `${size >> 20} MiB`);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    if (error instanceof DrmError) throw error;
    throw badFile(file, 'a readable file of UTF-8 text', (error as Error).message);
  }
}

/** A file that holds a JSON object. Throws DrmError BAD_FILE. */
export function readObject(file: string, text: string = readText(file)): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badFile(file, 'JSON', (error as Error).message);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw badFile(file, 'a JSON object', Array.isArray(value) ? 'an array' : shown(value));
}

/** A token's text: written as such, or as an object's `content`. */
export function tokenText(token: unknown, file: string, role: string): string {
  const text = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  if (typeof text === 'string') return text;
  throw badFile(file, `a token's text as ${role}`, shown(token));
}
