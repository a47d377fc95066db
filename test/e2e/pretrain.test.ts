// Real training, interrupted: the weights are those of the uninterrupted run, to the bit.
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { Checkpoints, openCheckpoint } from '../../cli/runs/checkpoints.js';
import { type RunOptions, runDrm, temporaryFolder } from '../run_drm.js';
import { at, learned, preparedSet, pretrain, resumeArguments, vaeArchitecture } from './pretraining.js';

// Seconds on an idle machine; a busy one may take minutes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const config = join(work, 'vae.json');

beforeAll(async () => {
  const settings = {
    ...{ task: 'pretrain_vae', architecture: vaeArchitecture(join(work, 'vae')), data: await preparedSet(work) },
    ...{ steps: 8, learning_rate: 0.01, warm_up: 2, log_every: 1, evaluate_every: 3, evaluate_samples: 4 },
    ...{ checkpoint_every: 2, keep_last: 4, dtype: 'fp32', export_dtype: 'fp32', seed: 5 },
    ...{ size: 16, batch: 4, micro_batch: 2 },
  };
  writeFileSync(config, JSON.stringify(settings));
});

const vae = (out: string, more: string[] = [], options: RunOptions = {}) => pretrain('vae', config, out, more, options);

const weights = (run: string) => readFileSync(join(run, 'model/vae/diffusion_pytorch_model.safetensors'));

/** The checkpoint as one would write who forgot the optimizer's moments. */
async function forgetMoments(run: string): Promise<void> {
  const checkpoints = new Checkpoints(join(run, 'checkpoints'), '');
  const { checkpoint } = await checkpoints.latest();
  if (!checkpoint) throw new Error(`${run} has no checkpoint`);
  const file = readFileSync(join(checkpoint.folder, 'state.safetensors'));
  const data = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, data)) as Record<string, { data_offsets: [number, number] }>;
  const moments = Object.keys(header).filter((name) => name.includes('exp_avg'));
  expect(moments.length).toBeGreaterThan(10);
  for (const name of moments) {
    const [from, to] = header[name]?.data_offsets ?? [0, 0];
    file.fill(0, data + from, data + to);
  }
  const same = new Checkpoints(checkpoints.root, checkpoint.settingsHash);
  await same.write(checkpoint.step, checkpoint.state, async (folder) => {
    writeFileSync(join(folder, 'state.safetensors'), file);
  });
  expect((await openCheckpoint(checkpoint.folder)).step).toBe(checkpoint.step);
}

test('uninterrupted = stopped and resumed = killed and resumed, and not a restart with the weights alone', async () => {
  const whole = join(work, 'whole');
  expect(await vae(whole)).toMatchObject({ code: 0 });

  const stopped = join(work, 'stopped');
  const first = await vae(stopped, [], at(3, 'SIGINT'));
  expect(first.code).toBe(130);
  const restarted = join(work, 'restarted');
  cpSync(stopped, restarted, { recursive: true });

  expect(await runDrm(resumeArguments(first))).toMatchObject({ code: 0 }); // as printed
  expect(weights(stopped).equals(weights(whole))).toBe(true);
  expect(learned(stopped)).toEqual(learned(whole));

  await forgetMoments(restarted);
  expect(await vae(restarted, ['--resume'])).toMatchObject({ code: 0 });
  expect(weights(restarted).equals(weights(whole))).toBe(false);

  const killed = join(work, 'killed');
  expect((await vae(killed, [], at(5, 'SIGKILL'))).code).toBe(null);
  expect(readdirSync(join(killed, 'checkpoints'))).toContain('4');
  expect(await vae(killed, ['--resume'])).toMatchObject({ code: 0 });
  expect(weights(killed).equals(weights(whole))).toBe(true);
  expect(learned(killed)).toEqual(learned(whole));
});

test('a setting that reaches the numbers cannot change on resuming', async () => {
  const run = join(work, 'fixed');
  expect(await vae(run, ['--steps', '2'])).toMatchObject({ code: 0 });
  const refused = await vae(run, ['--resume', '--seed', '6']);
  expect(refused.code).toBe(3);
  expect(refused.stderr).toContain('seed (was 5, now 6)');
});
