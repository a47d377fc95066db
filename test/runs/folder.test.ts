// Opening a run: what is refused, what is gone on with, and which checkpoint is believed.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VERSION } from '../../cli/common/version.js';
import { Checkpoints, openCheckpoint } from '../../cli/runs/checkpoints.js';
import { Run, type RunRequest, readRunConfig, settingsHash } from '../../cli/runs/folder.js';
import { temporaryFolder } from '../run_drm.js';

const settings = { seed: 1, steps: 9, model: 'tiny', rates: [1, 2] };

function request(more: Partial<RunRequest> = {}): RunRequest {
  return {
    folder: join(temporaryFolder(), 'run'),
    task: 'pretrain flow',
    settings,
    resume: false,
    mayDiffer: ['steps'],
    ...more,
  };
}

const metric = {
  event: 'metric',
  step: 1,
  total: 9,
  seconds: 1,
  seconds_left: 8,
  values: { loss: 1 },
} as const;

const fill = (word: string) => async (folder: string) => {
  mkdirSync(join(folder, 'unet'));
  writeFileSync(join(folder, 'unet/weights.bin'), word.repeat(1000));
  writeFileSync(join(folder, 'optimizer.bin'), word);
};

/** A run with checkpoints of these steps. */
async function made(steps: number[] = []): Promise<RunRequest> {
  const asked = request();
  const run = await Run.open(asked);
  for (const step of steps) await run.checkpoint(step, { step }, fill(`step ${step} `));
  await run.close();
  return { ...asked, resume: true };
}

async function reopened(asked: RunRequest) {
  const run = await Run.open(asked);
  await run.close();
  return run;
}

test('a new run writes its settings, and asks for an empty folder', async () => {
  const asked = request();
  const run = await Run.open(asked);
  run.record(metric);
  await run.close();
  expect(await readRunConfig(asked.folder)).toEqual(run.config);
  expect(run.config).toMatchObject({ task: 'pretrain flow', drm: VERSION, settings, resumed: [] });
  expect(readdirSync(asked.folder).sort()).toEqual(['checkpoints', 'config.json', 'metrics.jsonl', 'samples']);

  await expect(Run.open(asked)).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringMatching(/found a run of drm pretrain flow; go on with it by --resume/),
  });
  const other = temporaryFolder();
  writeFileSync(join(other, 'thesis.tex'), '');
  await expect(Run.open(request({ folder: other }))).rejects.toThrow(/found thesis.tex; name another with --out/);
  expect(readdirSync(other)).toEqual(['thesis.tex']); // nothing left behind, no lock either
});

test('a run that ended before its first step may be started over', async () => {
  const asked = request();
  const failed = await Run.open(asked);
  failed.record({ event: 'started', version: 1, command: 'pretrain flow', facts: { data: 'a/wrong/path' } });
  failed.record({ event: 'error', code: 'BAD_FILE', message: 'no such set', details: {}, exit_code: 3 });
  await failed.close();
  const run = await reopened({ ...asked, settings: { ...settings, seed: 7 } });
  expect(run.config.settings.seed).toBe(7);
  expect(readFileSync(join(asked.folder, 'metrics.jsonl'), 'utf8')).toBe('');

  const other = temporaryFolder();
  writeFileSync(join(other, 'config.json'), '{"compilerOptions": {}}'); // not ours
  await expect(Run.open(request({ folder: other }))).rejects.toThrow('found config.json; name another');
});

test('resuming asks for a run of the same command', async () => {
  const empty = temporaryFolder();
  await expect(Run.open(request({ folder: empty, resume: true }))).rejects.toMatchObject({
    code: 'BAD_FILE',
    message: expect.stringContaining('found no such file'),
  });
  expect(readdirSync(empty)).toEqual([]);
  const asked = await made();
  await expect(Run.open({ ...asked, task: 'train' })).rejects.toThrow(
    'expected a run of drm train, found one of drm pretrain flow',
  );
  writeFileSync(join(asked.folder, 'config.json'), '{"task": 3}');
  await expect(Run.open(asked)).rejects.toThrow('task: expected a text, found 3');
  writeFileSync(join(asked.folder, 'config.json'), '{');
  await expect(Run.open(asked)).rejects.toMatchObject({ code: 'BAD_FILE' });
});

test('changed settings are refused by name; some may change', async () => {
  const asked = await made([3]);
  const changed = { ...asked, settings: { ...settings, seed: 2, rates: [1, 3], steps: 20 } };
  await expect(Run.open(changed)).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    details: { keys: 'seed, rates' },
    message: expect.stringContaining(
      'seed (was 1, now 2), rates (was [1,2], now [1,3]); give them their old values, or start a new run with another --out (may change: steps)',
    ),
  });
  expect(existsSync(join(asked.folder, 'run.lock'))).toBe(false);
  const run = await reopened({ ...asked, settings: { ...settings, steps: 20 } });
  expect(run.config.settings.steps).toBe(20);
  expect(run.config.resumed).toMatchObject([{ step: 3, changed: { steps: [9, 20] } }]);
  // Checkpoints of before the change are still this run's, and so are those of after.
  const again = await Run.open({ ...asked, settings: { ...settings, steps: 20 } });
  await again.checkpoint(5, {}, fill('x'));
  await again.close();
  expect((await reopened({ ...asked, settings: { ...settings, steps: 30 } })).from?.step).toBe(5);
});

test('settings that another version has, or lacks, are a warning', async () => {
  const asked = await made([3]);
  const { model: _, ...fewer } = settings;
  const run = await reopened({ ...asked, settings: { ...fewer, ema: 0.999 } });
  expect(run.from?.step).toBe(3);
  expect(run.warnings).toEqual([
    `the run was started by drm ${VERSION} with model "tiny", this is drm ${VERSION} with nothing`,
    `the run was started by drm ${VERSION} with ema nothing, this is drm ${VERSION} with 0.999`,
  ]);
});

test('equal settings have equal hashes', () => {
  expect(settingsHash({ a: 1, b: [2] })).toBe(settingsHash({ b: [2], a: 1 }));
  expect(settingsHash({ a: 1, b: [2] })).not.toBe(settingsHash({ a: 1, b: [3] }));
});

test('a checkpoint comes back with its files and state', async () => {
  const asked = await made([3, 6]);
  const { from, warnings } = await reopened(asked);
  expect(from).toMatchObject({ step: 6, folder: join(asked.folder, 'checkpoints/6'), state: { step: 6 } });
  expect(readFileSync(join(from?.folder ?? '', 'optimizer.bin'), 'utf8')).toBe('step 6 ');
  expect(warnings).toEqual([]);
});

test('before the first checkpoint the run begins anew', async () => {
  const { from, warnings } = await reopened(await made());
  expect(from).toBeUndefined();
  expect(warnings[0]).toContain('had not written a checkpoint yet');
});

const flip = (file: string, at: number) => {
  const bytes = readFileSync(file);
  const place = at < 0 ? bytes.length + at : at;
  bytes[place] = (bytes[place] ?? 0) ^ 1;
  writeFileSync(file, bytes);
};

const DAMAGE: [string, (folder: string) => void, RegExp][] = [
  [
    'truncated',
    (f) => truncateSync(join(f, 'unet/weights.bin'), 6999),
    /unet.weights\.bin: expected 7000 bytes, found 6999/,
  ],
  [
    'grown',
    (f) => writeFileSync(join(f, 'optimizer.bin'), 'x', { flag: 'a' }),
    /optimizer\.bin: expected 7 bytes, found 8/,
  ],
  [
    'bit-flipped',
    (f) => flip(join(f, 'unet/weights.bin'), 3210),
    /unet.weights\.bin: its content is not what was written/,
  ],
  ['without a file', (f) => rmSync(join(f, 'optimizer.bin')), /expected the file optimizer\.bin, found none/],
  ['without its seal', (f) => rmSync(join(f, 'checkpoint.json')), /expected checkpoint\.json, which is written last/],
  ['with half a seal', (f) => truncateSync(join(f, 'checkpoint.json'), 100), /checkpoint\.json: /],
  ['of another step', (f) => cpSync(join(f, '../3'), f, { recursive: true, force: true }), /6: it holds step 3/],
];

test.each(DAMAGE)('a checkpoint %s is refused by name, and the one before it is used', async (_, damage, message) => {
  const asked = await made([3, 6]);
  damage(join(asked.folder, 'checkpoints/6'));
  const run = await Run.open(asked);
  expect(run.from?.step).toBe(3);
  expect(run.warnings[0]).toMatch(message);
  expect(run.warnings[0]).toContain(join(asked.folder, 'checkpoints/6'));
  expect(run.warnings[0]).toContain('goes on from step 3 instead');
  await run.checkpoint(6, {}, fill('new '));
  await run.close();
  expect((await reopened(asked)).from?.step).toBe(6);

  for (const step of ['3', '6']) rmSync(join(asked.folder, 'checkpoints', step, 'optimizer.bin'));
  await expect(Run.open(asked)).rejects.toMatchObject({ code: 'BAD_FILE' }); // not from the beginning without a word
});

test('no flipped bit of the seal is believed', async () => {
  const asked = await made([3]);
  const file = join(asked.folder, 'checkpoints/3/checkpoint.json');
  const good = readFileSync(file);
  for (let at = 0; at < good.length; at++) {
    flip(file, at);
    await expect(openCheckpoint(join(asked.folder, 'checkpoints/3')), `byte ${at}`).rejects.toMatchObject({
      code: 'BAD_FILE',
    });
    writeFileSync(file, good);
  }
  expect((await openCheckpoint(join(asked.folder, 'checkpoints/3'))).step).toBe(3);
});

test('a checkpoint of another run is refused', async () => {
  const asked = await made([3]);
  const other = await made();
  const otherRun = await Run.open({ ...request(), settings: { ...settings, seed: 5 } });
  await otherRun.checkpoint(6, {}, fill('x'));
  await otherRun.close();
  cpSync(join(otherRun.folder, 'checkpoints/6'), join(asked.folder, 'checkpoints/6'), { recursive: true });
  await expect(Run.open(asked)).rejects.toThrow('found one of other settings; was it copied here?');
  expect((await reopened(other)).from).toBeUndefined();
});

test('what stays: the last few, and every so many steps', async () => {
  const root = temporaryFolder();
  const checkpoints = new Checkpoints(root, '');
  for (let step = 10; step <= 100; step += 10) {
    await checkpoints.write(step, {}, fill('x'));
    await checkpoints.prune({ last: 2, every: 40 }, step);
  }
  expect(await checkpoints.steps()).toEqual([40, 80, 90, 100]);
  await checkpoints.prune({ last: 1, every: 0 }, 100);
  expect(await checkpoints.steps()).toEqual([100]);
});

test('a failed write leaves nothing, a killed one is swept', async () => {
  const asked = await made([3]);
  const run = await Run.open(asked);
  const failing = run.checkpoint(6, {}, async (folder) => {
    writeFileSync(join(folder, 'half'), 'x');
    throw new Error('weights are gone');
  });
  await expect(failing).rejects.toThrow('weights are gone');
  const root = join(asked.folder, 'checkpoints');
  expect(readdirSync(root)).toEqual(['3']);
  mkdirSync(join(root, '.6.abcd'));
  await run.close();
  await reopened(asked);
  expect(readdirSync(root)).toEqual(['3']);
});

test('a run whose folder was taken over writes nothing more there', async () => {
  const asked = request();
  const run = await Run.open(asked);
  writeFileSync(join(asked.folder, 'run.lock'), '{}');
  await expect(run.checkpoint(3, {}, fill('x'))).rejects.toThrow('another process has taken it over');
  expect(readdirSync(join(asked.folder, 'checkpoints'))).toEqual([]);
  await run.close();
});
