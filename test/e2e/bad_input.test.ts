// What can be wrong with a model or a request: the exit code, and that the message names where, expected, found, next.
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { drm, fixture, quick, type RunOptions, runDrm, temporaryFolder } from '../run_drm.js';

/** A copy of the fixture that may be broken. */
function model(): string {
  const folder = join(temporaryFolder(), 'model');
  cpSync(fixture, folder, { recursive: true });
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) chmodSync(join(entry.parentPath ?? entry.path, entry.name), 0o644);
  return folder;
}

async function fails(args: string[], code: number, parts: string[], options: RunOptions = {}): Promise<void> {
  const out = join(temporaryFolder(), 'out');
  const outcome = await runDrm(
    ['sample', '--prompt', 'x', '--steps', '2', '--height', '32', '--width', '48', '--out', out, ...args],
    options,
  );
  for (const part of parts) expect(outcome.stderr).toContain(part);
  expect(outcome.stderr).not.toMatch(/\n\s+at .*:\d+:\d+/);
  expect(outcome.code).toBe(code);
  expect(outcome.stdout).toBe('');
}

const transformer = (folder: string) => join(folder, 'transformer/diffusion_pytorch_model.safetensors');

function editHeader(file: string, edit: (header: string) => string): void {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  const header = edit(bytes.toString('utf8', 8, 8 + length));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  writeFileSync(file, Buffer.concat([size, Buffer.from(header), bytes.subarray(8 + length)]));
}

test('a missing folder', () =>
  fails(['--model', '/no/such/model'], 3, ['/no/such/model', 'expected', 'found no such thing']));
test('a name that is nearly right', () => fails(['--model', 'sd3.5-medum'], 3, ['did you mean sd3.5-medium?']));
test('a hub id that is not here', () =>
  fails(['--model', 'some/model'], 4, ['some/model', 'drm pull some/model'], { env: { HF_HOME: temporaryFolder() } }));
test('a folder that is no pipeline', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'readme.txt'), '');
  await fails(['--model', folder], 3, ['model_index.json', 'readme.txt']);
});
test('a missing component', async () => {
  const folder = model();
  rmSync(join(folder, 'vae'), { recursive: true });
  await fails(['--model', folder], 4, [join(folder, 'vae'), 'turns latents into images', 'drm pull']);
});
test('only a pickle', async () => {
  const folder = model();
  rmSync(join(folder, 'vae/diffusion_pytorch_model.safetensors'));
  writeFileSync(join(folder, 'vae/diffusion_pytorch_model.bin'), 'x');
  await fails(['--model', folder], 3, ['diffusion_pytorch_model.bin', 'pickle', 'safetensors']);
});
test('a pickle by another name', async () => {
  const folder = model();
  writeFileSync(transformer(folder), 'PK\u0003\u0004 and a zip');
  await fails(['--model', folder], 3, ['diffusion_pytorch_model.safetensors', 'pickle']);
});
test('a truncated file', async () => {
  const folder = model();
  truncateSync(transformer(folder), 100_000);
  await fails(['--model', folder], 3, ['diffusion_pytorch_model.safetensors', 'missing', 'incomplete']);
});
test('a flipped bit in the header', async () => {
  const folder = model();
  const bytes = readFileSync(transformer(folder));
  bytes[9] = (bytes[9] ?? 0) ^ 0x20;
  writeFileSync(transformer(folder), bytes);
  await fails(['--model', folder], 3, ['diffusion_pytorch_model.safetensors', 'line 1, column']);
});
test('overlapping tensors', async () => {
  const folder = model();
  editHeader(transformer(folder), (header) => {
    const json = JSON.parse(header);
    const [a, b] = Object.keys(json).filter(
      (key) => JSON.stringify(json[key].shape) === JSON.stringify(json['transformer_blocks.0.attn.to_q.bias'].shape),
    );
    json[b ?? ''].data_offsets = json[a ?? ''].data_offsets;
    return JSON.stringify(json);
  });
  await fails(['--model', folder], 3, ['diffusion_pytorch_model.safetensors', 'overlap']);
});
test('an oversized header', async () => {
  const folder = model();
  writeFileSync(transformer(folder), Buffer.concat([Buffer.from([255, 255, 255, 255, 0, 0, 0, 0]), Buffer.from('{}')]));
  await fails(['--model', folder], 3, ['header', '4294967295']);
});
test('missing and unexpected keys, all listed', async () => {
  const folder = model();
  editHeader(transformer(folder), (header) =>
    header.replace('"proj_out.bias"', '"proj_our.bias"').replace('"context_embedder.bias"', '"context_embedded.bias"'),
  );
  await fails(['--model', folder], 3, [
    '2 missing',
    'proj_out.bias',
    'context_embedder.bias',
    '2 unexpected',
    'proj_our.bias',
    'context_embedded.bias',
  ]);
});
test('weights of another width than the config', async () => {
  const folder = model();
  const file = join(folder, 'transformer/config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(
    file,
    JSON.stringify({
      ...config,
      num_attention_heads: config.num_attention_heads + 1,
      caption_projection_dim: undefined,
    }),
  );
  await fails(['--model', folder], 3, ['of another shape', 'expected (', 'found (', 'the weights have width']);
});
test('another scheduler', async () => {
  const folder = model();
  writeFileSync(join(folder, 'scheduler/scheduler_config.json'), '{"_class_name": "DDIMScheduler"}');
  await fails(['--model', folder], 3, ['scheduler_config.json', 'FlowMatchEulerDiscreteScheduler', 'DDIMScheduler']);
});
test('another pipeline', async () => {
  const folder = model();
  writeFileSync(join(folder, 'model_index.json'), '{"_class_name": "FluxPipeline"}');
  await fails(['--model', folder], 3, ['model_index.json', 'StableDiffusion3Pipeline', 'FluxPipeline']);
});
test('NaN in the weights is reported at its step', async () => {
  const folder = model();
  const bytes = readFileSync(transformer(folder));
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  bytes.writeFloatLE(Number.NaN, 8 + length + header['proj_out.bias'].data_offsets[0]);
  writeFileSync(transformer(folder), bytes);
  await fails(['--model', folder], 3, ['step 1 of 2', 'NaN']);
});
test('a size that does not fit', () =>
  fails(['--model', fixture, '--height', '40'], 3, ['height', 'multiple of 16', '40']));
test('negative steps', () => fails(['--model', fixture, '--steps', '-3'], 2, ['--steps: expected at least 1', '-3']));
test('steps that are no number', () =>
  fails(['--model', fixture, '--steps', 'many'], 2, ['--steps', 'expected a number', 'many']));
test('a misspelt setting', () => fails(['--model', fixture, '--set', 'stepz=3'], 2, ['stepz', 'did you mean steps?']));
test('latents of another shape', () =>
  fails(['--model', fixture, '--init-latents', `${join(fixture, 'io.safetensors')}:initial_latents`], 3, [
    'initial_latents',
    '(1, 16, 4, 6)',
    '(2, 16, 8, 12)',
  ]));
test('latents that are not there', () =>
  fails(['--model', fixture, '--init-latents', join(fixture, 'io.safetensors')], 3, [
    'expected a tensor named latents',
  ]));
test('an output folder that is a file', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'taken'), '');
  const { code, stderr } = await runDrm([...quick, '--prompt', 'x', '--out', join(folder, 'taken')]);
  expect(stderr).toContain('expected a folder, found a file');
  expect(code).toBe(4);
});
test('latents that cannot be saved are known before the work', () =>
  fails(['--model', fixture, '--save-latents', '/no/such/folder/x.safetensors'], 4, [
    '/no/such/folder/x.safetensors',
    'cannot be written',
  ]));
test('latents are not saved over a device', () =>
  fails(['--model', fixture, '--save-latents', '/dev/null'], 4, [
    '/dev/null',
    'expected the name of a file',
    'device',
  ]));
test('a standard output that is full', async () => {
  const { openSync, closeSync } = await import('node:fs');
  const { spawnSync } = await import('node:child_process');
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [drm, 'config', 'show', '--json'], {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  closeSync(full);
  expect(stderr).toMatch(/^drm: \[out\] stdout: cannot be written: .*free some space/);
  expect(status).toBe(4);
});
test('a full disk', async () => {
  // /dev/shm of the test's own: root may mount; where it may not, the check is said to be missing.
  const { spawnSync } = await import('node:child_process');
  const folder = join(temporaryFolder(), 'small');
  mkdirSync(folder);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', folder]).status !== 0) {
    console.warn('NOT CHECKED: a full disk (this user may not mount a tmpfs)');
    return;
  }
  try {
    const { code, stderr } = await runDrm([
      'sample',
      '--model',
      fixture,
      '--prompt',
      'x',
      '--steps',
      '2',
      '--height',
      '96',
      '--width',
      '96',
      '--n',
      '3',
      '--out',
      folder,
    ]);
    expect(stderr).toContain('free some space');
    expect(code).toBe(4);
    expect(readdirSync(folder).filter((name) => !name.endsWith('.png'))).toEqual([]);
  } finally {
    spawnSync('umount', [folder]);
  }
});
test('no prompt', async () => {
  const { code, stderr } = await runDrm(['sample', '--model', fixture]);
  expect(stderr).toContain('--prompt');
  expect(code).toBe(2);
});
test('a GPU that is not there', () => fails(['--model', fixture, '--device', 'cuda:7'], 4, ['cuda:7', '--device cpu']));
