// JSON as users and other programs hand it over: in UTF-8 with or without a byte order mark, and with NaN and Infinity
// where Python's json module writes them, which stand for "not stated". Every file, line and piece of a stream is read here.
import { constants } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { DrmError, type ErrorCode } from '../../binding/error.js';
import { throwLack } from './errors.js';
import { brief, type Shape } from './shape.js';

/** Deeper ones, which nobody means, are more than JSON.stringify can write. */
const DEEPEST = 1000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = [0x5b, 0x7b];
const CLOSING = [0x5d, 0x7d];
const NOT_FINITE = ['NaN', 'Infinity', '-Infinity'];

const utf8 = new TextDecoder('utf-8', { fatal: true }); // drops a byte order mark, too

/** By its first two bytes: a mark, or an ASCII character with its zero byte. UTF-32 counts as such, too. */
export const isUtf16 = (bytes: Uint8Array): boolean => {
  const [a, b] = bytes;
  return b !== undefined && (a === 0 || b === 0 || (a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff));
};

/** Text of UTF-8. Throws a plain sentence for other encodings. */
export function decodeText(bytes: Uint8Array): string {
  if (isUtf16(bytes)) throw new Error('found UTF-16; save it as UTF-8');
  if (bytes.length > constants.MAX_STRING_LENGTH)
    throw new Error(`found ${bytes.length} bytes, more than a text can have`);
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Error('found bytes that are no UTF-8');
  }
}

/** Visits every character outside of texts; `visit` answers with the last one that it took, `i` itself or a later one. */
function outsideTexts(text: string, visit: (code: number, i: number) => number): void {
  let inText = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) inText = !inText;
    else if (!inText) i = visit(code, i);
    else if (code === BACKSLASH) i += 1;
  }
}

function expectDepth(text: string): void {
  if (text.length <= DEEPEST) return;
  let depth = 0;
  outsideTexts(text, (code, i) => {
    if (OPENING.includes(code)) {
      depth += 1;
      if (depth > DEEPEST) throw new SyntaxError(`nested more than ${DEEPEST} deep`);
    } else if (CLOSING.includes(code)) depth -= 1;
    return i;
  });
}

/** With null for each number that is none, outside of texts. */
function withoutNotFinite(text: string): string {
  const parts: string[] = [];
  let from = 0;
  outsideTexts(text, (_, i) => {
    const word = NOT_FINITE.find((one) => text.startsWith(one, i));
    if (word === undefined) return i;
    parts.push(text.slice(from, i), 'null');
    from = i + word.length;
    return from - 1;
  });
  return [...parts, text.slice(from)].join('');
}

/** The value of a JSON text; what is not finite is null. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  const own = text.startsWith('\ufeff') ? text.slice(1) : text;
  expectDepth(own);
  try {
    return JSON.parse(own);
  } catch (error) {
    const finite = /NaN|Infinity/.test(own) ? withoutNotFinite(own) : own;
    if (finite === own) throw error;
    return JSON.parse(finite);
  }
}

export type JsonObject = Record<string, unknown>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a file is for, for messages. */
export interface JsonFile {
  /** The part of drm that reads it: 'eval'. */
  part: string;
  /** What it should be; JSON by default. */
  expected?: string;
  /** What to do about another one. */
  advice?: string;
  code?: ErrorCode;
}

/** Says what is wrong with the file. */
export const fileFault = (file: string, what: string, { part, advice, code = 'BAD_FILE' }: JsonFile): DrmError =>
  new DrmError(code, `[${part}] ${file}: ${what}${advice === undefined ? '' : `; ${advice}`}`, { file });

/**
 * What `read` makes of a file's text; `source` is where it is, if not under that name (0: standard input). Throws DrmError
 * naming the file when it cannot be read, or `read` throws.
 */
export function readText<T>(file: string, as: JsonFile, read: (text: string) => T, source: string | number = file): T {
  try {
    return read(decodeText(readFileSync(source)));
  } catch (error) {
    throwLack(error);
    throw fileFault(file, `expected ${as.expected ?? 'JSON'} (${(error as Error).message})`, as);
  }
}

/** The value of a file. Throws DrmError naming it when it cannot be read or is no JSON. */
export const readJson = (file: string, as: JsonFile): unknown => readText(file, as, parseJson);

/** The object that a file holds. Throws DrmError. */
export function readObject(file: string, as: JsonFile): JsonObject {
  const value = readJson(file, as);
  if (isObject(value)) return value;
  throw fileFault(file, `expected ${as.expected ?? 'a JSON object'}, found ${brief(value)}`, as);
}

/** A value of the shape. Throws DrmError naming the file, and what is not as it should be within. */
export function shaped<T>(file: string, value: unknown, shape: Shape<T>, as: JsonFile): T {
  try {
    return shape(value, '');
  } catch (error) {
    const { message } = error as Error;
    throw fileFault(file, as.expected === undefined ? message : `expected ${as.expected} (${message})`, as);
  }
}

/** The value of a file, which must be of the shape. Throws DrmError. */
export function readShaped<T>(file: string, shape: Shape<T>, as: JsonFile): T {
  return shaped(file, readJson(file, as), shape, as);
}
