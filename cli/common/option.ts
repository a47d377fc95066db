// Options and arguments of a command as definitions, and the types of the values that they give.

export interface Option {
  /** commander's notation: '--steps <n>', '--json', '-p, --prompt <text>', '--no-t5'. */
  flags: string;
  description: string;
  /** Shown in help; the value itself comes from the schema or from the command. */
  default?: string;
  /** May be given several times; the command sees an array. */
  repeatable?: boolean;
  /** The only values allowed; also what completion offers. */
  choices?: readonly string[];
  /** Flags that work too and are not shown: what it was called before, what other tools call it. */
  aliases?: readonly string[];
  /** The heading in help under which it stands; see `grouped()`. */
  group?: string;
  /** From the text to the value that the command sees; `flag` is for messages. Without it the text. Throws DrmError USAGE. */
  parse?: (text: string, flag: string) => unknown;
}

export interface Argument {
  /** commander's notation: '<id>', '[file]', '<image...>'. */
  name: string;
  description: string;
  choices?: readonly string[];
}

/** Options that stand in help under one heading. */
export const grouped = <const Options extends readonly Option[]>(group: string, options: Options): Options =>
  options.map((option) => ({ group, ...option })) as readonly Option[] as Options; // the type has no need of the heading

type Camel<Word extends string> = Word extends `${infer Head}-${infer Rest}`
  ? `${Head}${Capitalize<Camel<Rest>>}`
  : Word;
/** 'prompt <text>' of '-p, --prompt <text>'. */
type Long<Flags extends string> = Flags extends `${string}--${infer Rest}` ? Rest : never;
type FirstWord<Text extends string> = Text extends `${infer Word} ${string}` ? Word : Text;
type Positive<Word extends string> = Word extends `no-${infer Rest}` ? Rest : Word;

/** The camelCase name of an option by its flags. None for flags that only a running program knows. */
type NameOf<Flags extends string> = string extends Flags ? never : Camel<Positive<FirstWord<Long<Flags>>>>;

/** What one text is read as. */
type Read<Definition> = Definition extends { parse: (text: string, flag: string) => infer Value }
  ? Value
  : Definition extends { choices: readonly (infer Choice)[] }
    ? Choice
    : string;

type ValueOf<Definition extends Option> = Definition['flags'] extends `${string}--no-${string}`
  ? boolean
  : Definition extends { repeatable: true }
    ? Read<Definition>[] | undefined
    : Definition['flags'] extends `${string} <${string}`
      ? Read<Definition> | undefined
      : Definition['flags'] extends `${string} [${string}`
        ? Read<Definition> | true | undefined
        : boolean;

/**
 * What a command sees of these options, by camelCase name: undefined where nothing was given, but false for a switch. The
 * list is a constant (`as const satisfies readonly Option[]`); flags that registries add are not among the names.
 */
export type OptionsOf<Definitions extends readonly Option[]> = {
  [Definition in Definitions[number] as NameOf<Definition['flags']>]: ValueOf<Definition>;
};

type ArgumentOf<Definition extends Argument> = Definition['name'] extends `${string}...${string}`
  ? Read<Definition>[]
  : Definition['name'] extends `[${string}`
    ? Read<Definition> | undefined
    : Read<Definition>;

/** Positional arguments in order; a variadic one is an array. */
export type ArgumentsOf<Definitions extends readonly Argument[]> = {
  [At in keyof Definitions]: ArgumentOf<Definitions[At]>;
};
