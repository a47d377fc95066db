// A new algorithm is a file (toy_grpo.ts) and a line (below): flags, config, plan, training and report know it by these.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { allAlgorithms, registerAlgorithm } from '../../../cli/grpo/algorithms/registry.js';
import { rewardNote } from '../../../cli/report/algorithms.js';
import { readRun } from '../../../cli/report/read.js';
import { linesOf } from '../../e2e/pretraining.js';
import { rewardFolder } from '../../e2e/reward_folder.js';

import { temporaryFolder } from '../../run_drm.js';
import { toyGrpo } from './toy_grpo.js';

vi.setConfig({ testTimeout: 180_000 });

registerAlgorithm('toy', toyGrpo);
// The command makes its flags of what is registered when it is loaded.
const { grpoHere, promptFolder, quickConfig, refuses } = await import('../../e2e/grpo_training.js');

const work = temporaryFolder();
promptFolder(work);
const reward = rewardFolder({ scale: 3, t5Length: 12 });
const config = quickConfig(work, reward, { algorithm: 'toy', iterations: 1, group: 2, k: 3, evaluate_every: 0 });

test('is planned', async () => {
  const events = await grpoHere(['--config', config, '--plan']);
  const told = events.find((event) => event.event === 'result');
  expect(told?.text).toContain('rewards    12, of candidates at one step, compared in groups of 6');
  expect(told?.data).toMatchObject({
    geometry: { trajectories: 4, k: 3, group: 6, groups: 2, updates: 1, samples: 12 },
  });
});

test('is checked: its own rules, its flags, work that cannot be dealt out', async () => {
  const here = ['--config', config, '--plan'];
  await refuses([...here, '--k', '1', '--group', '1'], 3, ['2 candidates of a prompt, found 1']);
  await refuses([...here, '--reward', 'judge'], 3, ['expected reward models, found judge']);
  await refuses([...here, '--nproc', '3'], 3, [/^\[grpo\] group/, '--group 3']);
  await refuses([...here, '--toy', '--step'], 2, ['--step and --toy exclude each other']);
  const flow = quickConfig(work, reward, { algorithm: 'flow' }, 'flow.json');
  await refuses(['--config', flow, '--plan', '--k', '2'], 2, ['--k: is for Step-GRPO']);
  await grpoHere(['--config', flow, '--plan', '--toy', '--k', '2']);
});

test('trains an iteration, by the advantages it asks for, and is reported', async () => {
  const run = join(work, 'run');
  await grpoHere(['--config', config, '--out', run]);
  const lines = linesOf(readFileSync(join(run, 'metrics.jsonl'), 'utf8'));
  expect(lines.find(({ event }) => event === 'started')?.facts).toMatchObject({
    ...{ algorithm: 'Toy-GRPO', trajectories: 4, group: 6, updates_per_iteration: 1, samples_per_update: 12 },
  });
  const { values } = lines.find(({ event }) => event === 'metric') ?? {};
  expect(values).toMatchObject({ 'reward/0': 0, 'group_deviation/1': 0, ratio: 1, updates: 1 });
  expect(values?.['group_deviation/2']).toBeGreaterThan(0);
  expect(values?.zero_variance).toBeCloseTo(2 / 3, 12); // of two prompts at three steps
  expect(values?.grad_norm).toBeGreaterThan(0);

  const recorded = await readRun(run, 'toy');
  expect(recorded.samplesPerUpdate).toBe(12);
  const flow = { ...recorded, config: { ...recorded.config, settings: { algorithm: 'flow' } } };
  expect(rewardNote([recorded, flow])).toContain(
    'Flow-GRPO’s reward is that of finished images, Toy-GRPO’s is that of candidates',
  );
  expect(allAlgorithms().map(({ label }) => label)).toEqual(['Step-GRPO', 'Flow-GRPO', 'Toy-GRPO']);
});
