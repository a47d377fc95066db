// Checkpoints as rewards and bases: RUN@STEP is what the run would have written there, a stopped run says where it stands.
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { pngOf, write } from '../data/images.js';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';
import { preparedSet } from './pretraining.js';
import { pretrainHere } from './pretraining_here.js';
import { preparedPairs, quickConfig, trainHere } from './reward_training.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);

/** A copy of a run that was stopped after its last checkpoint. */
function stopped(run: string): string {
  const copy = path(`${run}-stopped`);
  cpSync(path(run), copy, { recursive: true });
  rmSync(join(copy, 'model'), { recursive: true });
  return copy;
}

beforeAll(async () => {
  await preparedPairs(path('pairs'));
  await write(work, { 'a.png': await pngOf(1), 'b.png': await pngOf(2) });
});

test.each(['full', 'lora', 'frozen'])(
  'a reward model by RUN@STEP, RUN@latest and as a stopped run: %s',
  async (backbone) => {
    const lora = ['--set', 'lora_rank=2', '--set', 'lora_targets=["attn.to_q"]'];
    const flags = ['--backbone', backbone, ...(backbone === 'lora' ? lora : [])];
    await trainHere(['--config', quickConfig(work), '--out', path(backbone), ...flags]);
    const score = async (reward: string) => {
      const words = ['score', '--reward', reward, '--prompt', 'x', '--timestep', '500', '--threads', '1'];
      const { code, stdout, stderr } = await runDrm([...words, '--json', path('a.png'), path('b.png')]);
      const events = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      const said = events.flatMap(({ event, message }) => (event === 'info' ? [message] : [])).join('\n');
      const { data } = events.find(({ event }) => event === 'result') ?? {};
      const scores = JSON.stringify(data)
        ?.match(/"score":[-\d.e]+/g)
        ?.join();
      return { code, stderr, said, scores };
    };
    const whole = await score(path(backbone));
    expect(whole.code, whole.stderr).toBe(0);
    expect(whole.scores).toMatch(/score.*score/);
    const last = await score(`drm:${path(backbone)}@6`);
    expect(last.scores, last.stderr).toBe(whole.scores);
    expect(last.said).toContain(`${path(backbone)}@6 is taken as it stood after step 6 of 6`);
    if (backbone !== 'full') return;
    expect((await score(`${path(backbone)}@2`)).scores).not.toBe(whole.scores);
    const run = stopped(backbone);
    expect((await score(run)).said).toContain(
      `${run} has no result yet; its model is taken as it stood after step 6 of 6`,
    );
    expect((await score(run)).scores).toBe(whole.scores);
    const none = await score(`${run}@5`);
    expect(none.code).toBe(3);
    expect(none.stderr).toContain('expected a checkpoint of step 5, found 2, 4, 6; name one of those as RUN@STEP');
  },
);

test('a base by its run, RUN@STEP and as a stopped run', async () => {
  const data = await preparedSet(work);
  const settings = {
    ...{ lora_rank: 0, steps: 2, batch: 2, micro_batch: 0, size: 32, t5_length: 8, checkpoint_every: 1, keep_last: 4 },
    ...{ dtype: 'fp32', export_dtype: 'fp32', learning_rate: 0.001, warm_up: 0, evaluate_every: 0, preview_every: 0 },
  };
  const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  await pretrainHere(['flow', '--model', fixture, '--data', data, '--out', path('base'), ...set]);
  const image = async (model: string) => {
    const out = path('x.png');
    const words = ['sample', 'x', '--steps', '2', '--size', '32', '--threads', '1', '--model', model, '--out', out];
    const { code, stderr } = await runDrm([...words, '--set', 't5_length=8']);
    expect(code, stderr).toBe(0);
    const bytes = readFileSync(out);
    return { stderr, pixels: bytes.subarray(bytes.indexOf('IDAT')) };
  };
  const whole = await image(path('base'));
  expect((await image(`${path('base')}@2`)).pixels.equals(whole.pixels)).toBe(true);
  expect((await image(`${path('base')}@1`)).pixels.equals(whole.pixels)).toBe(false);
  const run = await image(stopped('base'));
  expect(run.pixels.equals(whole.pixels)).toBe(true);
  expect(run.stderr).toContain('after step 2 of 2');
  const reward = await runDrm(['score', '--reward', `${path('base')}@2`, '--prompt', 'x', path('a.png')]);
  expect(reward.code).toBe(3);
});
