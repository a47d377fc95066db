// Values out of command line text.
import { DrmError } from '../../binding/error.js';
import type { Option, OptionsOf } from './option.js';

/** What the user types for an option of this camelCase name. */
export const flagOf = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The camelCase name of an option by its flags: maxPairs of '--max-pairs <n>', t5 of '--no-t5'. */
export const nameOf = ({ flags }: Pick<Option, 'flags'>): string =>
  (/--(?:no-)?([\w-]+)/.exec(flags)?.[1] ?? '').replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The number that a text is. Throws DrmError USAGE. */
export function toNumber(text: string, flag: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value))
    throw new DrmError('USAGE', `${flag}: expected a number, found ${JSON.stringify(text)}`);
  return value;
}

/** Likewise a whole number from `least` to `most`. */
export const toWhole =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string, flag: string): number => {
    const value = toNumber(text, flag);
    if (!(Number.isSafeInteger(value) && value >= least && value <= most))
      throw new DrmError(
        'USAGE',
        `${flag} ${text}: expected a whole number from ${least}${most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ''}`,
      );
    return value;
  };

type Given = Readonly<Record<string, unknown>>;

function valueIn(definition: Option, given: Given, isKnown: boolean): unknown {
  const { flags, repeatable, aliases = [], parse } = definition;
  const name = nameOf(definition);
  const known = [name, ...aliases.map((alias) => nameOf({ flags: alias }))];
  const said = known.filter((one) => typeof given[one] === 'string');
  if (said.length > 1)
    throw new DrmError('USAGE', `${said.map(flagOf).join(' and ')}: expected one of them, since they say the same`);
  // commander gives what was not said of --no-x as true, unless there is an --x beside it.
  if (flags.includes('--no-')) return known.some((one) => given[one] === false) ? false : isKnown ? undefined : true;
  const value = known.map((one) => given[one]).find((one) => one !== undefined);
  const isSwitch = !/ [<[]/.test(flags);
  if (value === undefined) return isSwitch ? false : undefined;
  const read = (one: unknown) => (typeof one === 'string' && parse ? parse(one, flagOf(name)) : one);
  return repeatable && Array.isArray(value) ? value.map(read) : read(value);
}

/** What a command sees of what commander found. Throws DrmError USAGE for a text that its option does not take. */
export function readOptions<Definitions extends readonly Option[]>(
  definitions: Definitions,
  given: Given,
): OptionsOf<Definitions> {
  const values = new Map<string, unknown>();
  for (const definition of definitions) {
    const name = nameOf(definition);
    const value = valueIn(definition, given, values.has(name));
    if (value !== undefined || !values.has(name)) values.set(name, value);
  }
  return Object.fromEntries(values) as OptionsOf<Definitions>; // the type is what valueIn() does, in types
}

/** Of options that were read by these definitions and others, those of these. */
export function pickOptions<Definitions extends readonly Option[]>(
  definitions: Definitions,
  options: object,
): OptionsOf<Definitions> {
  const names = new Set(definitions.map(nameOf));
  return Object.fromEntries(Object.entries(options).filter(([name]) => names.has(name))) as OptionsOf<Definitions>;
}

/** What a command cannot do without. */
interface Needed<Value> {
  value: Value | undefined;
  /** In words: 'a folder to write to'. */
  what: string;
  /** What to type: '--out DIR'. */
  give: string;
}

/** The values, all of which are there; an empty list is as good as none. Throws DrmError USAGE that names all that lack. */
export function needed<All extends Record<string, Needed<unknown>>>(
  command: string,
  all: All,
): { [Name in keyof All]: NonNullable<All[Name]['value']> } {
  const lacking = Object.values(all).filter(
    ({ value }) => value === undefined || (Array.isArray(value) && !value.length),
  );
  if (lacking.length > 0)
    throw new DrmError(
      'USAGE',
      `${command}: expected ${lacking.map(({ what }) => what).join(' and ')}; give ${lacking.map(({ give }) => give).join(', and ')}`,
    );
  const values = Object.entries(all).map(([name, { value }]) => [name, value]);
  return Object.fromEntries(values) as { [Name in keyof All]: NonNullable<All[Name]['value']> }; // as was seen above
}

const quote = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A drm command line that a shell reads as these words. */
export const commandLine = (words: readonly string[]): string => ['drm', ...words].map(quote).join(' ');
