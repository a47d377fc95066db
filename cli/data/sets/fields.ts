// What the fields of data sets' records say. The same value comes as a number, a bool or a text, by who wrote the file: it
// means the same in each, and what means nothing makes its record bad. No preference may come out of a guess.
import { brief } from '../../common/shape.js';
import { Drop } from '../io/drop.js';

/** Of a value that is there and says nothing. */
export const UNCLEAR = Symbol('unclear');

/** Undefined: not stated. */
export type Stated<T> = T | undefined | typeof UNCLEAR;

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const NO_NUMBER = /^([+-]?(nan|inf|infinity))?$/i;
const FLAGS: Record<string, boolean> = { true: true, yes: true, false: false, no: false };

/** Null, NaN and an empty text state nothing. */
const isAbsent = (value: unknown): boolean => value === undefined || value === null;

/** A number of any width, also as text. */
export function numberIn(value: unknown): Stated<number> {
  if (isAbsent(value)) return undefined;
  const text = textIn(value)?.trim();
  if (text !== undefined) {
    if (NO_NUMBER.test(text)) return undefined;
    return NUMBER.test(text) ? numberIn(Number(text)) : UNCLEAR;
  }
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'number') return UNCLEAR;
  return Number.isFinite(value) ? value : undefined;
}

/** A number from 0 to 1, where yes is 1 and no is 0: a preference, whole or shared. */
export function shareIn(value: unknown): Stated<number> {
  const word = textIn(value)?.trim().toLowerCase() ?? '';
  const flag = typeof value === 'boolean' ? value : Object.hasOwn(FLAGS, word) ? FLAGS[word] : undefined;
  if (flag !== undefined) return Number(flag);
  const number = numberIn(value);
  return typeof number === 'number' && (number < 0 || number > 1) ? UNCLEAR : number;
}

/** Yes or no: a bool, 0 or 1, or one of these as text. */
export function flagIn(value: unknown): Stated<boolean> {
  const share = shareIn(value);
  return typeof share !== 'number' ? share : share === 0 || share === 1 ? share === 1 : UNCLEAR;
}

/** Numbers, all of them stated, of a list of this length. */
export function numbersIn(value: unknown, count: number): Stated<number[]> {
  if (isAbsent(value)) return undefined;
  if (!Array.isArray(value) || value.length !== count) return UNCLEAR;
  const numbers = value.map(numberIn);
  return numbers.every((one) => typeof one === 'number') ? numbers : UNCLEAR;
}

/** Text, also as the bytes that Parquet gives of columns that do not say that they hold text. */
export function textIn(value: unknown): string | undefined {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  return typeof value === 'string' ? value : undefined;
}

/** Reads the optional fields of a record; `fault` is the first that says nothing. */
export class Fields {
  fault: Drop | undefined;

  constructor(
    private readonly record: Record<string, unknown>,
    private readonly where: string,
  ) {}

  /** Undefined where it is not stated, or faulty. */
  take<T>(field: string, read: (value: unknown) => Stated<T>): T | undefined {
    const value = this.record[field];
    const found = read(value);
    if (found !== UNCLEAR) return found;
    this.fault ??= new Drop('bad_record', `${this.where}: ${field} is ${brief(value)}`);
    return undefined;
  }
}
