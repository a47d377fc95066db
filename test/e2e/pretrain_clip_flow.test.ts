// CLIP and flow end to end: parts trained one after another, put together, sampled, gone on with; and interrupted.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test, vi } from 'vitest';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';
import {
  at,
  clipArchitecture,
  learned,
  linesOf,
  preparedSet,
  pretrain,
  resumeArguments,
  tokenizerOf,
  transformerArchitecture,
} from './pretraining.js';

// Seconds on an idle machine; a busy one may take minutes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const common = {
  ...{ data: path('set'), batch: 6, steps: 6, learning_rate: 0.003, warm_up: 1, log_every: 1, evaluate_every: 3 },
  ...{ evaluate_samples: 6, checkpoint_every: 2, keep_last: 4, dtype: 'fp32', export_dtype: 'fp32', seed: 5 },
};
const clips: Record<string, string> = {};
const flow = path('flow.json');

beforeAll(async () => {
  const tokenizer = await tokenizerOf(await preparedSet(work), work);
  for (const [name, width] of [
    ['l', 16],
    ['g', 24],
  ] as const) {
    const architecture = clipArchitecture(path(`clip-${name}`), width, tokenizer);
    clips[name] = path(`clip-${name}.json`);
    writeFileSync(
      clips[name],
      JSON.stringify({ task: 'pretrain_clip', ...common, architecture, tokenizer, size: 16, micro_batch: 3 }),
    );
  }
  const settings = {
    ...{ task: 'pretrain_flow', ...common, architecture: transformerArchitecture(path('transformer')), size: 32 },
    ...{ vae: join(fixture, 'vae'), clip_l: path('whole-l/model'), clip_g: path('run-g/model'), t5_length: 0 },
    ...{ micro_batch: 4, preview_every: 3, preview_steps: 2, preview_guidance: 2 },
  };
  writeFileSync(flow, JSON.stringify(settings));
  expect(await pretrain('clip', String(clips.l), path('whole-l'))).toMatchObject({ code: 0 });
  expect(await pretrain('clip', String(clips.g), path('run-g'))).toMatchObject({ code: 0 });
  expect(await pretrain('flow', flow, path('whole'))).toMatchObject({ code: 0 });
});

const transformer = (run: string) => readFileSync(path(`${run}/model/transformer/diffusion_pytorch_model.safetensors`));

/** The header of a safetensors file. */
function headerOf(file: string): Record<string, Record<string, string>> {
  const bytes = readFileSync(file);
  return JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))));
}

/** Interrupts a run after its third step, resumes it by the command it prints. */
async function interrupted(part: string, config: string, run: string): Promise<void> {
  const stopped = await pretrain(part, config, path(run), [], at(3, 'SIGINT'));
  expect(stopped.code).toBe(130);
  expect(await runDrm(resumeArguments(stopped))).toMatchObject({ code: 0 });
}

async function sampled(model: string): Promise<Buffer> {
  const size = ['--height', '32', '--width', '32', '--out', path('sampled')];
  const run = await runDrm(['sample', '--model', model, '--prompt', 'picture 3', '--threads', '1', ...size]);
  expect(run).toMatchObject({ code: 0 });
  return sharp(run.stdout.trim()).raw().toBuffer();
}

test('a CLIP is what it would have been without the interruption, and is read as a scorer', async () => {
  await interrupted('clip', String(clips.l), 'stopped-l');
  const weights = (run: string) => readFileSync(path(`${run}/model/model.safetensors`));
  expect(weights('stopped-l').equals(weights('whole-l'))).toBe(true);
  expect(learned(path('stopped-l'))).toEqual(learned(path('whole-l')));
  expect(headerOf(path('whole-l/model/model.safetensors'))).toHaveProperty('text_projection.weight');
  const args = ['--scorer', `clip:${path('whole-l/model')}`, '--data', path('set'), '--split', 'train', '--among', '8'];
  const judged = await runDrm(['eval', 'retrieval', ...args, '--threads', '1', '--json']);
  expect(judged).toMatchObject({ code: 0 });
});

test('a transformer likewise; its folder is a model that samples and says how', async () => {
  await interrupted('flow', flow, 'stopped');
  expect(transformer('stopped').equals(transformer('whole'))).toBe(true);
  expect(learned(path('stopped'))).toEqual(learned(path('whole')));

  const sheet = await sharp(path('whole/samples/6/sheet.png')).metadata();
  expect(sheet.width).toBeGreaterThanOrEqual(3 * 32); // eight captions, the whole held-out split
  expect(readFileSync(path('whole/samples/6/prompts.txt'), 'utf8').trim().split('\n')).toHaveLength(8);
  expect(linesOf(readFileSync(path('whole/metrics.jsonl'), 'utf8'))).toContainEqual(
    expect.objectContaining({ event: 'sample_sheet', step: 6, paths: [path('whole/samples/6/sheet.png')] }),
  );

  const shown = await runDrm(['config', 'show', '--model', path('whole/model')]);
  expect(shown.stdout).toMatch(/steps\W+2\b/);
  const pixels = await sampled(path('whole/model'));
  expect(pixels).toHaveLength(32 * 32 * 3);
  expect(new Set(pixels).size).toBeGreaterThan(8); // not one flat colour
});

test('a trained model is a base: all of it is trained on, to another model that samples', async () => {
  const base = ['--model', path('whole/model'), '--steps', '2'];
  expect(await pretrain('flow', flow, path('tuned'), base)).toMatchObject({ code: 0 });
  expect(transformer('tuned').equals(transformer('whole'))).toBe(false);
  expect(headerOf(path('tuned/model/transformer/diffusion_pytorch_model.safetensors'))).toEqual(
    headerOf(path('whole/model/transformer/diffusion_pytorch_model.safetensors')),
  );
  expect((await sampled(path('tuned/model'))).equals(await sampled(path('whole/model')))).toBe(false);
});

test('LoRA of a base is a file with the names and the alpha that diffusers reads', async () => {
  const lora = ['--set', 'lora_rank=2', '--set', 'lora_alpha=6', '--set', 'lora_targets=["attn.to_q","ff.net.2"]'];
  const base = ['--model', path('whole/model'), '--steps', '2'];
  expect(await pretrain('flow', flow, path('lora'), [...base, ...lora])).toMatchObject({ code: 0 });
  const { __metadata__: metadata, ...tensors } = headerOf(path('lora/model/pytorch_lora_weights.safetensors'));
  const names = [0, 1, 2].flatMap((block) =>
    ['attn.to_q', 'ff.net.2'].flatMap((layer) =>
      ['A', 'B'].map((side) => `transformer.transformer_blocks.${block}.${layer}.lora_${side}.weight`),
    ),
  );
  expect(Object.keys(tensors).sort()).toEqual(names.sort());
  expect(JSON.parse(String(metadata?.lora_adapter_metadata))).toMatchObject({
    'transformer.r': 2,
    'transformer.lora_alpha': 6,
    'transformer.target_modules': ['attn.to_q', 'ff.net.2'],
  });
});
