// From a model's name or path to its files.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveModel } from '../../cli/hub/resolve.js';
import { repository, temporaryFolder } from '../run_drm.js';

test('a single file takes what it lacks from a folder', async () => {
  const single = join(repository, 'test/golden/mmdit_sd35_naming/sd3.5_tiny.safetensors');
  const components = join(repository, 'test/golden/pipeline');
  const { source, tokenizers: found } = await resolveModel(single, { components });
  expect(source.transformer).toEqual({ weights: [single] });
  expect(source.vae.weights).toEqual([join(components, 'vae/diffusion_pytorch_model.safetensors')]);
  expect(found.clipG).toBe(join(components, 'tokenizer_2'));
});

test('shards and variants are found', async () => {
  const folder = join(temporaryFolder(), 'm');
  cpSync(join(repository, 'test/golden/pipeline'), folder, { recursive: true });
  const transformer = join(folder, 'transformer');
  writeFileSync(join(transformer, 'diffusion_pytorch_model.safetensors.index.json'), '{}');
  mkdirSync(join(folder, 'x'));
  const { source, notes } = await resolveModel(folder, { noT5: true });
  expect(source.transformer.weights).toEqual([join(transformer, 'diffusion_pytorch_model.safetensors.index.json')]);
  expect(source.textEncoder3).toBeUndefined();
  expect(notes.join()).toContain('T5 is absent');
});
