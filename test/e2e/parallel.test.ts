// Several processes train one model: by --nproc and by a launcher's environment; the figures of one process, one that is
// killed, one that is stopped, and what goes wrong before the first step.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { openCheckpoint } from '../../cli/runs/checkpoints.js';
import { drm, fixture, type Outcome, runDrm, temporaryFolder } from '../run_drm.js';
import { at, learned, linesOf, preparedSet, pretrain, resumeArguments } from './pretraining.js';
import { preparedPairs, quickConfig, train } from './reward_training.js';

// Seconds on an idle machine; a busy one may take minutes.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const config = path('flow.json');

beforeAll(async () => {
  const settings = {
    ...{ task: 'pretrain_flow', model: fixture, data: await preparedSet(work), size: 32, t5_length: 8 },
    ...{ steps: 6, batch: 7, micro_batch: 2, learning_rate: 0.003, warm_up: 1, log_every: 1, seed: 5 },
    ...{
      evaluate_every: 3,
      evaluate_samples: 6,
      checkpoint_every: 2,
      keep_last: 4,
      dtype: 'fp32',
      export_dtype: 'fp32',
    },
  };
  writeFileSync(config, JSON.stringify(settings));
  expect(await flow('one')).toMatchObject({ code: 0 });
  expect(await flow('two', ['--nproc', '2'])).toMatchObject({ code: 0 });
});

const flow = (run: string, more: string[] = [], options = {}) => pretrain('flow', config, path(run), more, options);
const weights = (run: string) => readFileSync(path(`${run}/model/transformer/diffusion_pytorch_model.safetensors`));

/** The process of that rank of the run in this folder, once it is there. */
async function processOf(run: string, rank: number): Promise<number> {
  for (;;) {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
        if (command.includes(path(run)) && environment.includes(`RANK=${rank}`)) return Number(pid);
      } catch {} // gone meanwhile, or not ours
    }
    await new Promise((wait) => setTimeout(wait, 50));
  }
}

/** Loss and gradient norm of every step, and what evaluations gave. */
const figures = (run: string) =>
  learned(path(run)).map(({ step, values: { loss, grad_norm } }) => [step, loss, grad_norm] as const);

function expectSameToRounding(run: string, other: string): void {
  const [a, b] = [figures(run), figures(other)];
  expect(a.length).toBe(8); // six steps, two evaluations
  expect(b.map(([step]) => step)).toEqual(a.map(([step]) => step));
  for (const [n, [, loss, norm]] of a.entries()) {
    expect(b[n]?.[1]).toBeCloseTo(loss as number, 4);
    if (norm !== undefined) expect(b[n]?.[2]).toBeCloseTo(norm, 4);
  }
}

test('two processes, and three, have the losses of one to rounding, each sample seen once', async () => {
  expect(await flow('three', ['--nproc', '3'])).toMatchObject({ code: 0 });
  for (const run of ['two', 'three']) {
    expectSameToRounding('one', run);
    expect(weights(run).equals(weights('one'))).toBe(false); // sums in another order: were it equal, one did all
    const done = linesOf(readFileSync(path(`${run}/metrics.jsonl`), 'utf8')).find(({ event }) => event === 'done');
    expect(done?.facts.samples).toBe(42);
  }
});

test('ZeRO-1 has the very weights of the plain optimizer, and its checkpoint is whole', async () => {
  expect(await flow('zero', ['--nproc', '2', '--set', 'zero=true'])).toMatchObject({ code: 0 });
  expect(weights('zero').equals(weights('two'))).toBe(true);
  const state = (run: string) => readFileSync(path(`${run}/checkpoints/6/state.safetensors`));
  const tensors = (file: Buffer) => {
    const end = 8 + Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.toString('utf8', 8, end)) as Record<string, { data_offsets: [number, number] }>;
    return Object.fromEntries(
      Object.entries(header)
        .filter(([name]) => name !== '__metadata__')
        .map(
          ([
            name,
            {
              data_offsets: [from, to],
            },
          ]) => [name, file.toString('base64', end + from, end + to)],
        ),
    );
  };
  expect(tensors(state('zero'))).toEqual(tensors(state('two')));
});

test.each([
  ['plain', []],
  ['ZeRO-1', ['--set', 'zero=true']],
])('%s: stopped by Ctrl-C and resumed as printed, it ends with the very weights', async (name, more) => {
  const run = `stopped ${name}`;
  const stopped = await flow(run, ['--nproc', '2', ...more], at(3, 'SIGINT'));
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(/stopped after step \d of 6; the checkpoint is /);
  const command = resumeArguments(stopped)
    .join(' ')
    .replaceAll("'", '')
    .replaceAll(path(run), path(run).replaceAll(' ', '\0'));
  expect(await runDrm(command.split(' ').map((word) => word.replaceAll('\0', ' ')))).toMatchObject({ code: 0 });
  expect(weights(run).equals(weights('two'))).toBe(true);
  expect(learned(path(run))).toEqual(learned(path('two')));
});

test.each([
  ['the second', 1, []],
  ['the first', 0, []],
  ['the second, with ZeRO-1', 1, ['--set', 'zero=true']],
])(
  'killing %s ends the others within 30 s, names it, and leaves a checkpoint to go on from',
  async (name, rank, more) => {
    const run = `killed ${name}`.replaceAll(/\W+/g, '-');
    const killed = { at: 0 };
    const act = async () => {
      const pid = await processOf(run, rank);
      killed.at = Date.now();
      process.kill(pid, 'SIGKILL');
    };
    // Long enough not to end by itself first.
    const more_ = ['--nproc', '2', '--steps', '100000', '--set', 'evaluate_every=0', ...more];
    const outcome = await flow(run, more_, { onOutput: { when: '"event":"checkpoint","step":4', act } });
    expect(Date.now() - killed.at).toBeLessThan(30_000);
    expect(outcome.code).toBe(4);
    expect(outcome.stderr).toMatch(new RegExp(`\\[parallel\\] rank ${rank} .*(is gone|was ended by SIGKILL)`));
    expect(outcome.stderr).toContain('--resume');
    const steps = readdirSync(path(`${run}/checkpoints`))
      .filter((step) => /^\d+$/.test(step))
      .map(Number);
    expect(Math.max(...steps)).toBeGreaterThanOrEqual(4);
    for (const step of steps) expect((await openCheckpoint(path(`${run}/checkpoints/${step}`))).step).toBe(step);
    const last = Math.max(...steps) + 1;
    expect(await flow(run, ['--nproc', '2', '--resume', '--steps', String(last)])).toMatchObject({ code: 0 });
    expect(learned(path(run)).at(-1)?.step).toBe(last);
  },
);

test.each([
  ['kept', ['latents=cached', 'text=cached']],
  ['at every step', ['latents=on_the_fly', 'text=on_the_fly', 'zero=true', 'gradient_checkpointing=true']],
])(
  'a reward model: two processes have the losses and the accuracies of one, with latents and prompts %s',
  async (how, choices) => {
    const name = how.replaceAll(' ', '-');
    await preparedPairs(path(`pairs-${name}`));
    const file = quickConfig(work, { data: path(`pairs-${name}`), batch: 5 });
    const more = choices.flatMap((choice) => ['--set', choice]);
    expect(await train(file, path(`reward-one-${name}`), more)).toMatchObject({ code: 0 });
    expect(await train(file, path(`reward-two-${name}`), [...more, '--nproc', '2'])).toMatchObject({ code: 0 });
    expectSameToRounding(`reward-one-${name}`, `reward-two-${name}`);
    const accuracies = (run: string) =>
      learned(path(run)).map(({ values }) =>
        Object.entries(values)
          .filter(([key]) => key.startsWith('accuracy'))
          .sort(),
      );
    expect(accuracies(`reward-two-${name}`).flat().length).toBeGreaterThan(12);
    for (const [n, of] of accuracies(`reward-one-${name}`).entries())
      for (const [i, [key, value]] of of.entries()) {
        const found = accuracies(`reward-two-${name}`)[n]?.[i];
        expect(found?.[0]).toBe(key);
        expect(found?.[1]).toBeCloseTo(value, 6);
      }
    expect(readFileSync(path(`reward-two-${name}/model/config.json`), 'utf8')).toContain('DiffusionRewardModel');
  },
);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** As a launcher starts them: one command, places in the environment. */
async function launched(argumentsOf: (rank: number) => string[], count: number): Promise<Outcome[]> {
  const port = String(await freePort());
  return Promise.all(
    Array.from({ length: count }, (_, rank) =>
      runDrm(argumentsOf(rank), {
        env: {
          ...{ RANK: String(rank), LOCAL_RANK: String(rank), WORLD_SIZE: String(count) },
          ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: port, TORCH_CPP_LOG_LEVEL: 'ERROR' },
        },
      }),
    ),
  );
}

const command = (run: string, more: string[] = []) => [
  ...['pretrain', 'flow', '--config', config, '--threads', '1', '--out', path(run), '--json', ...more],
];

test("started by a launcher's environment, they are what --nproc starts; the first alone speaks", async () => {
  const [first, second] = await launched(() => command('by-environment'), 2);
  expect(first).toMatchObject({ code: 0 });
  expect(second).toEqual({ code: 0, stdout: '', stderr: '' });
  expect(weights('by-environment').equals(weights('two'))).toBe(true);
});

const torchrun = join(process.env.DRM_BENCH_PYTHON ?? '', '../torchrun');
test.skipIf(!existsSync(torchrun))(
  'torchrun --no-python hosts the store itself (SKIPPED without DRM_BENCH_PYTHON)',
  async () => {
    const port = String(await freePort());
    const args = ['--no-python', '--nproc-per-node', '2', '--master-addr', '127.0.0.1', '--master-port', port];
    const run = spawnSync(torchrun, [...args, process.execPath, drm, ...command('by-torchrun')], { encoding: 'utf8' });
    expect(run.status, run.stderr).toBe(0);
    expect(weights('by-torchrun').equals(weights('two'))).toBe(true);
  },
);

test('other settings on one of them, too few samples, half an environment, two launchers: each is named', async () => {
  const [first, second] = await launched(
    // Steps may change when a run is resumed, but not from one process to the other.
    (rank) => command('differ', ['--seed', String(rank), '--steps', String(6 + rank)]),
    2,
  );
  expect(second?.code).toBe(3);
  expect(second?.stderr).toMatch(/rank 1: .*seed, steps: expected the settings of rank 0 \(0, 6\), found 1, 7/);
  expect(first?.code).toBe(4);
  expect(first?.stderr).toMatch(/rank 1 .* ended with an error: .*seed/);

  const few = await flow('few', ['--nproc', '2', '--batch', '1']);
  expect(few.code).toBe(3);
  expect(few.stderr).toContain('batch: expected at least 2, a sample for each process, found 1');

  const half = await flow('half', [], { env: { RANK: '0', WORLD_SIZE: '2' } });
  expect(half.code).toBe(4);
  expect(half.stderr).toContain('found no MASTER_ADDR, MASTER_PORT');

  const both = await flow('both', ['--nproc', '2'], {
    env: { RANK: '0', WORLD_SIZE: '2', MASTER_ADDR: '127.0.0.1', MASTER_PORT: '29500' },
  });
  expect(both.code).toBe(2);
  expect(both.stderr).toContain('leave --nproc out');
});

test('a process that waits for the others ends at once by Ctrl-C', async () => {
  const env = { RANK: '0', WORLD_SIZE: '2', MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(await freePort()) };
  const onOutput = {
    when: 'waiting for all 2 processes',
    act: (kill: (signal: NodeJS.Signals) => void) => kill('SIGINT'),
  };
  expect(await runDrm(command('waits'), { env, onOutput })).toMatchObject({ code: 130 });
});
