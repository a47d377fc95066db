// What can be got wrong with `drm grpo`: each mistake is told in a sentence that says what to do, before anything is
// learned.
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { fixture, temporaryFolder } from '../run_drm.js';
import { grpoHere, promptFolder, quickConfig, refuses, said, set } from './grpo_training.js';
import { foreignRewardFolder, rewardFolder } from './reward_folder.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const at = (name: string) => join(work, name);
const reward = rewardFolder({ t5Length: 12 });
let config = '';
let runs = 0;

beforeAll(async () => {
  promptFolder(work);
  config = quickConfig(work, reward, { evaluate_every: 0 });
  await grpoHere(['--config', config, '--out', at('run'), '--iterations', '1']);
});

const run = () => at(`run-${runs++}`);
const mistake = (more: string[], code: number, words: (string | RegExp)[]) =>
  refuses(['--config', config, '--out', run(), ...more], code, words);
const file = (name: string, content: string | Buffer) => {
  writeFileSync(at(name), content);
  return at(name);
};

describe('geometry', () => {
  test('one candidate with --step', () => mistake(['--step', '--k', '1'], 3, ['[grpo] k', 'at least 2', '--k 6']));
  test('a group that does not divide', () =>
    mistake(['--group', '3', ...set('updates_per_iteration=4')], 3, [
      '[grpo] group',
      '2 prompts × 3 = 6',
      '--group 4',
    ]));
  test('a group of one', () => mistake(['--group', '1'], 3, ['[grpo] group', 'at least 2', 'found 1']));
  test('more prompts than there are', () =>
    mistake(['--prompts-per-iteration', '14'], 3, ['at most 12', 'found 14', '--prompts-per-iteration 12']));
  test('no step to train', () => mistake(set('window_until=0.1'), 3, ['window_from', 'never trained']));
  test('--k without --step', () => mistake(['--k', '4'], 2, ['--k', '--step', '--group']));
  test('--group with --step', () => mistake(['--step', '--group', '4'], 2, ['--group', '--k']));
});

describe('noise and credit', () => {
  test('no noise leaves nothing to learn, and it says so', () =>
    mistake(set('noise_level=0'), 3, ['noise_level', 'leaves nothing to learn', '0.7']));
  test('more CPS noise than there can be', () =>
    mistake(set('sde=cps', 'noise_level=1.5'), 3, ['noise_level', 'at most 1', 'found 1.5']));
  test('gains with --step, with the reason', () =>
    mistake(['--step', ...set('credit=gain')], 3, ['credit', 'same state before them', "the group's mean takes away"]));
  test('gains of a scorer', () =>
    mistake(['--reward', 'judge', ...set('credit=gain')], 3, ['credit', 'judge', 'finished images']));
});

describe('rewards', () => {
  test('none', () => mistake(['--reward', ''], 2, ['--reward NAME', 'tiny']));
  test('one that is not there', () => mistake(['--reward', 'drm:no/such'], 4, ['no/such', 'drm train']));
  test('a misspelt one', () => mistake(['--reward', 'juge'], 2, ['juge', 'did you mean judge']));
  test('without weights', () => {
    cpSync(reward, at('empty'), { recursive: true, filter: (path) => !path.endsWith('.safetensors') });
    return mistake(['--reward', at('empty')], 4, [at('empty'), 'model.safetensors', 'drm train']);
  });
  test('of another latent space', () =>
    mistake(['--reward', foreignRewardFolder()], 3, ['expected a reward model of', fixture, '--model']));
  test('of another VAE of the same form: told of', async () => {
    cpSync(reward, at('other-vae'), { recursive: true });
    const own = join(at('other-vae'), 'config.json');
    const settings = JSON.parse(readFileSync(own, 'utf8')) as object;
    writeFileSync(own, JSON.stringify({ ...settings, base_vae_sha256: '00' }));
    const events = await grpoHere(['--config', config, '--reward', at('other-vae'), '--plan']);
    expect(said(events, 'warning').join()).toMatch(/the VAE of .* is another file/);
  });
  test('a scorer with --step: it cannot see noisy latents', () =>
    mistake(['--step', '--reward', `0.5*judge+0.5*drm:${reward}`], 3, ['judge', 'noisy latents', 'leave --step out']));
  test('a sum whose weights are nothing', () =>
    mistake(['--reward', `0*drm:${reward}`], 3, ['weight other than 0', `0*drm:${reward}`]));
  test('reward models that read T5 to different lengths', () => {
    const other = rewardFolder({ t5Length: 20 });
    return mistake(['--reward', `1*drm:${reward}+1*drm:${other}`], 3, ['reward', '12 and 20']);
  });
  test('a judge that is part of the reward: told of', async () => {
    const events = await grpoHere(['--config', config, '--reward', 'judge', '--judge', 'judge', '--plan']);
    expect(said(events, 'warning').join()).toContain('judge judges what it is also part of the reward of');
  });
  test('a judge that there is none of', () =>
    mistake(['--judge', 'jury', ...set('evaluate_every=3')], 2, ['jury', 'judge']));
});

describe('prompts', () => {
  test('none', () => mistake(['--prompts', ''], 2, ['--prompts FILE', fixture]));
  test('not there', () => mistake(['--prompts', at('no.txt')], 3, [at('no.txt'), 'readable file']));
  test('empty', () => mistake(['--prompts', file('empty.txt', '\n\n')], 3, ['empty.txt', 'found none']));
  test('no UTF-8', () =>
    mistake(['--prompts', file('latin.txt', Buffer.from('caf\xe9\n', 'latin1'))], 3, ['latin.txt', 'UTF-8']));
  test('held-out ones that are not there', () =>
    mistake(['--eval-prompts', at('no.txt'), ...set('evaluate_every=3')], 3, [at('no.txt')]));
});

describe('the base and its adapter', () => {
  test('no base', () => mistake(['--model', ''], 2, ['--model', 'sd3.5-medium']));
  test('a base that is not there', () => mistake(['--model', 'tinny'], 3, ['did you mean tiny']));
  test('targets that no layer has', () =>
    mistake(set('lora_targets=["attn.to_q", "attn.q"]'), 3, ['lora_targets', 'found attn.q', 'attn.to_k']));
  test('an adapter to go on from that is not there', () =>
    mistake(set('lora_from=no.safetensors'), 3, ['lora_from no.safetensors', 'no such file']));
  test('a file that is no adapter', () =>
    mistake(set(`lora_from=${join(fixture, 'vae/diffusion_pytorch_model.safetensors')}`), 3, ['vae', 'lora']));
  test('a size between patches', () => mistake(set('size=40'), 3, ['multiple of 16', '32 or 48']));
  test('no tokens for a base that reads T5', () => mistake(set('t5_length=0'), 3, ['t5_length', 'T5']));
});

describe('the command line', () => {
  test('no --out', () => refuses(['--config', config], 2, ['--out DIR', 'runs/grpo']));
  test('--plan and --dry-run at once', () =>
    refuses(['--config', config, '--plan', '--dry-run'], 2, ['--plan', '--dry-run']));
  test('--plan of a run that goes on', () => refuses(['--config', config, '--plan', '--resume'], 2, ['--resume']));
  test('a warning that there is none of', () =>
    mistake(['--stop-when', 'judge-fall'], 2, ['--stop-when', 'judge-falls', 'found "judge-fall"']));
  test('to stop by a judge that is not there', () =>
    mistake(['--stop-when', 'judge-falls'], 3, ['stop_when', 'no judge', '--judge']));
  test('an unknown setting', () => mistake(set('kl_betta=0'), 2, ['kl_betta', 'did you mean kl_beta']));
  test("another command's config", () => mistake(['--config', 'train/tiny'], 3, ['task in', '"grpo"', '"train"']));
});

describe('--resume', () => {
  const resume = (more: string[], code: number, words: (string | RegExp)[]) =>
    refuses(['--out', at('run'), '--resume', ...more], code, words);
  test('with other settings: refused, listing the keys', () =>
    resume(['--learning-rate', '0.02', '--step', '--prompts', at('no')], 3, [
      ...['these settings cannot change', 'algorithm (was "flow", now "step")', 'learning_rate (was 0.01, now 0.02)'],
      'prompts (was',
    ]));
  test('where nothing is', () => refuses(['--out', at('nothing'), '--resume'], 3, [at('nothing'), '--resume']));
  test('with fewer iterations than are done', async () => {
    await grpoHere(['--out', at('run'), '--resume', '--iterations', '2']);
    await resume(['--iterations', '1'], 3, ['[resume]', '1 asked for, found 2']);
  });
});

test('a mistake leaves no run behind that would be in the way', async () => {
  const out = run();
  await refuses(['--config', config, '--out', out, '--prompts', at('no.txt')], 3, []);
  await grpoHere(['--config', config, '--out', out, '--iterations', '1']);
  expect(existsSync(join(out, 'model/pytorch_lora_weights.safetensors'))).toBe(true);
});

test('a loss that is no number: the iteration is skipped, then the run ends with its checkpoint', async () => {
  // A ratio of e^(huge) after an update of huge size.
  const more = ['--learning-rate', '1e30', '--step', ...set('skip_not_finite=1', 'checkpoint_every=1')];
  const out = run();
  const events: Parameters<NonNullable<Parameters<typeof grpoHere>[1]>>[0][] = [];
  const error = await grpoHere(['--config', config, '--out', out, ...more], (event) => events.push(event)).catch(
    (error) => error,
  );
  expect(error).toMatchObject({ code: 'NOT_FINITE' });
  expect(error.message).toMatch(/after 1 skipped steps; the last good checkpoint is .*checkpoints/);
  expect(said(events, 'warning').join()).toContain('the step is skipped (1 of 1 that may be)');
  expect(existsSync(join(out, 'checkpoints'))).toBe(true);
});
