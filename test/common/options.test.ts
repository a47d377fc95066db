// What a command sees of its options is what its definitions say: the types by the compiler, the values here.
import { describe, expect, expectTypeOf, test } from 'vitest';
import { defineCommand } from '../../cli/common/command.js';
import type { Argument, ArgumentsOf, Option, OptionsOf } from '../../cli/common/option.js';
import { flagOf, nameOf, pickOptions, readOptions, toNumber, toWhole } from '../../cli/common/options.js';

const OPTIONS = [
  { flags: '-p, --prompt <text>', description: '', repeatable: true },
  { flags: '--max-pairs <n>', description: '', parse: toWhole(1, 10) },
  { flags: '--noise-level <a>', description: '', parse: toNumber },
  { flags: '--export <layout>', description: '', choices: ['drm', 'authors'] },
  { flags: '--mix <list=images[:n]>', description: '', repeatable: true, parse: toNumber },
  { flags: '--preview [steps]', description: '', parse: toNumber },
  { flags: '--grid', description: '' },
  { flags: '--t5 <file>', description: '' },
  { flags: '--no-t5', description: '' },
  { flags: '--no-images', description: '', aliases: ['--no-pictures'] },
] as const satisfies readonly Option[];

test('types follow from the definitions', () => {
  expectTypeOf<OptionsOf<typeof OPTIONS>>().toEqualTypeOf<{
    prompt: string[] | undefined;
    maxPairs: number | undefined;
    noiseLevel: number | undefined;
    export: 'drm' | 'authors' | undefined;
    mix: number[] | undefined;
    preview: number | true | undefined;
    grid: boolean;
    t5: string | boolean | undefined;
    images: boolean;
  }>();
  const positional = [
    { name: '<action>', description: '', choices: ['show', 'check'] },
    { name: '<file>', description: '' },
    { name: '[image...]', description: '' },
  ] as const satisfies readonly Argument[];
  expectTypeOf<ArgumentsOf<typeof positional>>().toEqualTypeOf<readonly ['show' | 'check', string, string[]]>();
  expectTypeOf<ArgumentsOf<readonly [{ name: '[file]'; description: '' }]>>().toEqualTypeOf<
    readonly [string | undefined]
  >();
});

test('flags that only a running program knows leave the others their types', () => {
  const registered: Option[] = [{ flags: '--toy', description: '' }];
  defineCommand({
    name: 'x',
    summary: '',
    examples: [],
    options: [...registered, { flags: '--k <n>', description: '', parse: toNumber }],
    async run({ options }) {
      expectTypeOf(options).toEqualTypeOf<{ k: number | undefined }>();
      // @ts-expect-error: no such option
      return options.steps;
    },
  });
});

describe('values', () => {
  const nothing = { t5: undefined, images: true, pictures: true }; // as commander gives it
  test('not given: undefined, and false for a switch', () => {
    expect(readOptions(OPTIONS, nothing)).toEqual({
      ...{ prompt: undefined, maxPairs: undefined, noiseLevel: undefined, export: undefined, mix: undefined },
      ...{ preview: undefined, grid: false, t5: undefined, images: true },
    });
    expect(readOptions(OPTIONS, {}).images).toBe(true);
  });
  test('given', () => {
    const given = { prompt: ['a'], maxPairs: '3', noiseLevel: '-.5', mix: ['1', '2'], preview: true, grid: true };
    expect(readOptions(OPTIONS, { ...nothing, ...given, t5: false })).toMatchObject({
      ...{ prompt: ['a'], maxPairs: 3, noiseLevel: -0.5, mix: [1, 2], preview: true, grid: true, t5: false },
    });
    expect(readOptions(OPTIONS, { ...nothing, preview: '7', t5: 'f' })).toMatchObject({ preview: 7, t5: 'f' });
  });
  test('under the name that an option had before, or has elsewhere', () => {
    expect(readOptions(OPTIONS, { ...nothing, pictures: false })).toMatchObject({ images: false });
    expect(readOptions(OPTIONS, { ...nothing, pictures: false })).not.toHaveProperty('pictures');
    const renamed = [{ flags: '--new <x>', description: '', aliases: ['--old <x>', '--theirs <x>'] }] as const;
    expect(readOptions(renamed, { old: 'x' })).toEqual({ new: 'x' });
    expect(readOptions(renamed, { theirs: 'x' })).toEqual({ new: 'x' });
    expect(() => readOptions(renamed, { theirs: 'x', new: 'y' })).toThrow('--new and --theirs: expected one of them');
  });
  test.each([
    ['maxPairs', '11', '--max-pairs 11: expected a whole number from 1 to 10'],
    ['maxPairs', '1.5', '--max-pairs 1.5: expected a whole number from 1 to 10'],
    ['noiseLevel', ' ', '--noise-level: expected a number, found " "'],
    ['preview', 'x', '--preview: expected a number, found "x"'],
    ['mix', ['1', 'x'], '--mix: expected a number, found "x"'],
  ])('%s %j is refused', (name, value, message) =>
    expect(() => readOptions(OPTIONS, { [name]: value })).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(message) }),
    ),
  );
});

test('names', () => {
  expect(OPTIONS.map(nameOf)).toEqual(
    Object.keys({ ...readOptions(OPTIONS, {}) }).flatMap((name) => (name === 't5' ? ['t5', 't5'] : [name])),
  );
  expect(flagOf('maxPairs')).toBe('--max-pairs');
  expect(pickOptions([{ flags: '--k <n>', description: '' }], { k: 3, n: 4 })).toEqual({ k: 3 });
});
