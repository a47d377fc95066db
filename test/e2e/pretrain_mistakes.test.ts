// What can be got wrong before the first step: each mistake is told in a sentence that says what to do.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, test } from 'vitest';
import { fixture, temporaryFolder } from '../run_drm.js';
import { clipArchitecture, preparedSet, tokenizerOf, transformerArchitecture, vaeArchitecture } from './pretraining.js';
import { refuses } from './pretraining_here.js';

const work = temporaryFolder();
const at = (name: string) => join(work, name);
let runs = 0;

beforeAll(async () => {
  const set = await preparedSet(work);
  const tokenizer = await tokenizerOf(set, work);
  clipArchitecture(at('clip-l'), 16, tokenizer);
  clipArchitecture(at('clip-g'), 24, tokenizer);
  vaeArchitecture(at('vae'));
  transformerArchitecture(at('transformer'));
  writeFileSync(at('vae/diffusion_pytorch_model.safetensors'), ''); // never opened: its config does not fit
  for (const clip of ['clip-l', 'clip-g']) writeFileSync(at(`${clip}/model.safetensors`), '');
});

/** A whole command line that would work, but for what `more` changes. */
function commandLine(part: string, more: string[]): string[] {
  const given: Record<string, string[]> = {
    vae: ['--set', `architecture=${at('vae')}`],
    clip: ['--set', `architecture=${at('clip-l')}`, '--tokenizer', at('tokenizer')],
    flow: ['--set', `architecture=${at('transformer')}`, '--set', 't5_length=0'],
  };
  const common = ['--data', at('set'), '--steps', '1', '--batch', '4', '--out', at(`run-${runs++}`)];
  const size = ['--set', `size=${part === 'flow' ? 32 : 16}`];
  return [part, ...common, ...size, ...(given[part] ?? []), ...more];
}

const set = (...pairs: string[]) => pairs.flatMap((pair) => ['--set', pair]);
const mistake = (part: string, more: string[], code: number, words: (string | RegExp)[]) =>
  refuses(commandLine(part, more), code, words);

/** The architecture with a number changed. */
function changed(name: string, key: string, value: number): string {
  const text = readFileSync(at(`${name}/config.json`), 'utf8');
  const folder = at(`${name}-${key}-${value}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), text.replace(new RegExp(`"${key}":\\d+`), `"${key}":${value}`));
  return folder;
}

const parts = (vae = join(fixture, 'vae'), clipL = at('clip-l'), clipG = at('clip-g')) => [
  ...['--vae', vae, '--clip-l', clipL, '--clip-g', clipG],
];

describe('the run and its data', () => {
  test('no --out', () => refuses(['clip', '--data', at('set')], 2, ['--out DIR', 'runs/clip']));
  test('no data', () => mistake('vae', ['--data', ''], 2, ['--data DIR', 'drm data prepare']));
  test('data that is not there', () => mistake('vae', ['--data', at('no')], 3, [at('no'), 'manifest.json']));
  test('held-out split that is not there', () =>
    mistake('vae', set('evaluate_split=val'), 3, ['evaluate_split', 'test, train', 'val', '--hold-out']));
  test('training split that is not there', () =>
    mistake('vae', set('split=train, trian'), 3, [/^\[pretrain\] split/, 'found trian;', '--set split=']));
  test('batch larger than the set', () => mistake('vae', ['--batch', '17'], 3, ['at most 16', '--batch 16']));
  test('settings of another part', () =>
    mistake('clip', ['--config', 'pretrain/tiny-vae'], 3, ['task in', '"pretrain_clip"', '"pretrain_vae"']));
  test('flag of another part', () => mistake('clip', ['--clip-l', at('clip-l')], 2, ['--clip-l is for flow']));
  test('resume where nothing is', () => refuses(['vae', '--out', at('no'), '--resume'], 3, [at('no'), '--resume']));
});

describe('clip', () => {
  test('no tokenizer', () => mistake('clip', ['--tokenizer', ''], 2, ['--tokenizer DIR', 'drm data tokenizer']));
  test('tokenizer that is not there', () =>
    mistake('clip', ['--tokenizer', at('no')], 3, [at('no'), 'vocab.json', 'drm data tokenizer']));
  test('vocabulary larger than the architecture has', () =>
    mistake('clip', set(`architecture=${changed('clip-l', 'vocab_size', 500)}`), 3, ['vocab_size', 'found 500']));
  test('captions longer than the architecture reads', () =>
    mistake('clip', set(`architecture=${changed('clip-l', 'max_position_embeddings', 8)}`), 3, [
      ...['max_position_embeddings', 'at least 12', 'found 8', '--max-length 8'],
    ]));
  test('closing token that captions never have', () =>
    mistake('clip', set(`architecture=${changed('clip-l', 'eos_token_id', 7)}`), 3, ['eos_token_id', 'found 7']));
  test('size of another architecture', () =>
    mistake('clip', set('size=32'), 3, ['image_size', 'found 32', '--set size=16']));
  test('one sample a pass', () => mistake('clip', set('micro_batch=1'), 3, ['micro_batch', 'at least 2']));
  test('one sample in the last pass', () =>
    mistake('clip', ['--batch', '7', ...set('micro_batch=3')], 3, ['micro_batch', 'at least 2']));
  test('architecture that is not there', () =>
    mistake('clip', set('architecture=models/tiny/clip-x'), 3, ['architecture', 'models/tiny/clip-x']));
  test('architecture of another kind', () => mistake('clip', set(`architecture=${at('vae')}`), 3, ['text_config']));
  test('weights of another architecture', () =>
    mistake('clip', set(`weights=${join(fixture, 'text_encoder/model.safetensors')}`), 3, ['text_model', 'expected']));
  test('weights that are not there', () => mistake('clip', set(`weights=${at('no.safetensors')}`), 3, ['no.safetens']));
});

test('vae: a size that does not halve', () => mistake('vae', set('size=15'), 3, ['multiple of 2', '14 or 16']));

describe('flow', () => {
  test('parts that are not named', () => mistake('flow', [], 2, ['--vae DIR', '--model']));
  test('part that is not there', () =>
    mistake('flow', parts(undefined, at('no')), 3, [`--clip-l ${at('no')}`, 'no such folder', 'drm pretrain clip']));
  test('part of another kind', () =>
    mistake('flow', parts(at('clip-l')), 3, ['--vae', 'no diffusion_pytorch_model.safetensors', 'drm pretrain vae']));
  test('VAE of other latents', () => mistake('flow', parts(at('vae')), 3, ['in_channels', 'expected 4', 'found 16']));
  test('text encoders of other width', () =>
    mistake('flow', parts(undefined, at('clip-g')), 3, ['pooled_projection_dim', '24 + 24 = 48', 'found 40']));
  test('states wider than the transformer reads', () =>
    mistake('flow', [...parts(), ...set(`architecture=${changed('transformer', 'joint_attention_dim', 32)}`)], 3, [
      ...['joint_attention_dim', 'at least 16 + 24 = 40', 'found 32'],
    ]));
  test('size between patches', () =>
    mistake('flow', [...parts(), ...set('size=40')], 3, ['multiple of 16', '32 or 48']));
  test('size beyond the position table', () =>
    mistake('flow', [...parts(), ...set('size=176')], 3, ['at most 160', 'pos_embed_max_size']));
  test('scheduler that is not there', () => mistake('flow', [...parts(), ...set('scheduler=no')], 3, ['scheduler']));
  test('LoRA of nothing', () => mistake('flow', [...parts(), ...set('lora_rank=4')], 2, ['lora_rank 4', '--model']));
  test('LoRA targets that no layer has', () =>
    mistake(
      'flow',
      ['--model', fixture, ...set('t5_length=8', 'lora_rank=4', 'lora_targets=["attn.to_q","attn.q"]')],
      3,
      [...['lora_targets', 'found attn.q,', 'attn.to_q']],
    ));
  test('no tokens for a base that reads T5', () => mistake('flow', ['--model', fixture], 3, ['t5_length', 'T5']));
  test('a base that reads T5 and recommends no tokens for it', async () => {
    cpSync(fixture, at('base'), { recursive: true });
    writeFileSync(at('base/drm.json'), '{"sample": {"t5_length": 0}}');
    const argv = ['flow', '--model', at('base'), '--data', at('set'), '--out', at('by-recommendation')];
    await refuses(argv, 3, ['t5_length', at('base'), 'T5']);
  });
  test('base and parts at once', () => mistake('flow', ['--model', fixture, ...parts()], 2, ['--vae', '--model']));
  test('base that is not there', () => mistake('flow', ['--model', 'tinny'], 3, ['did you mean tiny']));
});
