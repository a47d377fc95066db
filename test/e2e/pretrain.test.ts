// Real training, interrupted: the weights are those of the uninterrupted run, to the bit.
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { Checkpoints, openCheckpoint } from '../../cli/runs/checkpoints.js';
import { writePictures } from '../data/pictures.js';
import { type RunOptions, runDrm, temporaryFolder } from '../run_drm.js';

const work = temporaryFolder();
const config = join(work, 'vae.json');

beforeAll(async () => {
  const from = await writePictures(join(work, 'pictures'), 24);
  const set = ['--from', join(from, 'captions.jsonl'), '--out', join(work, 'set'), '--hold-out', '25'];
  expect(await runDrm(['data', 'prepare', 'jsonl', ...set])).toMatchObject({ code: 0 });
  const blocks = (name: string) => [`${name}Block2D`, `${name}Block2D`];
  const architecture = {
    ...{ _class_name: 'AutoencoderKL', act_fn: 'silu', in_channels: 3, out_channels: 3, latent_channels: 4 },
    ...{ block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, sample_size: 16 },
    ...{ down_block_types: blocks('DownEncoder'), up_block_types: blocks('UpDecoder'), force_upcast: true },
    ...{ scaling_factor: 1, shift_factor: 0, use_quant_conv: false, use_post_quant_conv: false },
    mid_block_add_attention: true,
  };
  writeFileSync(join(work, 'config.json'), JSON.stringify(architecture));
  const settings = {
    ...{ task: 'pretrain_vae', architecture: work, data: join(work, 'set'), size: 16, batch: 4, micro_batch: 2 },
    ...{ steps: 8, learning_rate: 0.01, warm_up: 2, log_every: 1, evaluate_every: 3, evaluate_samples: 4 },
    ...{ checkpoint_every: 2, keep_last: 4, dtype: 'fp32', export_dtype: 'fp32', seed: 5 },
  };
  writeFileSync(config, JSON.stringify(settings));
});

const pretrain = (out: string, more: string[] = [], options: RunOptions = {}) =>
  runDrm(['pretrain', 'vae', '--config', config, '--threads', '1', '--out', out, '--json', ...more], options);

const weights = (run: string) => readFileSync(join(run, 'model/vae/diffusion_pytorch_model.safetensors'));

/** Metrics and evaluations without what belongs to the machine. */
function learned(run: string) {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return lines
    .map((line) => JSON.parse(line) as { event: string; step: number; values: Record<string, number> })
    .filter(({ event }) => event === 'metric' || event === 'evaluation')
    .map(({ event, step, values: { samples_per_second: _, data_wait: __, memory_mb: ___, ...values } }) => ({
      ...{ event, step, values },
    }));
}

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
  expect(await pretrain(whole)).toMatchObject({ code: 0 });

  const stopped = join(work, 'stopped');
  const interrupt = {
    when: '"event":"metric","step":3,',
    act: (kill: (signal: NodeJS.Signals) => void) => kill('SIGINT'),
  };
  const first = await pretrain(stopped, [], { onOutput: interrupt });
  expect(first.code).toBe(130);
  const command = /go on with: drm (.*)/.exec(first.stderr)?.[1]?.split(' ') ?? [];
  const restarted = join(work, 'restarted');
  cpSync(stopped, restarted, { recursive: true });

  expect(await runDrm(command)).toMatchObject({ code: 0 }); // as printed
  expect(weights(stopped).equals(weights(whole))).toBe(true);
  expect(learned(stopped)).toEqual(learned(whole));

  await forgetMoments(restarted);
  expect(await pretrain(restarted, ['--resume'])).toMatchObject({ code: 0 });
  expect(weights(restarted).equals(weights(whole))).toBe(false);

  const killed = join(work, 'killed');
  const kill = { when: '"event":"metric","step":5,', act: (kill: (signal: NodeJS.Signals) => void) => kill('SIGKILL') };
  expect((await pretrain(killed, [], { onOutput: kill })).code).toBe(null);
  expect(readdirSync(join(killed, 'checkpoints'))).toContain('4');
  expect(await pretrain(killed, ['--resume'])).toMatchObject({ code: 0 });
  expect(weights(killed).equals(weights(whole))).toBe(true);
  expect(learned(killed)).toEqual(learned(whole));
});

test('a setting that reaches the numbers cannot change on resuming', async () => {
  const run = join(work, 'fixed');
  expect(await pretrain(run, ['--steps', '2'])).toMatchObject({ code: 0 });
  const refused = await pretrain(run, ['--resume', '--seed', '6']);
  expect(refused.code).toBe(3);
  expect(refused.stderr).toContain('seed (was 5, now 6)');
});
