// What goes wrong in the middle of a run: bad images, a lost shard, a full disk. Named, counted, and nothing lost.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { pngOf } from '../data/images.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { learned, preparedSet, pretrain, resumeArguments, vaeArchitecture } from './pretraining.js';
import { pretrainHere, refuses } from './pretraining_here.js';

// Seconds on an idle machine; a busy one may take minutes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const config = path('vae.json');
const settings = {
  ...{ task: 'pretrain_vae', architecture: path('vae'), data: path('set'), size: 16, batch: 2, steps: 10 },
  ...{ learning_rate: 0.01, log_every: 1, evaluate_every: 4, evaluate_samples: 4, checkpoint_every: 4, seed: 5 },
  ...{ dtype: 'fp32', export_dtype: 'fp32', prefetch: 1 },
};

beforeAll(async () => {
  await preparedSet(work);
  vaeArchitecture(path('vae'));
  writeFileSync(config, JSON.stringify(settings));
});

const shard = (set: string) => join(path(set), 'train-00000.tar');
const argv = (run: string, set: string) => ['vae', '--config', config, '--data', path(set), '--out', path(run)];
const warnings = (events: Event[]) => events.flatMap((e) => (e.event === 'warning' ? [e.message] : []));

/** A copy of the set, the images of these numbers overwritten. */
async function damaged(name: string, numbers: number[]): Promise<void> {
  cpSync(path('set'), path(name), { recursive: true });
  for (const file of readdirSync(path(name)).filter((file) => file.endsWith('.tar'))) {
    const bytes = readFileSync(join(path(name), file));
    for (const number of numbers) {
      const at = bytes.indexOf(await pngOf(number));
      if (at >= 0) bytes.fill(0x55, at + 20, at + 120);
    }
    writeFileSync(join(path(name), file), bytes);
  }
}

test('bad images are named once each, left out and counted, and the run ends well', async () => {
  await damaged('bad', [0, 1, 2, 4]); // 4 is held out
  const events = await pretrainHere([...argv('bad-run', 'bad'), '--batch', '8', '--steps', '4']);
  const told = warnings(events);
  expect(told).toHaveLength(4);
  expect(new Set(told).size).toBe(4);
  for (const message of told) expect(message).toMatch(/(train|test)-00000\.tar: \d{9}: .*; left out from now on/);
  expect(told.filter((message) => message.includes('train-'))).toHaveLength(3);
  // Two epochs of 16 images, 13 of them good.
  expect(events.at(-1)).toMatchObject({ event: 'done', facts: { steps: 4, samples: 26, images_left_out: 3 } });
});

test('a shard that is gone before the start is named', async () => {
  cpSync(path('set'), path('gone'), { recursive: true });
  rmSync(shard('gone'));
  await refuses(argv('gone-run', 'gone'), 3, [shard('gone'), 'no file', 'prepare it again']);
});

test('a shard that is lost on the way ends the run, which goes on when the shard is back', async () => {
  cpSync(path('set'), path('lost'), { recursive: true });
  const lose = (event: Event) => {
    if (event.event === 'metric' && event.step === 3) truncateSync(shard('lost'), 0);
  };
  await refuses(argv('lost-run', 'lost'), 3, [shard('lost'), 'cut off', 'drm data inspect'], lose);
  const steps = readdirSync(path('lost-run/checkpoints')).map(Number);
  expect(Math.max(...steps)).toBeGreaterThan(2); // none of the steps taken is lost

  cpSync(shard('set'), shard('lost'));
  await pretrainHere([...argv('lost-run', 'lost'), '--resume']);
  await pretrainHere(argv('never-lost', 'set'));
  const weights = (run: string) => readFileSync(path(`${run}/model/vae/diffusion_pytorch_model.safetensors`));
  expect(learned(path('lost-run')).at(-1)).toEqual(learned(path('never-lost')).at(-1));
  expect(weights('lost-run').equals(weights('never-lost'))).toBe(true);
});

test('a full disk: the last checkpoint stays, and the run goes on from it when there is room', async () => {
  const disk = path('disk');
  mkdirSync(disk);
  const mount = (...options: string[]) => spawnSync('mount', [...options, 'tmpfs', disk]).status === 0;
  if (!mount('-t', 'tmpfs', '-o', 'size=600k')) {
    console.warn('NOT CHECKED: a full disk in training (this user may not mount a tmpfs)');
    return;
  }
  try {
    const run = join(disk, 'run');
    const more = ['--set', 'checkpoint_every=1', '--set', 'keep_last=9'];
    const full = await pretrain('vae', config, run, more);
    expect(full.code).toBe(4);
    expect(full.stderr).toContain('free some space');
    const kept = readdirSync(join(run, 'checkpoints')).filter((name) => /^\d+$/.test(name));
    expect(full.stderr).toContain(`the checkpoint of step ${Math.max(...kept.map(Number))} is intact`);
    expect(mount('-o', 'remount,size=16m')).toBe(true);
    expect(await runDrm(resumeArguments(full))).toMatchObject({ code: 0 });
    expect(existsSync(join(run, 'model/vae/config.json'))).toBe(true);
  } finally {
    spawnSync('umount', [disk]);
  }
});
