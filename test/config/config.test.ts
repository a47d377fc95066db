// Settings: what wins over what, and what is refused.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { generateTypes } from '../../cli/config/generate_types.js';
import {
  CONFIG_FOLDER,
  commandOf,
  configNames,
  loadSchema,
  resolveConfig,
  type Sources,
  taskNames,
  taskOf,
} from '../../cli/config/resolve.js';
import type { Task } from '../../cli/config/types.js';
import { repository, runDrm, temporaryFolder } from '../run_drm.js';

function configFile(name: string, text: string, folder = temporaryFolder()): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

test('types.ts is what the schemas generate', () => {
  expect(readFileSync(join(repository, 'cli/config/types.ts'), 'utf8')).toBe(generateTypes());
});

test('every setting has a default that its own rules allow, and a description', () => {
  const { properties } = loadSchema('sample');
  const set = Object.entries(properties).map(([key, { default: value }]) => `${key}=${JSON.stringify(value)}`);
  const { values } = resolveConfig('sample', { set });
  expect(Object.keys(values)).toEqual(Object.keys(properties));
  for (const { description } of Object.values(properties)) expect(description).toMatch(/\.$/);
});

test('default < extended file < file < --set < flag', () => {
  const folder = temporaryFolder();
  configFile('base.json', '{"task": "sample", "steps": 2, "guidance": 2, "seed": 2, "n": 2}', folder);
  const file = configFile('top.json', '{"extends": "base.json", "guidance": 3, "seed": 3, "n": 3}', folder);
  const { values, origin } = resolveConfig('sample', {
    file,
    set: ['seed=4', 'n=4'],
    flags: { n: 5, steps: undefined },
  });
  expect(values).toMatchObject({ batch: 0, steps: 2, guidance: 3, seed: 4, n: 5 });
  expect(origin).toMatchObject({
    batch: 'default',
    steps: join(folder, 'base.json'),
    guidance: file,
    seed: '--set',
    n: 'flag',
  });
});

describe('settings that a model recommends', () => {
  const recommend = (text: string) => {
    const file = configFile('drm.json', text);
    return { file, recommended: () => file };
  };

  test('rank between the defaults and the config file', () => {
    const { file, recommended } = recommend('{"sample": {"steps": 3, "guidance": 3, "t5_length": 0}}');
    const own = configFile('my.json', '{"task": "sample", "steps": 4}');
    const { values, origin } = resolveConfig('sample', { recommended, file: own, flags: { guidance: 5 } });
    expect(values).toMatchObject({ steps: 4, guidance: 5, t5_length: 0, seed: 0 });
    expect(origin).toMatchObject({ steps: own, guidance: 'flag', t5_length: file, seed: 'default' });
  });

  test('fine-tuning reads prompts as long as sampling does, unless the model tells the two apart', () => {
    const { file, recommended } = recommend('{"sample": {"steps": 3, "t5_length": 0}}');
    const { values, origin } = resolveConfig('pretrain_flow', { recommended, flags: { model: 'base' } });
    expect(values).toMatchObject({ t5_length: 0, steps: resolveConfig('pretrain_flow', {}).values.steps });
    expect(origin).toMatchObject({ t5_length: file, steps: 'default' });

    const length = (sources: Sources) => resolveConfig('pretrain_flow', sources).values.t5_length;
    expect(length({ recommended, set: ['t5_length=5'] })).toBe(5);
    const both = recommend('{"sample": {"t5_length": 0}, "pretrain_flow": {"t5_length": 8}}');
    expect(length({ recommended: both.recommended })).toBe(8);
  });

  test.each<[string, Omit<Sources, 'recommended'>, string]>([
    ['the default', {}, 'tiny'],
    ['a file', { file: '{"task": "sample", "model": "from-file"}' }, 'from-file'],
    ['--set', { file: '{"task": "sample", "model": "from-file"}', set: ['model=from-set'] }, 'from-set'],
    ['a flag', { set: ['model=from-set'], flags: { model: 'from-flag' } }, 'from-flag'],
  ])('are those of the model that %s names', (_, { file, ...sources }, model) => {
    const asked: string[] = [];
    const recommended = (name: string) => void asked.push(name);
    resolveConfig('sample', { ...sources, ...(file && { file: configFile('my.json', file) }), recommended });
    expect(asked).toEqual([model]);
  });

  test.each([
    ['{"sample": {"stepz": 3}}', 'did you mean steps?'],
    ['{"sample": {"steps": 0}}', 'at least 1'],
    ['{"sample": {"model": "tiny"}}', 'model in'],
    ['{"sample": 3}', 'expected an object'],
    ['{"sampel": {}}', 'found sampel'],
    ['[]', 'expected a JSON object'],
    ['{', 'expected JSON'],
  ])('%s is an error that names the file', (text, part) => {
    const { file, recommended } = recommend(text);
    let thrown: unknown;
    try {
      resolveConfig('sample', { recommended });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'BAD_CONFIG', message: expect.stringContaining(part) });
    expect((thrown as Error).message).toContain(file);
  });
});

test('a resumed run begins from its own settings; files, --set and flags come over them', () => {
  const base = { from: 'runs/vae', values: { task: 'pretrain_vae', steps: 7, batch: 3, seed: 9, gone_since: 1 } };
  const { values, origin } = resolveConfig('pretrain_vae', { base, set: ['batch=4'], flags: { steps: 8 } });
  expect(values).toMatchObject({ steps: 8, batch: 4, seed: 9, l1: 1 });
  expect(origin).toMatchObject({ seed: 'runs/vae', batch: '--set', l1: 'default' });
});

test.each(['5', 'true', 'null', '[1]', '{"a":1}', 'a = b'])(
  '--set keeps the text %s where text is expected',
  (text) => {
    expect(resolveConfig('sample', { set: [`negative_prompt=${text}`] }).values.negative_prompt).toBe(text);
  },
);

test('--set takes JSON for the rest', () => {
  const { values } = resolveConfig('sample', {
    set: ['skip_layers=[7,8]', 'free_encoders=true', 'negative_prompt="q"'],
  });
  expect(values).toMatchObject({ skip_layers: [7, 8], free_encoders: true, negative_prompt: 'q' });
});

test.each([
  ['steps=1.5', 'expected integer'],
  ['steps=1e999', 'expected integer'],
  ['skip_layers=7', 'expected array'],
  ['skip_layers=["7"]', 'expected integer'],
  ['stepz=3', 'did you mean steps?'],
  ['constructor=3', 'unknown'],
  ['steps', 'key=value'],
  ['=3', 'key=value'],
])('--set %s is a usage error', (text, part) => {
  let thrown: unknown;
  try {
    resolveConfig('sample', { set: [text] });
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: 'USAGE', message: expect.stringContaining(part) });
});

// Names that every JavaScript object answers to are no settings.
test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])('a file with the key %s is refused', (key) => {
  const file = configFile('my.json', `{"task": "sample", "${key}": {"steps": 3}}`);
  expect(() => resolveConfig('sample', { file })).toThrow(`${key} in ${file}`);
});

const ownConfigs = readdirSync(CONFIG_FOLDER, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !['schema', 'models', 'scorers'].includes(entry.name))
  .flatMap(({ name }) => readdirSync(join(CONFIG_FOLDER, name)).map((file) => `${name}/${file}`));

test.each(ownConfigs)("drm's own %s is right", (file) => {
  const task = taskOf(file) as Task;
  expect(taskNames()).toContain(task);
  expect(resolveConfig(task, { file }).values).toMatchObject({ task });
});

test("drm's own configs hold what their names say", () => {
  const values = (file: string) => resolveConfig('sample', { file: `sample/${file}` }).values;
  const medium = { model: 'sd3.5-medium', guidance: 4.5 };
  expect(values('sd35-medium-paper')).toMatchObject({ ...medium, steps: 50, height: 512, width: 512, dtype: 'bf16' });
  expect(values('sd35-medium')).toMatchObject({ ...medium, steps: 28, height: 1024, width: 1024, skip_layers: [] });
});

describe('drm config', () => {
  test('show without a file shows the defaults, what the model recommends, and flags over them', async () => {
    const { code, stdout } = await runDrm(['config', 'show', '--dtype', 'bf16', '--json']);
    expect(code).toBe(0);
    const { data } = JSON.parse(stdout);
    expect(data.values).toMatchObject({ dtype: 'bf16', steps: 28, t5_length: 0, n: 1 });
    const recommended = expect.stringMatching(/models\/tiny\/drm\.json$/);
    expect(data.origin).toMatchObject({ dtype: 'flag', steps: recommended, t5_length: recommended, n: 'default' });
  });

  test('show takes --config as its file', async () => {
    const { stdout } = await runDrm(['config', 'show', '--config', configFile('my.json', '{"task":"sample","n":7}')]);
    expect(stdout).toMatch(/^n +7 /m);
  });

  test('show --model shows what that model recommends', async () => {
    const folder = temporaryFolder();
    const file = configFile('drm.json', '{"sample": {"steps": 9}}', folder);
    const { stdout } = await runDrm(['config', 'show', '--model', folder]);
    expect(stdout).toMatch(new RegExp(`^steps +9 +from ${file}$`, 'm'));
  });

  test('show takes every task, in the words of its command, and says what a half-named one may be', async () => {
    for (const task of taskNames()) {
      const { stdout, stderr } = await runDrm(['config', 'show', ...commandOf(task).split(' ')]);
      expect(stderr).toBe('');
      expect(stdout).toMatch(new RegExp(`^task +"${task}"`, 'm'));
    }
    const half = await runDrm(['config', 'show', 'pretrain']);
    expect(half.code).toBe(2);
    expect(half.stderr).toContain('expected one of pretrain clip, pretrain flow, pretrain scorer, pretrain vae');
    expect((await runDrm(['config', 'show', 'pretrian'])).stderr).toContain('did you mean pretrain?');
    expect((await runDrm(['config', 'check', 'configs/train'])).stderr).toContain('found a folder');
  });

  test('list has every config with its task', async () => {
    const { stdout } = await runDrm(['config', 'list', '--json']);
    const { data } = JSON.parse(stdout);
    expect(data).toContainEqual({ config: 'pretrain/tiny-flow', task: 'pretrain_flow' });
    expect(data.length).toBe(configNames().length);
  });

  test('check without a file is a usage error', async () => {
    const { code, stderr } = await runDrm(['config', 'check']);
    expect(code).toBe(2);
    expect(stderr).toContain('expected a file');
  });
});

test('a byte order mark is passed over, a null base is none; a setting that is no number is refused, not its default', () => {
  expect(
    resolveConfig('sample', { file: configFile('my.json', '\ufeff{"extends": null, "steps": 3}') }).values.steps,
  ).toBe(3);
  for (const text of ['{"guidance": NaN}', '{"guidance": null}', '{"guidance": -Infinity}'])
    expect(() => resolveConfig('sample', { file: configFile('my.json', text) })).toThrow(
      /guidance in .*my\.json: expected number, found null/,
    );
  const utf16 = configFile('my.json', '');
  writeFileSync(utf16, Buffer.from('{"steps": 3}', 'utf16le'));
  expect(() => resolveConfig('sample', { file: utf16 })).toThrow(/my\.json: expected JSON \(found UTF-16/);
});
