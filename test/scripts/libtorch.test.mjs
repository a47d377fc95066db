// The search for libtorch, with fake ones, fake wheels and a fake pip.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkoutOf, fakeWheel, pip, programs, runNode } from './fakes.mjs';
import { writeZip } from './zip_writer.mjs';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drm-libtorch-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A folder that looks like libtorch. */
function fakeLibtorch(path, version = [2, 13, 0]) {
  mkdirSync(join(path, 'lib'), { recursive: true });
  mkdirSync(join(path, 'include', 'torch', 'headeronly'), { recursive: true });
  writeFileSync(join(path, 'lib', 'libtorch_cpu.so'), 'library');
  writeFileSync(join(path, 'include', 'torch', 'headeronly', 'version.h'), versionHeader(version));
  return path;
}

function versionHeader([major, minor, patch]) {
  return `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH ${patch}\n`;
}

describe.skipIf(process.platform !== 'linux')('the search for libtorch', () => {
  // The record belongs to the checkout, so the search is run on a copy of the scripts.
  function search(env) {
    const copied = checkoutOf(folder);
    return runNode(
      folder,
      `import { findLibtorch } from '${copied('setup/libtorch.mjs')}';
       import { runMain } from '${copied('setup/errors.mjs')}';
       await runMain(async () => {
         const { path, version, source } = await findLibtorch(console.error);
         console.log(JSON.stringify({ path, version, source }));
       });`,
      { XDG_CACHE_HOME: join(folder, 'cache'), ...env },
    );
  }
  const noPython = () => programs(folder, {});
  const record = () => JSON.parse(readFileSync(join(folder, 'checkout', 'build', 'libtorch.json'), 'utf8'));

  test('takes LIBTORCH and writes it down', () => {
    const path = fakeLibtorch(join(folder, 'mine'));
    const { code, stdout } = search({ PATH: noPython(), LIBTORCH: path });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ path, version: '2.13.0', source: 'LIBTORCH' });
    expect(record()).toMatchObject({ path, version: '2.13.0', build: '2.13.0', source: 'LIBTORCH' });
    // and remembers it without being told again, until it is replaced
    expect(JSON.parse(search({ PATH: noPython() }).stdout).path).toBe(path);
    writeFileSync(join(path, 'lib', 'libtorch_cpu.so'), 'another library');
    expect(search({ PATH: noPython() }).code).toBe(4);
  });

  test('refuses a LIBTORCH that is none, or of a wrong version, instead of looking elsewhere', () => {
    const missing = search({ PATH: noPython(), LIBTORCH: join(folder, 'nowhere') });
    expect(missing).toMatchObject({ code: 4 });
    expect(missing.stderr).toMatch(/LIBTORCH=.*nowhere: expected a folder with include.*no such folder/);
    mkdirSync(join(folder, 'empty'));
    expect(search({ PATH: noPython(), LIBTORCH: join(folder, 'empty') }).stderr).toContain('no libtorch in it');
    const old = fakeLibtorch(join(folder, 'old'), [2, 4, 1]);
    expect(search({ PATH: noPython(), LIBTORCH: old }).stderr).toMatch(
      /expected libtorch 2\.11 to 2\.14, found 2\.4\.1/,
    );
  });

  test('takes an installed torch of python3', () => {
    const path = fakeLibtorch(join(folder, 'site-packages', 'torch'), [2, 12, 1]);
    const { stdout } = search({ PATH: programs(folder, { python3: `echo ${path}` }) });
    expect(JSON.parse(stdout)).toEqual({ path, version: '2.12.1', source: 'python' });
  });

  test('says what each of the four ways answered', () => {
    const old = fakeLibtorch(join(folder, 'site-packages', 'torch'), [2, 4, 0]);
    const { code, stderr } = search({
      PATH: programs(folder, {
        python3: `case "$1" in -c) echo ${old};; *) echo "No module named pip" >&2; exit 1;; esac`,
      }),
    });
    expect(code).toBe(4);
    expect(stderr).toMatch(/1\. LIBTORCH.*: not set/);
    expect(stderr).toMatch(/2\. an installed torch.*is 2\.4\.0, expected 2\.11 to 2\.14/);
    expect(stderr).toMatch(/3\. python3 -m pip download torch==2\.13\.0: python3 has no pip/);
    expect(stderr).toMatch(/4\. LIBTORCH_URL and LIBTORCH_SHA256.*: not set/);
  });

  const files = {
    'torch/include/torch/headeronly/version.h': versionHeader([2, 13, 0]),
    'torch/lib/libtorch_cpu.so': 'library',
    'torch/lib/libtorch_python.so': 'not needed',
    'torch/nn/functional.py': 'not needed',
    'torch/version.py': "__version__ = '2.13.0+cpu'\n",
  };
  const torchWheel = (changed = {}, contents = files) => fakeWheel(folder, 'torch-2.13.0', contents, changed);

  test('fetches the wheel by pip, keeps headers and libraries, and the second time only looks', () => {
    const path = join(folder, 'cache', 'drm', 'libtorch-2.13.0-cpu', 'torch');
    const first = search({ PATH: programs(folder, { python3: pip(torchWheel()) }) });
    expect(first.stderr).toContain('fetching 2.13.0 with pip');
    expect(JSON.parse(first.stdout)).toEqual({ path, version: '2.13.0', source: 'pip' });
    expect(existsSync(join(path, 'lib', 'libtorch_cpu.so'))).toBe(true);
    expect(existsSync(join(path, 'lib', 'libtorch_python.so'))).toBe(false);
    expect(existsSync(join(path, 'nn'))).toBe(false);
    expect(existsSync(join(folder, 'cache', 'drm', 'fetching'))).toBe(false);

    rmSync(join(folder, 'checkout', 'build'), { recursive: true });
    const second = search({ PATH: programs(folder, { python3: 'exit 1' }) });
    expect(second.stderr).not.toContain('fetching');
    expect(JSON.parse(second.stdout).path).toBe(path);
  });

  test('of a build with CUDA, fetches the libraries it is linked with and the headers that the core is compiled with', () => {
    const torch = torchWheel(
      {},
      {
        ...files,
        'torch/version.py': "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n",
        'torch/lib/libtorch_cuda.so': 'library',
        'torch-2.13.0.dist-info/METADATA':
          'Requires-Dist: filelock\nRequires-Dist: nvidia-all-cu13==13.0.2; sys_platform == "linux"\n',
      },
    );
    const nvidia = fakeWheel(folder, 'nvidia_all_cu13-13.0.2', {
      'nvidia/cu13/lib/libcudart.so.13': 'library',
      'nvidia/cu13/include/cusparse.h': 'header',
      'nvidia/cu13/include/cuda/std/atomic': 'header without a suffix',
      'nvidia/nccl/include/nccl.h': 'header',
      'nvidia/cu13/bin/tool.py': 'not needed',
    });
    const python3 = `case "$*" in *nvidia-all*) ${pip(nvidia)} ;; *) ${pip(torch)} ;; esac`;
    const { stdout, stderr } = search({ PATH: programs(folder, { python3 }) });
    expect(stderr).toContain('fetching the CUDA libraries');
    const { path } = JSON.parse(stdout);
    expect(path).toBe(join(folder, 'cache', 'drm', 'libtorch-2.13.0-cu130', 'torch'));
    const there = (name) => existsSync(join(path, '..', 'nvidia', name));
    for (const name of ['cu13/lib/libcudart.so.13', 'cu13/include/cusparse.h', 'cu13/include/cuda/std/atomic'])
      expect(there(name)).toBe(true);
    expect(there('nccl/include/nccl.h')).toBe(true);
    expect(there('cu13/bin/tool.py')).toBe(false);
  });

  test('leaves nothing behind of a wheel whose library was changed', () => {
    const { code, stderr } = search({
      PATH: programs(folder, { python3: pip(torchWheel({ 'torch/lib/libtorch_cpu.so': 'tampered' })) }),
    });
    expect(code).toBe(4);
    expect(stderr).toMatch(/libtorch_cpu\.so: expected SHA-256 \S+ \(RECORD\)/);
    expect(existsSync(join(folder, 'cache', 'drm', 'libtorch-2.13.0-cpu'))).toBe(false);
    expect(existsSync(join(folder, 'cache', 'drm', 'fetching'))).toBe(false);
  });

  test('reports what pip said', () => {
    const failing = `[ "$1" = -c ] && exit 0; [ "$3" = --version ] && exit 0
      echo "ERROR: Could not find a version"; echo "ERROR: No matching distribution found for torch==2.13.0"; exit 1`;
    const { code, stderr } = search({ PATH: programs(folder, { python3: failing }) });
    expect(code).toBe(4);
    expect(stderr).toContain('No matching distribution found for torch==2.13.0');
  });

  test('takes an archive whose SHA-256 was given, and no other', () => {
    const archive = join(folder, 'libtorch.zip');
    const entries = {
      'libtorch/include/torch/headeronly/version.h': versionHeader([2, 13, 0]),
      'libtorch/lib/libtorch_cpu.so': 'library',
      'libtorch/build-version': '2.13.0+cpu\n',
    };
    const bytes = writeZip(Object.entries(entries).map(([name, content]) => ({ name, content: Buffer.from(content) })));
    writeFileSync(archive, bytes);
    const LIBTORCH_URL = pathToFileURL(archive).href;
    const LIBTORCH_SHA256 = createHash('sha256').update(bytes).digest('hex');

    expect(search({ PATH: noPython(), LIBTORCH_URL }).stderr).toContain('expected both');
    const wrong = search({ PATH: noPython(), LIBTORCH_URL, LIBTORCH_SHA256: '0'.repeat(64) });
    expect(wrong.code).toBe(4);
    expect(wrong.stderr).toContain(`expected SHA-256 ${'0'.repeat(64)}, found ${LIBTORCH_SHA256}`);
    const { stdout } = search({ PATH: noPython(), LIBTORCH_URL, LIBTORCH_SHA256 });
    expect(JSON.parse(stdout)).toMatchObject({ version: '2.13.0', source: 'archive' });
    expect(record().build).toBe('2.13.0+cpu');
  });
});
