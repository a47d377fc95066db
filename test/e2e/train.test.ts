// `drm train` end to end: a reward model learnt, interrupted, killed and resumed; written, read again, gone on with.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test, vi } from 'vitest';
import { findDrm } from '../../cli/rewards/base_fit.js';
import { killedAgainAndAgain, nextCheckpoint, resuming } from '../killing.js';
import { largestDifference, readTensors } from '../parity/safetensors.js';
import { drm, fixture, runDrm, temporaryFolder } from '../run_drm.js';
import { at, learned as learnedOf, linesOf, resumeArguments } from './pretraining.js';
import { figuresOf, preparedPairs, quickConfig, train, trainHere } from './reward_training.js';

// Seconds on an idle machine; a busy one may take minutes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
let config = '';

beforeAll(async () => {
  await preparedPairs(path('pairs'));
  config = quickConfig(work);
  expect(await train(config, path('whole'))).toMatchObject({ code: 0 });
});

const weights = (run: string) => path(`${run}/model/model.safetensors`);
const sameWeights = (a: string, b: string) => readFileSync(weights(a)).equals(readFileSync(weights(b)));
const learned = (run: string) => learnedOf(path(run));
const set = (...pairs: string[]) => pairs.flatMap((pair) => ['--set', pair]);
const argv = (run: string, ...more: string[]) => ['--config', config, '--out', path(run), ...more];

test('interrupted and resumed as printed: the same model and figures; from the weights alone: others', async () => {
  const stopped = await train(config, path('stopped'), [], at(3, 'SIGINT'));
  expect(stopped.code).toBe(130);
  expect(await runDrm(resumeArguments(stopped))).toMatchObject({ code: 0 });
  expect(learned('stopped')).toEqual(learned('whole'));
  expect(sameWeights('stopped', 'whole')).toBe(true);

  await trainHere(argv('half', '--steps', '3'));
  await trainHere(argv('weights-only', '--from', path('half'), '--steps', '3'));
  expect(sameWeights('weights-only', 'whole')).toBe(false);
});

test('kill -9 at random moments, again and again: the same model, the same figures', async () => {
  // Once in the first steps, then about the writing of the next checkpoint, whole or not.
  const delays = await killedAgainAndAgain(resuming([drm, 'train', ...argv('killed', '--threads', '1')]), {
    kills: 3,
    withinMs: 40,
    moment: (lasts) => nextCheckpoint(path('killed'), lasts),
  });
  expect(delays.length).toBe(3);
  expect(learned('killed'), `killed after ${delays} ms`).toEqual(learned('whole'));
  expect(sameWeights('killed', 'whole')).toBe(true);
});

test('the result is a reward model that says what it is, and that scores', async () => {
  const { description: own, checkpoint } = findDrm(path('whole'));
  expect(own).toMatchObject({
    base: fixture,
    keep_layers: 2,
    head: { channels: 8, groups: 4, hidden: 16, dropout: 0.1 },
    t5_length: 8,
    size: 32,
    backbone: JSON.parse(readFileSync(join(fixture, 'transformer/config.json'), 'utf8')),
    training: { pairs: 16, evaluation: { step: 6 }, settings: { batch: 4, learning_rate: 0.001 } },
  });
  const names = [...readTensors(weights('whole')).keys()];
  expect(names).toContain('transformer.transformer_blocks.1.attn.to_q.weight');
  expect(names.some((name) => name.startsWith('transformer.transformer_blocks.2.'))).toBe(false);
  expect(names.filter((name) => name.startsWith('reward_output.')).sort()).toEqual(
    [...['down1', 'down2', 'down3'].flatMap((down) => [`${down}.0`, `${down}.1`]), 'mlp.0', 'mlp.3']
      .flatMap((layer) => [`reward_output.${layer}.bias`, `reward_output.${layer}.weight`])
      .sort(),
  );

  const { RewardModel } = await import('../../binding/index.js');
  const { resolveModel } = await import('../../cli/hub/resolve.js');
  const { loadTokenizers } = await import('../../cli/text/tokenizer.js');
  const base = await resolveModel(fixture);
  const model = await RewardModel.load({ checkpoint, base: base.source }, { device: 'cpu', dtype: 'fp32' });
  const { tokens } = await loadTokenizers(base.tokenizers).encode('image 3', 8);
  const pixels = (level: number) => ({ pixels: new Uint8Array(32 * 32 * 3).fill(level), width: 32, height: 32 });
  const scores = await model.score({
    ...{ images: [pixels(20), pixels(230)], prompts: [tokens], promptOf: [0, 0], samples: [0, 1] },
    ...{ timesteps: [0], draws: 1, seed: 0n, posteriorSample: false },
  });
  model.dispose();
  expect([...scores].every(Number.isFinite)).toBe(true);
  expect(scores[0]).not.toBe(scores[1]);
});

test("the authors' layout holds the skipped block as the base has it, and is gone on from", async () => {
  await trainHere(argv('authors', '--export', 'authors'));
  const [ours, theirs] = [readTensors(weights('whole')), readTensors(weights('authors'))];
  const base = readTensors(join(fixture, 'transformer/diffusion_pytorch_model.safetensors'));
  for (const [name, { data }] of ours) expect(theirs.get(name)?.data, name).toEqual(data);
  const skipped = [...base.keys()].filter((name) => name.startsWith('transformer_blocks.2.'));
  expect(skipped.length).toBeGreaterThan(10);
  for (const name of skipped) expect(theirs.get(`transformer.${name}`)?.data, name).toEqual(base.get(name)?.data);
  const again = argv('from-authors', '--from', path('authors'), '--steps', '1', '--set', 'learning_rate=1e-30');
  await trainHere(again);
  for (const [name, { data }] of readTensors(weights('from-authors')))
    expect(largestDifference(data, ours.get(name)?.data ?? []), name).toBeLessThan(1e-6);
});

test('bright images over dark ones: learnt, and known of images never seen, at every noise level', async () => {
  const flat = (i: number) => {
    const level = i % 2 === 0 ? 190 + (i % 60) : 5 + (i % 60); // even numbers are the chosen
    return sharp({ create: { width: 64, height: 64, channels: 3, background: { r: level, g: level, b: level } } })
      .png()
      .toBuffer();
  };
  await preparedPairs(path('bright'), { train: 32, test: 16, image: flat });
  const more = [
    '--model',
    'tiny',
    '--data',
    path('bright'),
    '--steps',
    '40',
    '--batch',
    '8',
    '--learning-rate',
    '1e-3',
  ];
  const settings = set('size=64', 't5_length=0', 'micro_batch=0', 'evaluate_every=40', 'evaluate_samples=16');
  const events = await trainHere(argv('learnt', ...more, ...settings));
  const first = figuresOf(events, 'metric')[0];
  expect(Math.abs((first?.loss ?? 0) - Math.log(2))).toBeLessThan(0.2); // knows nothing yet
  const last = figuresOf(events, 'evaluation').at(-1);
  expect(last?.accuracy).toBeGreaterThan(0.85);
  expect(last?.margin).toBeGreaterThan(0);
  expect(last?.loss).toBeLessThan(0.6);
  const buckets = Object.keys(last ?? {}).filter((name) => name.startsWith('accuracy_t'));
  expect(buckets.length).toBeGreaterThanOrEqual(3);
});

test('figures are as documented', async () => {
  const [metric] = linesOf(readFileSync(path('whole/metrics.jsonl'), 'utf8')).filter(({ event }) => event === 'metric');
  const { values = {} } = metric ?? {};
  for (const name of ['loss', 'accuracy', 'margin', 'learning_rate', 'grad_norm', 'pairs_per_second', 'data_wait'])
    expect(values, name).toHaveProperty(name);
  const buckets = Object.keys(values).filter((name) => name.startsWith('accuracy_'));
  expect(buckets.length).toBeGreaterThan(0);
  for (const name of buckets) expect(name).toMatch(/^accuracy_t(0_250|250_500|500_750|750_1000)$/);
  const done = linesOf(readFileSync(path('whole/metrics.jsonl'), 'utf8')).at(-1);
  expect(done).toMatchObject({ event: 'done', facts: { steps: 6, samples: 24, model: path('whole/model') } });
});

/** Losses of a run here, all steps. */
async function losses(run: string, ...more: string[]): Promise<number[]> {
  const events = await trainHere(argv(run, ...more));
  return figuresOf(events, 'metric').map(({ loss = Number.NaN }) => loss);
}
const whole = () =>
  learned('whole')
    .filter(({ event }) => event === 'metric')
    .map(({ values }) => values.loss as number);

test.each([
  ['prompts encoded at every step', ['text=on_the_fly']],
  ['images encoded at every step', ['latents=on_the_fly']],
  ['both at every step, block by block', ['text=on_the_fly', 'latents=on_the_fly', 'gradient_checkpointing=true']],
  ['all of a step in one pass', ['micro_batch=0']],
])('%s: the same losses to rounding', async (name, settings) => {
  const found = await losses(name.replaceAll(/\W+/g, '-'), ...set(...settings));
  expect(found).toHaveLength(6);
  expect(largestDifference(found, whole())).toBeLessThan(2e-4);
});

test.each([
  ['uniform levels', ['timestep_sampling=uniform']],
  ['no shift', ['shifted=false']],
  ['one noise for both', ['shared_noise=true']],
  ['another likelihood', ['likelihood=thurstone', 'score_variance=0.1']],
  ["the posterior's mode", ['posterior_sample=false']],
  ['another seed', ['seed=6']],
])('%s: other losses from the first step on', async (name, settings) => {
  const [first] = await losses(name.replaceAll(/\W+/g, '-'), ...set('steps=1', ...settings));
  expect(Math.abs((first ?? 0) - (whole()[0] ?? 0))).toBeGreaterThan(1e-5);
});

test('what of the backbone is trained: all, targets of adapters, nothing', async () => {
  const base = readTensors(join(fixture, 'transformer/diffusion_pytorch_model.safetensors'));
  const moved = (run: string) =>
    [...readTensors(weights(run))].flatMap(([name, { data }]) => {
      const own = base.get(name.replace(/^transformer\./, ''));
      return own && largestDifference(data, own.data) !== 0 ? [name] : [];
    });
  expect(moved('whole').length).toBeGreaterThan(30);
  await trainHere(argv('frozen', '--backbone', 'frozen'));
  expect(moved('frozen')).toEqual([]);
  await trainHere(argv('lora', '--backbone', 'lora', ...set('lora_rank=2', 'lora_targets=["attn.to_q"]')));
  expect(moved('lora').sort()).toEqual(
    [0, 1].map((block) => `transformer.transformer_blocks.${block}.attn.to_q.weight`),
  );
  // The head learns in all three.
  const head = (run: string) => readTensors(weights(run)).get('reward_output.mlp.0.weight')?.data ?? [];
  expect(largestDifference(head('frozen'), head('whole'))).toBeGreaterThan(0);
  await trainHere(argv('scratch', '--from-scratch'));
  expect(moved('scratch').length).toBeGreaterThan(moved('whole').length - 1);
});

test('epochs decide the steps where none are given; pairs are held out where they are found', async () => {
  const events = await trainHere(argv('epochs', '--epochs', '1.5', '--steps', '0'));
  expect(events.find(({ event }) => event === 'started')).toMatchObject({ steps: 6 });
  // Another set as held-out pairs, all of it: it has no split of the name.
  await preparedPairs(path('other'), { train: 5, test: 0 });
  const other = await trainHere(argv('other-run', '--eval-data', path('other'), '--steps', '1'));
  expect(other.find(({ event }) => event === 'started')).toMatchObject({
    facts: { pairs: 16, held_out: 5, held_out_from: path('other') },
  });
  // No test split: by prompt, of which there are seven.
  await preparedPairs(path('one-split'), { train: 24, test: 0 });
  const more = ['--data', path('one-split'), '--steps', '1', '--set', 'hold_out=40'];
  const byPrompt = await trainHere(argv('by-prompt', ...more));
  const facts = byPrompt.flatMap((event) => (event.event === 'started' ? [event.facts] : []))[0];
  expect(facts?.pairs).toBeLessThan(24);
  expect(facts).toMatchObject({ held_out_from: `40 % of the prompts of ${path('one-split')}` });
});
