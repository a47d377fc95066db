// What csrc/cuda/toolkit.cmake decides from the libtorch and the nvcc at hand, by fake ones.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nvccHere } from '../../scripts/setup/toolchain.mjs';

const root = resolve(import.meta.dirname, '..', '..');
let folder;
let bin;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drm-cuda-'));
  bin = join(folder, 'bin');
  mkdirSync(bin);
  const cmake = spawnSync('which', ['cmake'], { encoding: 'utf8' }).stdout.trim();
  symlinkSync(cmake, join(bin, 'cmake'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A wheel's torch folder with CUDA, or without (`cuda` undefined); `files` beside. */
function libtorch(cuda, files = {}) {
  const path = join(folder, 'torch');
  mkdirSync(join(path, 'lib'), { recursive: true });
  writeFileSync(join(path, 'lib', 'libtorch_cpu.so'), '');
  if (cuda !== undefined) writeFileSync(join(path, 'lib', 'libtorch_cuda.so'), '');
  const version = `__version__ = '2.14.1+cu'\ncuda: Optional[str] = ${cuda ? `'${cuda}'` : 'None'}\nhip: Optional[str] = None\n`;
  for (const [name, text] of Object.entries({ 'version.py': version, ...files }))
    if (text !== undefined) writeFileSync(join(path, name), text);
  return path;
}

/** An nvcc that says this version and compiles, or fails with these words. */
function nvcc(version, fails, where = bin) {
  mkdirSync(where, { recursive: true });
  const path = join(where, 'nvcc');
  const compile = fails === undefined ? 'exit 0' : `echo "${fails}" >&2; exit 2`;
  writeFileSync(
    path,
    `#!/bin/sh\n[ "$1" = --version ] && { echo "Cuda compilation tools, release ${version}, V${version}.1"; exit 0; }\n${compile}\n`,
  );
  chmodSync(path, 0o755);
  return path;
}

function decide(path, env = {}) {
  const args = [`-DLIBTORCH=${path}`, `-DDRM_USUAL_CUDA=${join(folder, 'usual')}`, '-P'];
  const { status, stdout, stderr } = spawnSync('cmake', [...args, join(root, 'csrc', 'cuda', 'toolkit.cmake')], {
    encoding: 'utf8',
    cwd: folder,
    env: { PATH: bin, ...env },
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return Object.fromEntries(
    stdout
      .split('\n')
      .flatMap((line) => [/^-- DRM_(\w+)=(.*)$/.exec(line)?.slice(1) ?? []])
      .filter((pair) => pair.length),
  );
}

describe('the CUDA of a build', () => {
  test('is none where libtorch has none, whatever the toolkit', () => {
    nvcc('13.0');
    expect(decide(libtorch(undefined))).toEqual({ CUDA: 'OFF', CUDA_VERSION: '', NVCC: '', CUDA_NOTE: '' });
  });

  test('has our kernels where nvcc is of the same version', () => {
    const path = nvcc('13.0');
    expect(decide(libtorch('13.0'))).toEqual({ CUDA: 'ON', CUDA_VERSION: '13.0', NVCC: path, CUDA_NOTE: '' });
  });

  test('is libtorch alone without nvcc, and says what to install', () => {
    const found = decide(libtorch('13.0'));
    expect(found).toMatchObject({ CUDA: 'ON', NVCC: '' });
    expect(found.CUDA_NOTE).toMatch(
      /^no nvcc was found \(CUDA_HOME, PATH, .*usual\): GPUs are used through libtorch alone/,
    );
    expect(found.CUDA_NOTE).toContain('install the CUDA 13.0 toolkit');
  });

  test.each([
    ['12.8', '13.0'],
    ['13.1', '12.6'],
  ])('is libtorch alone with an nvcc of another major version: %s beside %s', (has, wants) => {
    nvcc(has);
    const found = decide(libtorch(wants));
    expect(found).toMatchObject({ CUDA: 'ON', NVCC: '' });
    expect(found.CUDA_NOTE).toContain(`is CUDA ${has}, libtorch is built with CUDA ${wants}`);
    expect(found.CUDA_NOTE).toContain(`install the CUDA ${wants} toolkit`);
  });

  test.each([
    ['13.1', '13.0', /13\.1, libtorch's is 13\.0: the driver must know 13\.1/],
    ['12.4', '12.10', /12\.4, older than libtorch's 12\.10/],
  ])('has our kernels with an nvcc of another minor version, and says so: %s beside %s', (has, wants, said) => {
    const path = nvcc(has);
    const found = decide(libtorch(wants));
    expect(found.NVCC).toBe(path);
    expect(found.CUDA_NOTE).toMatch(said);
  });

  test('is libtorch alone with an nvcc that cannot compile here, and quotes it', () => {
    nvcc('13.0', 'error: -- unsupported GNU version! gcc versions later than 15 are not supported');
    const found = decide(libtorch('13.0'));
    expect(found).toMatchObject({ CUDA: 'ON', NVCC: '' });
    expect(found.CUDA_NOTE).toMatch(/cannot compile here: error: -- unsupported GNU version.*exit status 2/);
  });

  test('is libtorch alone with an nvcc that does not run', () => {
    writeFileSync(join(bin, 'nvcc'), '#!/bin/sh\necho "libstdc++.so.6: cannot open" >&2\nexit 127\n');
    chmodSync(join(bin, 'nvcc'), 0o755);
    const found = decide(libtorch('13.0'));
    expect(found.NVCC).toBe('');
    expect(found.CUDA_NOTE).toContain('does not say its version (exit status 127)');
  });

  test('reads an archive by its build-version, and takes any nvcc where no version is said', () => {
    nvcc('12.6');
    const archive = { 'version.py': undefined, 'build-version': '2.13.0+cu126\n' };
    expect(decide(libtorch('', archive))).toMatchObject({ CUDA_VERSION: '12.6', CUDA_NOTE: '' });
    rmSync(join(folder, 'torch'), { recursive: true });
    expect(decide(libtorch('', { 'version.py': undefined }))).toMatchObject({ CUDA_VERSION: '', CUDA_NOTE: '' });
  });

  test('takes the nvcc of CUDA_HOME before that of PATH, as setup does', () => {
    const inPath = nvcc('12.6');
    const home = join(folder, 'cuda-13');
    const path = nvcc('13.0', undefined, join(home, 'bin'));
    expect(decide(libtorch('13.0'), { CUDA_HOME: home }).NVCC).toBe(path);
    expect(nvccHere({ CUDA_HOME: home, PATH: bin })).toMatch(new RegExp(`^${path} `));
    expect(nvccHere({ PATH: bin })).toMatch(new RegExp(`^${inPath} `));
  });
});
