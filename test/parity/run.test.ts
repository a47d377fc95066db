// The runner itself: what it must not let pass.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { repository, temporaryFolder } from '../run_drm.js';
import { type PipelineCase, pipelineTokens } from './native.js';

const golden = join(repository, 'test/golden');

function run(root: string, ...flags: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/test/parity/run.js', ...flags], {
    cwd: repository,
    env: { ...process.env, DRM_GOLDEN: root },
    encoding: 'utf8',
  });
  return { status, stdout, stderr, lines: stdout.trim().split('\n') };
}

/** A root with copies of some cases, each under a name of its own. */
function rootWith(cases: Record<string, string>): string {
  const root = temporaryFolder();
  for (const [name, of] of Object.entries(cases)) cpSync(join(golden, of), join(root, name), { recursive: true });
  return root;
}

test('the token ids that a machine without Node takes are those of the tokenizers', async () => {
  const read = (path: string) => JSON.parse(readFileSync(join(repository, path), 'utf8'));
  const stored = read('test/golden/pipeline/case.json') as PipelineCase;
  expect(read('test/gpu/pipeline_tokens.json')).toEqual(await pipelineTokens(join(golden, 'pipeline'), stored));
});

test('a subset of the cases, under other names, at a relative path', () => {
  const root = rootWith({ scheduler: 'scheduler', 'another-name': 'clip_l' });
  const { status, lines } = run(relative(repository, root));
  expect(lines).toHaveLength(3);
  expect(lines.at(-1)).toBe('2 passed, 0 failed');
  expect(status).toBe(0);
});

test('a number that is not the reference’s', () => {
  const root = rootWith({ scheduler: 'scheduler' });
  const file = join(root, 'scheduler/io.safetensors');
  chmodSync(file, 0o644);
  const bytes = readFileSync(file);
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE())));
  const at = 8 + Number(bytes.readBigUInt64LE()) + header['train.sigmas'].data_offsets[0];
  bytes.writeFloatLE(bytes.readFloatLE(at) * 1.001, at);
  writeFileSync(file, bytes);
  const { status, stdout, lines } = run(root);
  expect(stdout).toMatch(/FAIL {2}scheduler .*train\.sigmas/);
  expect(lines.at(-1)).toBe('0 passed, 1 failed');
  expect(status).toBe(1);
});

test('folders that cannot be checked are failures that say why', () => {
  const root = rootWith({ lora: 'lora', clip_l: 'clip_l', t5: 't5', vae: 'vae' });
  mkdirSync(join(root, 'empty'));
  mkdirSync(join(root, 'mystery'));
  writeFileSync(join(root, 'mystery/case.json'), '{"case": "mystery"}');
  rmSync(join(root, 'clip_l/io.safetensors'));
  rmSync(join(root, 't5/model.safetensors'));
  writeFileSync(join(root, 'vae/case.json'), '{');
  const { status, stdout, lines } = run(root);
  expect(stdout).toMatch(/FAIL {2}empty +unknown case/);
  expect(stdout).toMatch(/FAIL {2}mystery +unknown case/);
  expect(stdout).toMatch(/FAIL {2}clip_l .*io\.safetensors: expected the case's tensors/);
  expect(stdout).toMatch(/FAIL {2}lora +needs the case mmdit beside it/);
  expect(stdout).toMatch(/FAIL {2}t5 .*model\.safetensors/);
  expect(stdout).toMatch(/FAIL {2}vae .*expected JSON/);
  expect(lines.at(-1)).toBe('0 passed, 6 failed');
  expect(status).toBe(1);
});

test.each([
  ['nothing there', '/no/such/root', [], 2, 'found nothing'],
  ['a file', join(golden, 'vae/case.json'), [], 2, 'found a file'],
  ['a case that is not there', golden, ['--case', 'nonsense'], 1, 'found none that match'],
  ['a flag that is not known', golden, ['--bogus'], 2, '--bogus'],
])('%s is said in a sentence', (_, root, flags, code, part) => {
  const { status, stderr } = run(root, ...flags);
  expect(stderr).toContain(part);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(status).toBe(code);
});
