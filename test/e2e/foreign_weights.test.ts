// Weights and adapters as other programs write them, and what cannot be taken from them. The files are in test/samples;
// expected_latents.safetensors holds what PEFT and diffusers sample with those adapters.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { componentsInside, convertLora, inspectLora, mergeLoras, tensorNames } from '../../binding/index.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { largestDifference, readTensors, type Tensor, writeTensors } from '../parity/safetensors.js';
import { fixture, repository, runDrm, temporaryFolder } from '../run_drm.js';

const samples = join(repository, 'test/samples');
const adapters = join(samples, 'lora');
const scaled = join(samples, 'weights/sd35_fp8_scaled.safetensors');
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

/** A byte of F8_E4M3 as a number. */
function fp8(byte: number): number {
  const [sign, exponent, mantissa] = [byte & 0x80 ? -1 : 1, (byte >> 3) & 15, byte & 7];
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7));
}

/** The scaled file with every weight times its scale, in fp32. */
function unscaled(): string {
  const all = readTensors(scaled);
  const plain = new Map<string, Tensor>();
  const others = new Map<string, Tensor>();
  for (const [name, tensor] of all) {
    const scale = all.get(name.replace(/\.weight$/, '.scale_weight'))?.data[0];
    if (name.endsWith('.weight') && tensor.dtype === 'F8_E4M3' && scale !== undefined)
      plain.set(name, {
        ...tensor,
        dtype: 'F32',
        data: Float32Array.from(tensor.data, (byte) => fp8(Number(byte)) * Number(scale)),
      });
    else if (!/scale_weight$|scaled_fp8$/.test(name)) others.set(name, tensor);
  }
  const file = join(temporaryFolder(), 'plain.safetensors');
  writeTensors(file, new Map([...plain, ...others]));
  return file;
}

describe('weights', { timeout: 180_000 }, () => {
  test('in FP8 are taken times their scales', async () => {
    const flags = ['--components', fixture, '--prompt', 'x', '--height', '32', '--width', '32'];
    const [ours, plain] = [await sampled('--model', scaled, ...flags), await sampled('--model', unscaled(), ...flags)];
    expect(ours.code, ours.stderr).toBe(0);
    expect(plain.code, plain.stderr).toBe(0);
    expect(ours.latents.length).toBeGreaterThan(0);
    expect(largestDifference(ours.latents, plain.latents)).toBeLessThanOrEqual(1e-5);
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
