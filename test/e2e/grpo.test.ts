// `drm grpo` end to end, both algorithms: learnt, interrupted, killed and resumed, by one process and by two; what is
// written, and what is told.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { CONFIG_FOLDER } from '../../cli/config/resolve.js';
import { findLora } from '../../cli/lora/loras.js';
import { killedAgainAndAgain, nextCheckpoint, resuming } from '../killing.js';
import { largestDifference, readTensors } from '../parity/safetensors.js';
import { drm, fixture, runDrm, temporaryFolder } from '../run_drm.js';
import { grpo, grpoHere, promptFolder, quickConfig, said, set } from './grpo_training.js';
import { at, learned as learnedOf, linesOf, resumeArguments } from './pretraining.js';
import { rewardFolder } from './reward_folder.js';
import { figuresOf } from './reward_training.js';

// Seconds on an idle machine; a busy one may take minutes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const reward = rewardFolder({ scale: 3, t5Length: 12 });
const configs = { flow: '', step: '' };
type Algorithm = keyof typeof configs;
const ALGORITHMS: Algorithm[] = ['flow', 'step'];

beforeAll(async () => {
  promptFolder(work);
  for (const algorithm of ALGORITHMS) {
    configs[algorithm] = quickConfig(work, reward, { algorithm }, `${algorithm}.json`);
    expect(await grpo(configs[algorithm], path(algorithm))).toMatchObject({ code: 0 });
  }
});

const lora = (run: string) => path(`${run}/model/pytorch_lora_weights.safetensors`);
const sameLora = (a: string, b: string) => readFileSync(lora(a)).equals(readFileSync(lora(b)));
const argv = (algorithm: Algorithm, run: string, ...more: string[]) => [
  ...['--config', configs[algorithm], '--out', path(run), ...more],
];

/** What a run learned; seconds are the machine's. */
const learned = (run: string) =>
  learnedOf(path(run)).map(({ values, ...event }) => ({
    ...event,
    values: Object.fromEntries(Object.entries(values).filter(([name]) => !name.endsWith('_seconds'))),
  }));

describe.each(ALGORITHMS)('%s', (algorithm) => {
  test('interrupted and resumed as printed: the same adapter and figures; from the adapter alone: others', async () => {
    const stopped = await grpo(configs[algorithm], path(`${algorithm}-stopped`), [], at(3, 'SIGINT'));
    expect(stopped.code).toBe(130);
    expect(await runDrm(resumeArguments(stopped))).toMatchObject({ code: 0 });
    expect(learned(`${algorithm}-stopped`)).toEqual(learned(algorithm));
    expect(sameLora(`${algorithm}-stopped`, algorithm)).toBe(true);

    await grpoHere(argv(algorithm, `${algorithm}-half`, '--iterations', '3'));
    const from = ['--set', `lora_from=${lora(`${algorithm}-half`)}`];
    await grpoHere(argv(algorithm, `${algorithm}-alone`, '--iterations', '3', ...from));
    expect(sameLora(`${algorithm}-alone`, algorithm)).toBe(false);
  });

  test('kill -9 at random moments, again and again: the same adapter, the same figures', async () => {
    const run = `${algorithm}-killed`;
    // Once in the first steps, then about the writing of the next checkpoint, whole or not.
    const delays = await killedAgainAndAgain(resuming([drm, 'grpo', ...argv(algorithm, run, '--threads', '1')]), {
      kills: 3,
      withinMs: 40,
      moment: (lasts) => nextCheckpoint(path(run), lasts),
    });
    expect(delays.length).toBe(3);
    expect(learned(run), `killed after ${delays} ms`).toEqual(learned(algorithm));
    expect(sameLora(run, algorithm)).toBe(true);
  });

  test('two processes have the rewards and figures of one to rounding, and each trajectory once', async () => {
    // At the large learning rate of the other tests rounding alone would show after some updates.
    const more = ['--iterations', '3', '--learning-rate', '3e-4'];
    await grpoHere(argv(algorithm, `${algorithm}-one`, ...more));
    const run = `${algorithm}-two`;
    expect(await grpo(configs[algorithm], path(run), [...more, '--nproc', '2'])).toMatchObject({ code: 0 });
    const [one, two] = [learned(`${algorithm}-one`), learned(run)];
    expect(two.map(({ event, step }) => [event, step])).toEqual(one.map(({ event, step }) => [event, step]));
    for (const [n, { event, step, values }] of one.entries())
      for (const name of ['reward', 'group_deviation', 'loss', 'ratio', 'kl', 'grad_norm'])
        if (name in values)
          expect(two[n]?.values[name], `${name} of ${event} ${step}`).toBeCloseTo(values[name] as number, 3);
    const done = linesOf(readFileSync(path(`${run}/metrics.jsonl`), 'utf8')).find(({ event }) => event === 'done');
    expect(done?.facts.samples).toBe(algorithm === 'flow' ? 24 : 6);
  });

  test('the figures are as documented; before the first update the ratio is 1', async () => {
    const metrics = learned(algorithm).filter(({ event }) => event === 'metric');
    expect(metrics).toHaveLength(6);
    const { values = {} } = metrics[0] ?? {};
    const names = [
      ...['loss', 'policy_loss', 'reward', 'reward_deviation', 'group_deviation', 'advantage_max', 'zero_variance'],
      ...['reward_not_finite', 'kl', 'approx_kl', 'ratio', 'ratio_deviation', 'clip_fraction', 'updates', 'grad_norm'],
      ...['ratio/0', 'ratio/2', 'ratio_deviation/2', 'learning_rate'],
    ];
    for (const name of names) expect(values, name).toHaveProperty([name]);
    expect('reward/2' in values).toBe(algorithm === 'step');
    if (algorithm === 'step')
      for (const { values } of metrics)
        expect(values).toMatchObject({ ratio: 1, ratio_deviation: 0, clip_fraction: 0 });
    else expect(metrics.at(-1)?.values.ratio_deviation).toBeGreaterThan(0); // the second update is off-policy
    expect(metrics.at(-1)?.values.updates).toBe(algorithm === 'flow' ? 12 : 6);
  });

  test('held-out images are judged before the first update, in between and at the end, with sheets', () => {
    const looks = learned(algorithm).filter(({ event }) => event === 'evaluation');
    expect(looks.map(({ step }) => step)).toEqual([0, 3, 6]);
    for (const { values } of looks)
      for (const name of ['reward', 'brightness', 'saturation', 'high_frequency']) expect(values).toHaveProperty(name);
    expect(looks[2]?.values.reward).not.toBe(looks[0]?.values.reward);
    for (const step of [0, 3, 6]) {
      expect(existsSync(path(`${algorithm}/samples/${step}/sheet.png`))).toBe(true);
      expect(readFileSync(path(`${algorithm}/samples/${step}/prompts.txt`), 'utf8').split('\n')).toHaveLength(5);
    }
  });

  test('a checkpoint is an adapter by RUN@STEP: the last is the result, to the bit', async () => {
    const adapter = async (name: string) => readTensors(await findLora(name));
    const [result, last, latest, earlier] = await Promise.all(
      [lora(algorithm), `${path(algorithm)}@6`, `${path(algorithm)}@latest`, path(`${algorithm}/checkpoints/4`)].map(
        adapter,
      ),
    );
    expect(last).toEqual(result);
    expect(latest).toEqual(result);
    expect(earlier?.size).toBe(result?.size);
    expect(earlier).not.toEqual(result);
    await expect(findLora(`${path(algorithm)}@5`)).rejects.toThrow(
      'expected a checkpoint of step 5, found 2, 4, 6; name one of those as RUN@STEP',
    );
    const other = path(`${algorithm}-reward`);
    mkdirSync(join(other, 'checkpoints/2'), { recursive: true });
    const config = JSON.parse(readFileSync(path(`${algorithm}/config.json`), 'utf8'));
    writeFileSync(join(other, 'config.json'), JSON.stringify({ ...config, task: 'train' }));
    for (const name of [other, `${other}@2`])
      await expect(findLora(name)).rejects.toThrow(
        'expected a run of drm grpo or drm pretrain flow, found one of drm train',
      );
    const { code, stdout } = await runDrm(['lora', 'inspect', `${path(algorithm)}@4`]);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('rank 4') });
  });

  test('the result is an adapter that says its rank, and the last line where it is', () => {
    const tensors = readTensors(lora(algorithm));
    expect(tensors.size).toBeGreaterThan(10);
    const down = [...tensors].filter(([name]) => /lora_A|lora\.down/.test(name));
    expect(down.every(([, { shape }]) => shape[0] === 4)).toBe(true);
    const lines = linesOf(readFileSync(path(`${algorithm}/metrics.jsonl`), 'utf8'));
    expect(lines.at(-1)).toMatchObject({ event: 'done', facts: { steps: 6, lora: lora(algorithm) } });
    const told = lines.flatMap(({ event, message }) => (event === 'info' ? [message] : []));
    expect(told.join('\n')).toContain(`sample with it: drm sample --model ${fixture} --lora ${lora(algorithm)}`);
  });
});

test('a reward that is constant changes nothing, and is warned of', async () => {
  const constant = rewardFolder({ scale: 0, t5Length: 12 });
  const events = await grpoHere(argv('step', 'constant', '--reward', constant, ...set('evaluate_every=0')));
  expect(figuresOf(events, 'metric').map(({ zero_variance }) => zero_variance)).toEqual(Array(6).fill(1));
  expect(said(events, 'warning').join('\n')).toMatch(/all but equal.*100 % of the groups/s);
  for (const [name, { data }] of readTensors(lora('constant')))
    if (/lora_B|lora\.up/.test(name)) expect(largestDifference(data, new Float32Array(data.length)), name).toBe(0);
});

test('rewards that are no numbers: iterations are skipped and counted, and a limit ends the run', async () => {
  const broken = rewardFolder({ scale: Number.NaN, t5Length: 12 });
  const more = ['--reward', broken, ...set('evaluate_every=0', 'checkpoint_every=1', 'skip_not_finite=2')];
  const events: Parameters<NonNullable<Parameters<typeof grpoHere>[1]>>[0][] = [];
  const error = await grpoHere(argv('flow', 'broken', ...more), (event) => events.push(event)).catch((error) => error);
  expect(error).toMatchObject({ code: 'NOT_FINITE' });
  expect(error.message).toMatch(/step 3: reward is NaN, after 2 skipped steps.*last good checkpoint is .*2/);
  expect(said(events, 'warning').join('\n')).toContain('(2 of 2 that may be)');
  expect(readdirSync(path('broken/checkpoints')).sort()).toEqual(['1', '2']);
});

test('it ends when a warning says so that was asked for, with its result; all processes do', async () => {
  const constant = rewardFolder({ scale: 0, t5Length: 12 });
  const more = ['--reward', constant, '--stop-when', 'groups-equal', ...set('evaluate_every=6')];
  await grpoHere(argv('flow', 'ended', ...more));
  expect(await grpo(configs.flow, path('ended-two'), [...more, '--nproc', '2'])).toMatchObject({ code: 0 });
  for (const run of ['ended', 'ended-two']) {
    const lines = linesOf(readFileSync(path(`${run}/metrics.jsonl`), 'utf8'));
    const ended = expect.stringMatching(/^groups-equal: /);
    expect(lines.at(-1)).toMatchObject({ event: 'done', facts: { steps: 5, ended } });
    expect(lines.filter(({ event }) => event === 'evaluation')).toHaveLength(2); // at first, and at its end
    expect(existsSync(lora(run))).toBe(true);
  }
});

test('--plan and --dry-run say what it takes, and leave nothing behind', async () => {
  for (const [flag, words] of [
    ['--plan', 'Estimated from the shapes'],
    ['--dry-run', 'Measured with'],
  ] as const) {
    const events = await grpoHere(['--config', configs.step, flag]);
    const result = events.find((event) => event.event === 'result');
    expect(result?.event === 'result' && result.text).toMatch(/2 prompts × 1 trajectory = 2, of 4 steps, steps 0 to 2/);
    expect(result?.event === 'result' && result.text).toContain(words);
    const phases =
      (result?.event === 'result' && (result.data as { phases: { name: string; seconds: number }[] }).phases) || [];
    expect(phases.map(({ name }) => name)).toEqual(['rollout', 'reward', 'update', 'evaluation']);
    for (const { seconds, name } of phases) expect(seconds, name).toBeGreaterThan(0);
  }
  expect(existsSync('grpo')).toBe(false);
});

test('every config that comes with drm has a plan, on four processes', async () => {
  const names = readdirSync(join(CONFIG_FOLDER, 'grpo')).map((file) => parse(file).name);
  expect(names).toContain('sd35-medium-paper-step-k4');
  for (const name of names) {
    const small = ['--model', 'tiny', '--reward', 'tiny', ...set('size=64', 't5_length=0')];
    const events = await grpoHere(['--config', `grpo/${name}`, ...small, '--nproc', '4', '--plan']);
    const result = events.find((event) => event.event === 'result');
    expect(result?.event === 'result' && result.text, name).toMatch(/on each of 4 processes/);
  }
});

test.each([
  ['gains', 'flow', ['credit=gain']],
  ['all of an iteration compared, by the deviation of all', 'flow', ['statistics=batch', 'global_deviation=true']],
  ['CPS noise, a window, shared latents', 'flow', ['sde=cps', 'window_size=2', 'same_latent=true']],
  ['the best candidate goes on, KL of velocities', 'step', ['continue=best', 'kl=velocity', 'kl_beta=0.1']],
  ['the Euler step goes on, block by block', 'step', ['continue=ode', 'gradient_checkpointing=true']],
  ['no guidance, no KL, equal groups dropped', 'step', ['guidance=1', 'kl_beta=0', 'drop_zero_variance=true']],
  ['several trajectories a prompt, passes of one', 'step', ['trajectories=2', 'micro_batch=1', 'batch=2']],
] as const)('%s', async (name, algorithm, settings) => {
  const run = name.replaceAll(/\W+/g, '-');
  const events = await grpoHere(argv(algorithm, run, '--iterations', '2', ...set('evaluate_every=0', ...settings)));
  const values = figuresOf(events, 'metric');
  expect(values).toHaveLength(2);
  for (const { loss, reward, grad_norm } of values)
    expect(
      [loss, reward, grad_norm].every((value) => Number.isFinite(value)),
      name,
    ).toBe(true);
  expect(values[0]?.grad_norm).toBeGreaterThan(0);
});

test('a scorer, alone and in a weighted sum with a reward model', async () => {
  const judge = '0.5*judge';
  for (const sum of ['judge', `${judge}+0.5*drm:${reward}`]) {
    const events = await grpoHere(
      argv('flow', `sum-${sum.length}`, '--iterations', '1', '--reward', sum, ...set('size=64', 'evaluate_every=0')),
    );
    expect(Number.isFinite(figuresOf(events, 'metric')[0]?.reward)).toBe(true);
  }
});
