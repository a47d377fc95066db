// What a value read from a file must look like. A shape gives the value back with its type, or throws a plain sentence
// that names the place within it: "shards[3].name: expected a text, found 5".

/** `at`: the place of the value; empty for the whole. */
export type Shape<T> = (value: unknown, at: string) => T;
export type ShapeOf<S> = S extends Shape<infer T> ? T : never;

const LONGEST = 80;

/** The beginning of a value, for messages. */
export function brief(value: unknown): string {
  const plain = (_: string, part: unknown) => (typeof part === 'bigint' ? Number(part) : part);
  const text = JSON.stringify(value, plain) ?? 'nothing';
  return text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text;
}

function shapeOf<T>(expected: string, fits: (value: unknown) => boolean): Shape<T> {
  return (value, at) => {
    if (fits(value)) return value as T;
    throw new Error(`${at === '' ? '' : `${at}: `}expected ${expected}, found ${brief(value)}`);
  };
}

/** What a record itself has under a name: "constructor" is a name like any other. */
export const own = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

export const anything: Shape<unknown> = (value) => value;
export const text = shapeOf<string>('a text', (value) => typeof value === 'string');
export const number = shapeOf<number>('a number', Number.isFinite);
export const flag = shapeOf<boolean>('true or false', (value) => typeof value === 'boolean');
/** A whole number from 0. */
export const count = shapeOf<number>(
  'a whole number from 0',
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);
const list = shapeOf<unknown[]>('a list', Array.isArray);
const anObject = shapeOf<Record<string, unknown>>(
  'an object',
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
);

export const matching = (pattern: RegExp, expected: string): Shape<string> =>
  shapeOf(expected, (value) => typeof value === 'string' && pattern.test(value));

export const oneOf = <T extends string | number>(...values: readonly T[]): Shape<T> =>
  shapeOf(values.map((value) => JSON.stringify(value)).join(' or '), (value) => values.includes(value as T));

/** Null is absent; an object loses a field that is. */
export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value, at) =>
    value === undefined || value === null ? undefined : shape(value, at);

export const listOf =
  <T>(shape: Shape<T>): Shape<T[]> =>
  (value, at) => {
    for (const [i, one] of list(value, at).entries()) shape(one, `${at}[${i}]`);
    return value as T[];
  };

/** An object of any keys. */
export const mapOf =
  <T>(shape: Shape<T>): Shape<Record<string, T>> =>
  (value, at) => {
    for (const [key, one] of Object.entries(anObject(value, at))) shape(one, at === '' ? key : `${at}.${key}`);
    return value as Record<string, T>;
  };

/** An object with these fields; others may be there. `formerly`: names that fields had in files of earlier versions. */
export const objectOf =
  <T extends object>(
    fields: { [K in keyof T]-?: Shape<T[K]> },
    formerly: Partial<Record<NoInfer<keyof T>, string>> = {},
  ): Shape<T> =>
  (value, at) => {
    const found = anObject(value, at);
    for (const [key, former] of Object.entries(formerly) as [string, string][])
      if (!Object.hasOwn(found, key) && Object.hasOwn(found, former)) found[key] = found[former];
    for (const [key, shape] of Object.entries(fields) as [string, Shape<unknown>][]) {
      const given = own(found, key);
      const right = shape(given, at === '' ? key : `${at}.${key}`);
      if (right === undefined) delete found[key];
      else if (right !== given) found[key] = right;
    }
    return value as T;
  };
