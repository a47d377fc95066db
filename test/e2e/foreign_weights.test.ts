// Weights and adapters as other programs write them, and what cannot be taken from them. The files are in test/samples;
// expected_latents.safetensors holds what PEFT and diffusers sample with those adapters.
import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { componentsInside, convertLora, inspectLora, mergeLoras, tensorNames } from '../../binding/index.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { largestDifference, readTensors, type Tensor, writeTensors } from '../parity/safetensors.js';
import { fixture, repository, runDrm, temporaryFolder } from '../run_drm.js';

const samples = join(repository, 'test/samples');
const adapters = join(samples, 'lora');
const expected = readTensors(join(adapters, 'expected_latents.safetensors'));

const dataOf = (tensors: Map<string, Tensor>, name: string) => tensors.get(name)?.data ?? [];

async function sampled(...flags: string[]) {
  const folder = temporaryFolder();
  const latents = join(folder, 'latents.safetensors');
  const outcome = await runDrm([
    ...['sample', '--steps', '2', '--seed', '3', '--device', 'cpu', '--dtype', 'fp32', '--threads', '1'],
    ...['--save-latents', latents, '--out', folder, ...flags],
  ]);
  return { ...outcome, latents: existsSync(latents) ? dataOf(readTensors(latents), 'latents') : [] };
}

/** The positive numbers of F8_E4M3, by their byte. */
const FP8 = Array.from({ length: 127 }, (_, byte) => {
  const [exponent, mantissa] = [byte >> 3, byte & 7];
  return exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7);
});

/** The byte of the last number that is not above this. */
function toFp8(value: number): number {
  let [low, high] = [0, FP8.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((FP8[middle] as number) <= Math.abs(value)) low = middle;
    else high = middle;
  }
  return low | (value < 0 ? 0x80 : 0);
}

/** Replaces a file's matrices by FP8 with a scale beside each, or by what these are worth. */
function quantise(file: string, scaled: boolean): void {
  const wide = new Map<string, Tensor>();
  const bytes = new Map<string, Tensor>();
  for (const [name, tensor] of readTensors(file)) {
    if (!name.endsWith('.weight') || tensor.shape.length !== 2) {
      wide.set(name, tensor);
      continue;
    }
    const values = tensor.data as Float32Array;
    const scale = Math.fround(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 448);
    const data = Uint8Array.from(values, (value) => toFp8(value / scale));
    if (scaled) {
      wide.set(name.replace(/weight$/, 'weight_scale'), { dtype: 'F32', shape: [], data: Float32Array.of(scale) });
      bytes.set(name, { dtype: 'F8_E4M3', shape: tensor.shape, data });
    } else {
      const worth = (byte: number) => (byte & 0x80 ? -1 : 1) * (FP8[byte & 0x7f] as number) * scale;
      wide.set(name, { ...tensor, data: Float32Array.from(data, worth) });
    }
  }
  rmSync(file);
  writeTensors(file, new Map([...wide, ...bytes]));
}

describe('weights', { timeout: 180_000 }, () => {
  test('in FP8 are taken times their scales', async () => {
    const run = async (withScales: boolean) => {
      const model = join(temporaryFolder(), 'model');
      cpSync(fixture, model, { recursive: true });
      for (const file of ['transformer/diffusion_pytorch_model', 'text_encoder_3/model'])
        quantise(join(model, `${file}.safetensors`), withScales);
      return sampled('--model', model, '--prompt', 'x', '--height', '32', '--width', '32');
    };
    const [scaled, plain] = await Promise.all([run(true), run(false)]);
    for (const { code, stderr, latents } of [scaled, plain]) {
      expect(code, stderr).toBe(0);
      expect(latents.length).toBeGreaterThan(0);
    }
    expect(largestDifference(scaled.latents, plain.latents)).toBeLessThanOrEqual(1e-5);
  });

  test('of integers are refused by tensor and dtype', async () => {
    const int8 = join(samples, 'weights/clip_l_int8_linear.safetensors');
    const { code, stderr } = await sampled(
      '--model',
      fixture,
      '--clip-l',
      int8,
      '--prompt',
      'x',
      '--height',
      '32',
      '--width',
      '32',
    );
    expect(stderr).toMatch(/layers\.0\.mlp\.fc1\.weight: expected floating-point numbers, found I8/);
    expect(code).toBe(3);
  });

  test('of a single file are told apart by their names', async () => {
    const file = join(temporaryFolder(), 'model.safetensors');
    const one = { dtype: 'F32', shape: [1], data: Float32Array.of(1) };
    const names = ['model.diffusion_model.x', 'first_stage_model.decoder.x', 'text_encoders.clip_g.transformer.x'];
    writeTensors(file, new Map(names.map((name) => [name, one])));
    expect(await componentsInside(file)).toEqual(['vae', 'clip_g']);
    expect(await tensorNames([file])).toEqual([...names].sort());
    writeFileSync(file, 'PK\x03\x04 and more');
    await expect(resolveModel(file, { components: fixture })).rejects.toMatchObject({
      code: 'BAD_FILE',
      message: expect.stringContaining('pickle'),
    });
  });
});

describe('adapters', { timeout: 180_000 }, () => {
  const prompt = ['--prompt', 'red apple, noto style'];

  test('of the unchanged base are those of PEFT, and of a changed one refused by name', async () => {
    const plain = await sampled(...prompt, '--lora', join(adapters, 'gaussian-ok'));
    expect(plain.code, plain.stderr).toBe(0);
    expect(largestDifference(plain.latents, dataOf(expected, 'gaussian-ok'))).toBeLessThanOrEqual(2e-4);
    const changed = await sampled(...prompt, '--lora', join(adapters, 'pissa'));
    expect(changed.stderr).toMatch(/adapter_config\.json: init_lora_weights: .*PiSSA/);
    expect(changed.code).toBe(3);
  });

  test('under LyCORIS’ names are plain LoRA', async () => {
    const { code, stderr } = await sampled('--lora', join(adapters, 'lycoris.safetensors'), '--prompt', 'x');
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('2 of 2 tensors matched');
  });

  test.each([
    ['pissa/adapter_model.safetensors', 'PiSSA'],
    ['nan.safetensors', /transformer_blocks\.0\.attn\.to_q\.lora_[AB]\.weight in .*nan\.safetensors: .*NaN/],
  ])('%s is refused wherever it is read, and nothing is written', async (name, message) => {
    const out = temporaryFolder();
    const file = join(adapters, name);
    const { source } = await resolveModel('tiny');
    const refused = { code: 'BAD_FILE', message: expect.stringMatching(message) };
    await expect(inspectLora(file)).rejects.toMatchObject(refused);
    for (const to of ['diffusers', 'peft', 'kohya'] as const)
      await expect(convertLora({ file, to, out: join(out, 'x.safetensors') })).rejects.toMatchObject(refused);
    const merge = { transformer: source.transformer, loras: [{ file, strength: 1 }], out: join(out, 'm.safetensors') };
    await expect(mergeLoras(merge)).rejects.toMatchObject(refused);
    expect(readdirSync(out)).toEqual([]);
  });

  test('are read from every valid file', async () => {
    const plain = await inspectLora(join(adapters, 'plain.safetensors'));
    for (const name of ['metadata_null.safetensors', 'extra_u16.safetensors'])
      expect((await inspectLora(join(adapters, name))).layers, name).toEqual(plain.layers);
  });
});
