// The configs that come with drm: every command line of theirs is one that the command takes.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describe as programOf } from '../../cli/commands/describe.js';
import { registry } from '../../cli/commands/registry.js';
import { command as reproduce } from '../../cli/commands/reproduce.js';
import { readOptions } from '../../cli/common/options.js';
import { resolveConfig } from '../../cli/config/resolve.js';
import { expectInputs, missingInputs } from '../../cli/reproduce/inputs.js';
import { askedSettings } from '../../cli/reproduce/settings.js';
import { inOrder, type Step } from '../../cli/reproduce/step.js';
import { chainOf, policy, preparing, sampling, training } from '../../cli/reproduce/steps.js';
import { tablesNamed } from '../../cli/reproduce/tables/registry.js';
import { commandOf } from '../e2e/here.js';
import { temporaryFolder } from '../run_drm.js';

const TABLES = await tablesNamed(['all']);

function named(config: string, { quick = false, set = [] as string[] } = {}) {
  const { settings } = askedSettings({ config, set }, quick);
  const chain = chainOf(settings, 8);
  return { chain, settings, steps: inOrder(TABLES.flatMap((table) => table.steps(chain))) };
}

const wordsOf = (step: Step) => step.words({ folder: ({ id }) => `RESULTS/${id}`, prompts: 'PROMPTS' });

/** What the command reads of its words; throws for what it does not know. Nothing is run. */
async function parsed([name, ...words]: string[]): Promise<Record<string, unknown>> {
  const entry = registry.find((one) => one.name === name);
  if (!entry) throw new Error(`no command ${name}`);
  const { command, own } = commandOf(await entry.load(), words);
  const program = programOf(command)
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action(() => {});
  await program.parseAsync([...own, '--out', 'OUT'], { from: 'user' });
  readOptions(command.options ?? [], program.opts());
  return program.opts();
}

test('what is asked for is found, each once', async () => {
  expect(reproduce.arguments?.[0]?.choices).toEqual([...TABLES.map(({ name }) => name), 'all']);
  const names = async (...asked: string[]) => (await tablesNamed(asked)).map(({ name }) => name);
  expect(await names('figure7', 'table1', 'table1')).toEqual(['table1', 'figure7']);
  expect(await names('table2', 'all')).toHaveLength(6);
});

describe.each([
  ['reproduce/tiny', false],
  ['reproduce/tiny', true],
  ['reproduce/sd35-medium', false],
])('%s, quick: %s', (config, quick) => {
  test('every command line is one that its command takes, with settings that it knows', async () => {
    const { steps } = named(config, { quick });
    expect(new Set(steps.map(({ id }) => id)).size).toBe(steps.length);
    for (const step of steps) {
      const words = wordsOf(step);
      const options = await parsed(words);
      expect(step.units).toBeGreaterThan(0);
      const task = { train: 'train', grpo: 'grpo', eval: words[1] === 'images' ? 'sample' : undefined }[
        words[0] as string
      ];
      if (task)
        resolveConfig(task as 'train', {
          ...(options.config !== undefined && { file: options.config as string }),
          set: options.set as string[],
        });
    }
  });

  test('what a step needs comes before it', () => {
    const { steps } = named(config, { quick });
    for (const [i, { needs }] of steps.entries())
      for (const needed of needs) expect(steps.slice(0, i).map(({ id }) => id)).toContain(needed.id);
  });
});

test('the paper’s recipe, as commands', () => {
  const { chain } = named('reproduce/sd35-medium');
  const line = (step: Step) => wordsOf(step).join(' ');
  expect(line(preparing(chain, 'mix'))).toBe(
    'data prepare hpdv3 --from HPDv3 --split train --sample 1000000 --mix HPDv3/pickapic.json=pickapic_v1:250000 --mix HPDv3/imagereward.json=ImageRewardDB:150000',
  );
  expect(line(training(chain, 'random'))).toBe(
    'train --config train/sd35-medium-paper --set init=random --model sd3.5-medium --data RESULTS/data-mix --nproc 4',
  );
  expect(line(policy(chain, 'step-k6', 43))).toBe(
    'grpo --config grpo/sd35-medium-paper-step --set judge=pickscore --model sd3.5-medium --reward RESULTS/train-drm-512 --prompts flow_grpo/dataset/pickscore --seed 43 --nproc 4',
  );
  expect(line(sampling(chain))).toBe(
    'eval images --model sd3.5-medium --config sample/sd35-medium-paper --prompts PROMPTS --scorer imagereward --scorer pickscore --scorer hpsv3 --nproc 4 --k 1,2,4,6,12 --reward RESULTS/train-drm-512 --n 2 --diversity lpips',
  );
});

test('units follow sizes: epochs times pairs, steps times batch, smaller images', () => {
  const { chain } = named('reproduce/tiny');
  const { pairs } = chain.settings.data['emoji-raters'] as { pairs: number };
  const units = (name: string) => training(chain, name).units;
  expect([units('full'), units('epochs-2'), units('size-32')]).toEqual([96_000, 2 * pairs, 24_000]);
});

test('all that is missing is named at once, of the steps at hand alone', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'here'));
  writeFileSync(join(folder, 'list.json'), '[]');
  const inputs = {
    [join(folder, 'here')]: 'make it',
    [join(folder, 'lost')]: 'fetch it',
    [join(folder, 'elsewhere')]: 'nobody asks for it',
  };
  const step: Step = {
    ...{ id: 'x', kind: 'images', units: 1, needs: [], resumes: 'by line', result: 'y' },
    words: ({ folder: at }) => [
      ...['eval', 'images', '--model', 'tiny', '--model', 'nowhere/none', '--reward', at(step), '--scorer', 'judge'],
      ...[
        '--diversity',
        'lpips:nowhere',
        '--set',
        'judge=jugde',
        '--mix',
        `a.json=${join(folder, 'lost')}:5`,
        '--from',
        join(folder, 'here'),
      ],
    ],
  };
  const missing = await missingInputs([step], { ...named('reproduce/tiny').settings, inputs });
  expect(missing).toHaveLength(4);
  expect(missing[0]).toBe(`${join(folder, 'lost')}: expected this file or folder, found none; fetch it`);
  expect(missing[1]).toContain('drm pull nowhere/none');
  expect(missing[2]).toContain('nowhere');
  expect(missing[3]).toContain('did you mean judge?');
  expect(() => expectInputs(missing)).toThrow(/found 4 of it missing; nothing has been run:\n {2}- .*lost: expected/);
  expect(() => expectInputs([])).not.toThrow();
});

test.each([
  [{ config: 'train/tiny' }, false, 'task in'],
  [{ config: 'reproduce/sd35-medium' }, true, 'expected reproduce/sd35-medium-quick beside reproduce/sd35-medium'],
  [
    { config: 'reproduce/tiny', set: ['train_data=prefs'] },
    false,
    'train_data in reproduce/tiny: expected one of data (emoji-raters), found "prefs"',
  ],
  [{ config: 'reproduce/tiny', set: ['policies={"a b":{"label":"x","config":"y","set":[]}}'] }, false, 'found "a b"'],
  [
    { config: 'reproduce/tiny', set: ['policies={"a":{"label":"x","config":"y"}}'] },
    false,
    'policies: a: expected set',
  ],
  [{ config: 'reproduce/tiny', set: ['seeds=[-1]'] }, false, 'seeds: expected at least 0, found -1'],
])('%j is refused', (asked, quick, words) => {
  expect(() => askedSettings({ set: [], ...asked }, quick)).toThrow(words);
});

test('a training that the config mistypes is refused when the chain is made', () => {
  const set = ['trainings={"full":{"label":"x","config":"train/tiny","set":["stpes=3"]}}'];
  expect(() => named('reproduce/tiny', { set })).toThrow('did you mean steps?');
});
