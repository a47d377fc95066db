// What can be got wrong with `drm train`: each mistake is told in a sentence that says what to do, and nothing is lost.
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { readManifest } from '../../cli/data/prepared/manifest.js';
import { pngOf } from '../data/images.js';
import { fixture, temporaryFolder } from '../run_drm.js';
import { learned, preparedSet } from './pretraining.js';
import { figuresOf, preparedPairs, quickConfig, refuses, trainHere } from './reward_training.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const at = (name: string) => join(work, name);
let config = '';
let runs = 0;

beforeAll(async () => {
  await preparedPairs(at('pairs'));
  await preparedPairs(at('one'), { train: 1, test: 0 });
  await preparedSet(work, 'captions');
  config = quickConfig(work);
  await trainHere(['--config', config, '--out', at('reward'), '--steps', '1']);
});

const set = (...pairs: string[]) => pairs.flatMap((pair) => ['--set', pair]);
const mistake = (more: string[], code: number, words: (string | RegExp)[]) =>
  refuses(['--config', config, '--out', at(`run-${runs++}`), ...more], code, words);

describe('data', () => {
  test('none named', () => mistake(['--data', ''], 2, ['--data DIR', 'drm data prepare']));
  test('not there', () => mistake(['--data', at('no')], 3, [at('no'), 'manifest.json', 'drm data prepare']));
  test('of another kind', () =>
    mistake(['--data', at('captions')], 3, [at('captions'), 'preference pairs', 'images with captions']));
  test('a split that is not there', () =>
    mistake(set('split=val'), 3, [/^\[train\] split/, 'train', 'found val', '--set split=']));
  test('batch larger than the set', () => mistake(['--batch', '17'], 3, ['at most 16', '--batch 16']));
  test('held-out data that are not there', () => mistake(['--eval-data', at('no')], 3, [at('no')]));
  test('empty', () => {
    cpSync(at('one'), at('empty'), { recursive: true });
    const manifest = { ...readManifest(at('one')), splits: { train: 0 }, shards: [], kept: 0 };
    writeFileSync(join(at('empty'), 'manifest.json'), JSON.stringify(manifest));
    return mistake(['--data', at('empty')], 3, [at('empty'), 'expected pairs, found none']);
  });
  test('one pair: too few for a batch of more, enough for a batch of one', async () => {
    await mistake(['--data', at('one')], 3, ['at most 1, all pairs', '--batch 1']);
    const events = await trainHere(['--config', config, '--data', at('one'), '--batch', '1', '--out', at('run-one')]);
    expect(figuresOf(events, 'metric')).toHaveLength(6);
    expect(figuresOf(events, 'evaluation')).toHaveLength(0);
    expect(events.flatMap((e) => (e.event === 'info' ? [e.message] : [])).join('\n')).toContain('--eval-data');
  });
});

describe('settings', () => {
  test('no --out', () => refuses(['--config', config], 2, ['--out DIR', 'runs/reward']));
  test('no base', () => mistake(['--model', ''], 2, ['--model', 'sd3.5-medium']));
  test('a base that is not there', () => mistake(['--model', 'tinny'], 3, ['did you mean tiny']));
  test('size between patches', () => mistake(set('size=40'), 3, ['multiple of 16', '32 or 48']));
  test('size beyond the position table', () => mistake(set('size=512'), 3, ['at most 160', 'pos_embed_max_size']));
  test('more blocks than there are', () => mistake(set('keep_layers=4'), 3, ['keep_layers', 'at most 3', 'found 4']));
  test('groups that do not divide', () => mistake(set('head_groups=3'), 3, ['head_channels', 'multiple', '(3)']));
  test('no tokens for a base that reads T5', () => mistake(set('t5_length=0'), 3, ['t5_length', 'T5']));
  test('adapters of random weights', () =>
    mistake(['--from-scratch', '--backbone', 'lora'], 3, ['backbone', 'found lora', '--from-scratch']));
  test('targets that no layer has', () =>
    mistake(['--backbone', 'lora', ...set('lora_targets=["attn.q"]')], 3, ['lora_targets', 'found attn.q', 'to_q']));
  test('unknown setting', () => mistake(set('keep_layer=2'), 2, ['keep_layer', 'did you mean keep_layers']));
  test('value out of range', () => mistake(set('head_dropout=1.5'), 2, ['head_dropout', '1.5']));
  test("another task's config", () =>
    mistake(['--config', 'pretrain/tiny-vae'], 3, ['task in', '"train"', '"pretrain_vae"']));
  test("the authors' layout of random weights", () =>
    mistake(['--from-scratch', '--export', 'authors', '--steps', '1'], 3, ['export', 'authors', '--from-scratch']));
  test('resume where nothing is', () => refuses(['--out', at('no'), '--resume'], 3, [at('no'), '--resume']));
  test('resume with another size', () =>
    refuses(['--out', at('reward'), '--resume', ...set('size=48')], 3, ['size (was 32, now 48)']));
});

describe('--from', () => {
  const from = (name: string, more: string[] = []) => ['--from', name, ...more];
  test('nothing there', () => mistake(from(at('no')), 2, [at('no')]));
  test('a folder of something else', () => mistake(from(at('captions')), 3, [at('captions'), 'DiffusionRewardModel']));
  test('a scorer', () => mistake(from('judge'), 2, ['judge', 'scorer']));
  test('random weights at once', () => mistake(from(at('reward'), ['--from-scratch']), 2, ['--from-scratch']));
  test('of another base', () => {
    const file = at('other-base/config.json');
    cpSync(at('reward/model'), at('other-base'), { recursive: true });
    const own = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(
      file,
      JSON.stringify({ ...own, base: 'sd3.5-medium', backbone: { ...own.backbone, num_layers: 24, in_channels: 4 } }),
    );
    return mistake(from(at('other-base')), 3, [
      ...[at('other-base'), fixture, 'found one of sd3.5-medium', 'num_layers 24 instead of 3', '--model'],
    ]);
  });
  test('blocks kept that it does not have', () =>
    mistake(from(at('reward'), set('keep_layers=1')), 3, ['keep_layers', 'expected 2', 'found 1']));
  test('another VAE of the same form is told of', async () => {
    cpSync(fixture, at('base'), { recursive: true });
    const file = at('base/vae/diffusion_pytorch_model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1;
    writeFileSync(file, bytes);
    const more = from(at('reward'), ['--model', at('base'), '--steps', '1']);
    const events = await trainHere(['--config', config, '--out', at(`run-${runs++}`), ...more]);
    expect(warnings(events).join('\n')).toMatch(/the VAE of .*base is another file/);
  });
});

const warnings = (events: Event[]) => events.flatMap((e) => (e.event === 'warning' ? [e.message] : []));

/** A copy of the set, the images of these numbers overwritten. */
async function damaged(name: string, numbers: number[]): Promise<void> {
  cpSync(at('pairs'), at(name), { recursive: true });
  for (const file of readdirSync(at(name)).filter((file) => file.endsWith('.tar'))) {
    const bytes = readFileSync(join(at(name), file));
    for (const number of numbers) {
      const place = bytes.indexOf(await pngOf(number));
      if (place >= 0) bytes.fill(0x55, place + 20, place + 120);
    }
    writeFileSync(join(at(name), file), bytes);
  }
}

describe.each(['cached', 'on_the_fly'])('bad images, latents %s', (latents) => {
  test('are named once each; their pairs are left out and counted', async () => {
    await damaged('bad', [0, 1, 6, 40]); // pairs 0 and 3, and 20, which is held out
    const more = ['--data', at('bad'), '--epochs', '2', '--steps', '0', ...set(`latents=${latents}`)];
    const events = await trainHere(['--config', config, '--out', at(`bad-${latents}`), ...more]);
    const told = warnings(events);
    expect(told.filter((message) => /image \d+: .*; left out from now on/.test(message))).toHaveLength(4);
    expect(told).toHaveLength(4);
    // Two epochs of fourteen good pairs.
    expect(events.at(-1)).toMatchObject({ event: 'done', facts: { samples: 28, pairs_left_out: 2 } });
  });
});

describe('shards', () => {
  const shard = (name: string) => join(at(name), 'train-00000.tar');

  test('gone before the start', async () => {
    cpSync(at('pairs'), at('gone'), { recursive: true });
    rmSync(shard('gone'));
    await mistake(['--data', at('gone')], 3, [shard('gone'), 'no file', 'prepare it again']);
  });

  test('lost on the way: the run ends, and goes on when the shard is back, to the same model', async () => {
    cpSync(at('pairs'), at('lost'), { recursive: true });
    const quick = [...set('latents=on_the_fly', 'prefetch=1', 'text=on_the_fly', 'evaluate_every=0')];
    const argv = (run: string, data: string) => ['--config', config, '--data', at(data), '--out', at(run), ...quick];
    const lose = (event: Event) => {
      if (event.event === 'metric' && event.step === 3) truncateSync(shard('lost'), 0);
    };
    await refuses(argv('lost-run', 'lost'), 3, [shard('lost'), 'cannot be read', 'drm data inspect'], lose);
    expect(Math.max(...readdirSync(at('lost-run/checkpoints')).map(Number))).toBeGreaterThan(2);
    cpSync(shard('pairs'), shard('lost'));
    await trainHere([...argv('lost-run', 'lost'), '--resume']);
    await trainHere(argv('never-lost', 'pairs'));
    const weights = (run: string) => readFileSync(at(`${run}/model/model.safetensors`));
    expect(learned(at('lost-run')).at(-1)?.values.loss).toEqual(learned(at('never-lost')).at(-1)?.values.loss);
    expect(weights('lost-run').equals(weights('never-lost'))).toBe(true);
  });
});

test('a caption of 100,000 characters is cut, said so, and trained with', async () => {
  const { pairSource } = await import('../../cli/data/prepared/pair.js');
  const { prepare } = await import('../../cli/data/prepared/prepare.js');
  const prompt = 'a very long caption '.repeat(5000);
  const side = (i: number) => ({ id: `p${i}`, read: () => pngOf(i) });
  const pairs = [0, 1, 2, 3].map((i) => ({
    split: 'train',
    fields: { prompt, source: 'test' },
    chosen: side(i),
    rejected: side(i + 4),
  }));
  await prepare(pairSource({ notes: [{ name: 'test' }], settings: {}, pairs: () => pairs }), at('long'), {
    limits: { bytes: 1e9, samples: 100 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  for (const text of ['cached', 'on_the_fly']) {
    const more = ['--data', at('long'), '--steps', '1', ...set(`text=${text}`, 'prefetch=1')];
    const events = await trainHere(['--config', config, '--out', at(`long-${text}`), ...more]);
    expect(warnings(events).some((message) => message.includes('cut'))).toBe(true);
    expect(warnings(events).every((message) => message.length < 1000)).toBe(true);
    expect(figuresOf(events, 'metric')).toHaveLength(1);
  }
});
