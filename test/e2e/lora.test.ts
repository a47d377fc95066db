// Adapters as a user meets them: sampled with, looked into, converted, merged. data/lora.safetensors and what diffusers
// samples with it are written by data/lora.py.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readText } from '../../cli/image/png_text.js';
import { largestDifference, readTensors, writeTensors } from '../parity/safetensors.js';
import { fixture, quick, repository, runDrm, temporaryFolder } from '../run_drm.js';

const adapter = join(repository, 'test/e2e/data/lora.safetensors');
const other = join(repository, 'test/golden/lora/pytorch_lora_weights.safetensors'); // of another model
const diffusers = readTensors(join(repository, 'test/e2e/data/lora_latents.safetensors'));
/** Of latents; diffusers' float32 differs from its float64 by a tenth of this. */
const TOLERANCE = 2e-4;

const latentsOf = (file: string, name = 'latents') => {
  const tensor = readTensors(file).get(name);
  if (!tensor) throw new Error(`${file} has no ${name}`);
  return tensor.data;
};
const expected = (name: string) => diffusers.get(name)?.data ?? [];

/** The image of data/lora.py, and its latents. */
async function sampled(folder: string, model: string, ...flags: string[]) {
  const latents = join(folder, 'latents.safetensors');
  const outcome = await runDrm([
    ...['sample', '--model', model, '--prompt', 'a red fox', '--seed', '5', '--steps', '3', '--guidance', '3'],
    ...['--height', '32', '--width', '48', '--device', 'cpu', '--dtype', 'fp32', '--threads', '1'],
    ...['--save-latents', latents, '--out', folder, ...flags],
  ]);
  return { ...outcome, latents };
}

/** Whether one file can stand in both folders: file systems and mounts decide. */
function canLink(from: string, to: string): boolean {
  const link = join(to, 'link');
  try {
    linkSync(join(from, 'model_index.json'), link);
    rmSync(link);
    return true;
  } catch {
    return false;
  }
}

/** The adapter without what says its alpha. */
function withoutAlpha(folder: string): string {
  const file = join(folder, 'silent.safetensors');
  writeTensors(file, readTensors(adapter));
  return file;
}

describe('adapters', { timeout: 180_000 }, () => {
  test('latents are those of diffusers, at any strength, and without it', async () => {
    for (const [name, flags] of [
      ['none', []],
      ['one', ['--lora', adapter]],
      ['half', ['--lora', `${adapter}:0.5`]],
      ['none', ['--lora', `${adapter}:0`]],
      ['one', ['--lora', `${adapter}:0.25`, '--lora', `${adapter}:0.75`]],
    ] as const) {
      const { code, stderr, latents } = await sampled(temporaryFolder(), fixture, ...flags);
      expect(code, stderr).toBe(0);
      expect(stderr.match(/48 of 48 tensors matched \(24 layers\)/g) ?? []).toHaveLength(flags.length / 2);
      expect(stderr).not.toContain('does not say its alpha');
      expect(largestDifference(latentsOf(latents), expected(name)), flags.join(' ')).toBeLessThanOrEqual(TOLERANCE);
    }
  });

  test('beside bf16 weights an adapter is not rounded away', async () => {
    const [off, on] = [temporaryFolder(), temporaryFolder()];
    const bf16 = ['--dtype', 'bf16'];
    const { latents } = await sampled(off, fixture, ...bf16);
    const adapted = await sampled(on, fixture, ...bf16, '--lora', adapter);
    expect(adapted.code).toBe(0);
    const far = Number(largestDifference(latentsOf(latents), latentsOf(adapted.latents)));
    const off32 = Number(largestDifference(latentsOf(adapted.latents), expected('one')));
    expect(far).toBeGreaterThan(1);
    expect(off32).toBeLessThan(0.2 * far);
  });

  test('an image says which adapters made it, and is repeated with them', async () => {
    const [folder, again] = [temporaryFolder(), temporaryFolder()];
    const file = join(folder, 'style:v1.safetensors');
    cpSync(adapter, file);
    const flags = [...quick, '--prompt', 'x', '--seed', '3'];
    await runDrm([...flags, '--lora', `${file}:0.5`, '--out', folder]);
    const image = join(folder, '3-x.png');
    const { drm, parameters } = readText(readFileSync(image));
    expect(JSON.parse(drm ?? '').loras).toEqual([
      { file, scale: 0.5, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
    expect(parameters).toContain(`Lora: ${file}:0.5`);
    const repeated = await runDrm(['sample', '--from', image, '--out', again]);
    expect(repeated.code, repeated.stderr).toBe(0);
    expect(readFileSync(join(again, '3-x.png')).equals(readFileSync(image))).toBe(true);
    // Without the adapter it would be another image.
    await runDrm([...flags, '--out', join(again, 'plain')]);
    const plain = readFileSync(join(again, 'plain/3-x.png'));
    expect(JSON.parse(readText(plain).drm ?? '')).not.toHaveProperty('loras');
    expect(plain.equals(readFileSync(image))).toBe(false);

    cpSync(withoutAlpha(folder), file);
    const changed = await runDrm(['sample', '--from', image, '--out', join(again, 'changed')]);
    expect(changed.code).toBe(0);
    expect(changed.stderr).toContain('is not the file that made the image');
    expect(changed.stderr).toContain('does not say its alpha');
  });

  test('an adapter of another model is refused by count and name, and draws nothing', async () => {
    const folder = temporaryFolder();
    const { code, stderr } = await sampled(folder, fixture, '--lora', other);
    expect(code).toBe(3);
    expect(stderr).toMatch(/0 of \d+ tensors matched; .*transformer\.transformer_blocks\.0\.attn\.add_k_proj/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([
    [['--lora', 'nowhere.safetensors'], 3, 'nowhere.safetensors: expected an adapter'],
    [['--lora', 'org/name'], 3, 'drm pull org/name'],
    [['--lora', `${adapter}:much`], 2, 'found the scale "much"'],
    [['--lora', `${adapter}:`], 2, 'found the scale ""'],
    [['--lora', join(repository, 'models')], 3, 'expected pytorch_lora_weights.safetensors'],
    [['--lora', join(fixture, 'vae/diffusion_pytorch_model.safetensors')], 3, 'expected a plain LoRA'],
    [['--lora', join(repository, 'package.json')], 3, 'package.json'],
    [['--set', 'lora=5'], 2, 'lora'],
  ])('%j ends with %d', async (flags, expectedCode, message) => {
    const { code, stderr } = await runDrm([...quick, '--prompt', 'x', ...flags, '--out', temporaryFolder()]);
    expect(stderr).toContain(message);
    expect(code).toBe(expectedCode);
  });

  test('inspect tells what is inside and what matches', async () => {
    const { code, stdout, stderr } = await runDrm(['lora', 'inspect', adapter, '--model', fixture, '--json']);
    expect(code, stderr).toBe(0);
    const { data } = JSON.parse(stdout.split('\n').find((line) => line.includes('"result"')) ?? '');
    expect(data).toMatchObject({
      spelling: 'diffusers',
      tensors: 48,
      layers: 24,
      dtypes: ['fp32'],
      ranks: [2, 4],
      alphas: [5, 6],
      scales: [1.5, 2.5],
      alpha_stated: true,
      besides: [],
      match: { model: fixture, tensors: 48, matched: 48, unmatched: [] },
    });
    expect(data.targets.find(({ target }: { target: string }) => target === 'ff.net.2')).toMatchObject({
      layers: 3,
      ranks: [2],
      alphas: [5],
    });

    const text = await runDrm(['lora', 'inspect', adapter]);
    expect(text.stdout.replaceAll(/\d+\.\d{2,}/g, '#').replace(repository, '')).toMatchInlineSnapshot(`
      "/test/e2e/data/lora.safetensors: diffusers names, 48 tensors, 24 layers
      rank 2, 4, alpha 5, 6, scale 1.5, 2.5, fp32, 5,808 parameters

      target                layers  rank  alpha    |A|    |B|  |scale B A|
      attn.add_k_proj            3     4      6  #  #         #
      attn.add_v_proj            3     4      6   #  #        #
      attn.to_k                  3     4      6  #  #        #
      attn.to_out.0              3     4      6  #  #        #
      attn.to_q                  3     4      6  #  #        #
      attn.to_v                  3     4      6  #  #        #
      ff.net.2                   3     2      5  #  #        #
      norm1_context.linear       3     4      6  #  #        #
      "
    `);
    const strange = await runDrm(['lora', 'inspect', other, '--model', fixture]);
    expect(strange.code).toBe(3);
    expect(strange.stdout).toMatch(/0 of \d+ tensors match /);
    expect(strange.stderr).toContain('was it trained on another base model?');
  });

  test('convert keeps every value through all names, and what is sampled with them', async () => {
    const folder = temporaryFolder();
    const convert = (from: string, to: string, out: string) =>
      runDrm(['lora', 'convert', from, '--to', to, '--out', join(folder, out)]);
    let from = adapter;
    for (const [to, out] of [
      ['kohya', 'k.safetensors'],
      ['peft', 'p'],
      ['diffusers', 'd'],
    ] as const) {
      const { code, stdout, stderr } = await convert(from, to, out);
      expect(code, stderr).toBe(0);
      from = stdout.trim();
    }
    expect(from).toBe(join(folder, 'd/pytorch_lora_weights.safetensors'));
    const [before, after] = [readTensors(adapter), readTensors(from)];
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
    for (const [name, tensor] of before) expect(after.get(name), name).toEqual(tensor);

    const kohya = readTensors(join(folder, 'k.safetensors'));
    // Three layers in one: their ranks add up, and so do their alphas.
    expect(kohya.get('lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight')?.shape).toEqual([12, 24]);
    expect(kohya.get('lora_unet_joint_blocks_0_x_block_attn_qkv.alpha')?.data).toEqual(Float32Array.of(18));
    for (const name of ['k.safetensors', 'p', 'd']) {
      const { latents } = await sampled(join(folder, `images-${name}`), fixture, '--lora', join(folder, name));
      expect(largestDifference(latentsOf(latents), expected('one')), name).toBeLessThanOrEqual(TOLERANCE);
    }
    for (const [args, code, message] of [
      [['convert', adapter, '--to', 'peft', '--out', join(folder, 'p')], 2, 'is there already'],
      [['convert', adapter, '--to', 'kohya', '--out', join(folder, 'k.safetensors')], 2, 'is there already'],
      [['convert', adapter, '--to', 'peft', '--out', join(folder, 'x.safetensors')], 2, 'expected a folder'],
      [['convert', adapter, '--to', 'peft'], 2, '--out DIR'],
      [['convert', adapter, '--out', folder], 2, '--to diffusers, peft or kohya'],
      [['convert', adapter, adapter, '--to', 'peft', '--out', folder], 2, 'Expected 1 argument but got 2'],
    ] as const) {
      const refused = await runDrm(['lora', ...args]);
      expect(refused.stderr).toContain(message);
      expect(refused.code).toBe(code);
    }
  });

  test('merge writes a model that samples as the base with the adapter does', async () => {
    const folder = temporaryFolder();
    const out = join(folder, 'merged');
    mkdirSync(out); // empty: may be used
    const merge = (...args: string[]) => runDrm(['lora', 'merge', ...args]);
    const { code, stdout, stderr } = await merge(adapter, '--model', fixture, '--out', out);
    expect(code, stderr).toBe(0);
    expect(stdout.trim()).toBe(out);
    expect(stderr).toContain('48 of 48 tensors matched');
    expect(readdirSync(folder)).toEqual(['merged']);
    const { latents } = await sampled(join(folder, 'images'), out);
    expect(largestDifference(latentsOf(latents), expected('one'))).toBeLessThanOrEqual(TOLERANCE);
    // The text encoders are not stored a second time.
    const encoder = 'text_encoder/model.safetensors';
    expect(readFileSync(join(out, encoder)).equals(readFileSync(join(fixture, encoder)))).toBe(true);
    const inode = (of: string) => statSync(join(of, encoder)).ino;
    if (canLink(join(fixture, encoder), folder)) expect(inode(out)).toBe(inode(fixture));
    expect(statSync(join(out, 'model_index.json')).ino).not.toBe(statSync(join(fixture, 'model_index.json')).ino);

    const single = join(repository, 'test/golden/mmdit_sd35_naming/sd3.5_tiny.safetensors');
    for (const [args, codeWanted, message] of [
      [[adapter, '--model', fixture, '--out', out], 2, 'expected a new or empty folder'],
      [[adapter, '--model', fixture], 2, '--out DIR'],
      [[adapter, '--out', join(folder, 'x')], 2, '--model'],
      [[other, '--model', fixture, '--out', join(folder, 'x')], 3, 'tensors matched'],
      [[adapter, '--model', single, '--out', join(folder, 'x')], 3, 'found a single file'],
    ] as const) {
      const refused = await merge(...args);
      expect(refused.stderr).toContain(message);
      expect(refused.code).toBe(codeWanted);
    }
    expect(readdirSync(folder).sort()).toEqual(['images', 'merged']);
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });

  test('files that are cut off or altered are refused by name', async () => {
    const folder = temporaryFolder();
    const bytes = readFileSync(adapter);
    const file = join(folder, 'damaged.safetensors');
    for (const damaged of [
      bytes.subarray(0, 7),
      bytes.subarray(0, 500),
      bytes.subarray(0, bytes.length - 4),
      Buffer.concat([Buffer.from('PK\x03\x04'), bytes]),
      Buffer.from(
        bytes.toString('latin1').replace('"transformer.lora_alpha\\": 6', '"transformer.lora_alpha\\": "'),
        'latin1',
      ),
    ]) {
      writeFileSync(file, damaged);
      const { code, stderr } = await runDrm(['lora', 'inspect', file]);
      expect(stderr).toContain('damaged.safetensors');
      expect(code).toBe(3);
    }
  });
});

const python = process.env.DRM_BENCH_PYTHON ?? 'python3';
const hasPeft = spawnSync(python, ['-c', 'import diffusers, peft'], { stdio: 'ignore' }).status === 0;

// Python is optional: without diffusers and peft this is counted as skipped.
test.skipIf(!hasPeft)('what is written here is to diffusers what it is here', { timeout: 600_000 }, async () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder, name);
  const drm = async (...args: string[]) => {
    const { code, stderr } = await runDrm(args);
    expect(code, stderr).toBe(0);
  };
  const byPython = (model: string, out: string, ...adapters: string[]) => {
    const args = [join(repository, 'test/e2e/data/lora.py'), '--model', model, '--out', at(out), ...adapters];
    const { status, stderr } = spawnSync(python, args, { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    return latentsOf(at(out));
  };
  await drm('lora', 'convert', adapter, '--to', 'kohya', '--out', at('kohya.safetensors'));
  await drm('lora', 'convert', at('kohya.safetensors'), '--to', 'diffusers', '--out', at('back.safetensors'));
  await drm('lora', 'merge', adapter, '--model', fixture, '--out', at('merged'));
  const two = ['--lora', `${adapter}:0.7`, '--lora', `${at('kohya.safetensors')}:-0.4`];
  const { latents } = await sampled(at('ours'), fixture, ...two);
  const theirs = byPython(fixture, 'two.safetensors', adapter, '0.7', at('back.safetensors'), '-0.4');
  expect(largestDifference(latentsOf(latents), theirs)).toBeLessThanOrEqual(TOLERANCE);
  expect(largestDifference(theirs, expected('none'))).toBeGreaterThan(100 * TOLERANCE);
  const merged = byPython(at('merged'), 'merged.safetensors');
  expect(largestDifference(merged, expected('one'))).toBeLessThanOrEqual(TOLERANCE);
});
