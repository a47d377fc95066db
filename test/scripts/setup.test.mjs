import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withLock } from '../../scripts/setup/lock.mjs';
import { packagesAreCurrent } from '../../scripts/setup/packages.mjs';
import { Stamp } from '../../scripts/setup/stamp.mjs';
import { writeZip } from './zip_writer.mjs';

const module = (name) => pathToFileURL(resolve(import.meta.dirname, '..', '..', 'scripts', 'setup', name)).href;
let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drm-setup-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a script in Node with just this environment (and where Node is). */
function runNode(script, env = {}) {
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { HOME: folder, ...env },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** A folder with fake programs: { name: shell script }. */
function programs(scripts) {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return bin;
}

describe('the toolchain check', () => {
  const script = `
    import { checkToolchain } from '${module('toolchain.mjs')}';
    import { runMain } from '${module('errors.mjs')}';
    await runMain(() => { console.log(JSON.stringify(checkToolchain())); });`;

  test('lists all that is missing at once, with what to install, exit code 4', () => {
    const { code, stderr } = runNode(script, { PATH: programs({}) });
    expect(code).toBe(4);
    for (const part of [/C\+\+ compiler.*c\+\+20/, /CMake 3\.20/, /make/, /Python 3/]) expect(stderr).toMatch(part);
    expect(stderr).toContain('apt-get install g++ cmake make python3');
    expect(stderr).toContain('dnf install gcc-c++ cmake make python3');
    expect(stderr).toMatch(/macOS: +xcode-select --install && brew install cmake/);
  });

  test('refuses a compiler without C++20 and a CMake that is too old, and names only these', () => {
    const old = {
      'c++': 'case "$1" in --version) echo "c++ 4.8";; *) echo "unrecognized option -std=c++20" >&2; exit 1;; esac',
      cmake: 'echo "cmake version 3.10.2"',
      make: 'exit 0',
      python3: 'exit 0',
    };
    const { code, stderr } = runNode(script, { PATH: programs(old) });
    expect(code).toBe(4);
    expect(stderr).toContain('c++ (c++ 4.8): unrecognized option -std=c++20');
    expect(stderr).toContain('found 3.10');
    expect(stderr).toMatch(/Debian, Ubuntu: +apt-get install g\+\+ cmake\n/);
  });

  test('takes the compiler that works', () => {
    const { code, stdout } = runNode(script, {
      PATH: programs({
        'c++': 'exit 1',
        'g++': 'echo "g++ 12"',
        cmake: 'echo "cmake version 4.1.0"',
        make: 'exit 0',
        python3: 'exit 0',
      }),
    });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      compiler: { command: 'g++', version: 'g++ 12' },
      generator: 'Unix Makefiles',
    });
  });
});

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
    const copy = join(folder, 'checkout', 'scripts', 'setup');
    const from = resolve(import.meta.dirname, '..', '..', 'scripts', 'setup');
    spawnSync('mkdir', ['-p', dirname(copy)]);
    spawnSync('cp', ['-r', from, dirname(copy)]);
    return runNode(
      `import { findLibtorch } from '${pathToFileURL(join(copy, 'libtorch.mjs')).href}';
       import { runMain } from '${pathToFileURL(join(copy, 'errors.mjs')).href}';
       await runMain(async () => {
         const { path, version, source } = await findLibtorch(console.error);
         console.log(JSON.stringify({ path, version, source }));
       });`,
      { XDG_CACHE_HOME: join(folder, 'cache'), ...env },
    );
  }
  const noPython = () => programs({});
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
    const { stdout } = search({ PATH: programs({ python3: `echo ${path}` }) });
    expect(JSON.parse(stdout)).toEqual({ path, version: '2.12.1', source: 'python' });
  });

  test('says what each of the four ways answered', () => {
    const old = fakeLibtorch(join(folder, 'site-packages', 'torch'), [2, 4, 0]);
    const { code, stderr } = search({
      PATH: programs({ python3: `case "$1" in -c) echo ${old};; *) echo "No module named pip" >&2; exit 1;; esac` }),
    });
    expect(code).toBe(4);
    expect(stderr).toMatch(/1\. LIBTORCH.*: not set/);
    expect(stderr).toMatch(/2\. an installed torch.*is 2\.4\.0, expected 2\.11 to 2\.14/);
    expect(stderr).toMatch(/3\. python3 -m pip download torch==2\.13\.0: python3 has no pip/);
    expect(stderr).toMatch(/4\. LIBTORCH_URL and LIBTORCH_SHA256.*: not set/);
  });

  /** A python3 without torch whose pip "downloads" the wheel at `path`. */
  const pip = (path) => `
    [ "$1" = -c ] && exit 0
    [ "$3" = --version ] && exit 0
    while [ $# -gt 0 ]; do [ "$1" = --dest ] && dest=$2; shift; done
    /bin/mkdir -p "$dest" && /bin/cp ${path} "$dest/"`;
  const files = {
    'torch/include/torch/headeronly/version.h': versionHeader([2, 13, 0]),
    'torch/lib/libtorch_cpu.so': 'library',
    'torch/lib/libtorch_python.so': 'not needed',
    'torch/nn/functional.py': 'not needed',
    'torch/version.py': "__version__ = '2.13.0+cpu'\n",
  };
  function fakeWheel(change = {}, contents = files, name = 'torch-2.13.0') {
    const sha = (content) => createHash('sha256').update(content).digest('base64url');
    const record = Object.entries(contents).map(
      ([name, content]) => `${name},sha256=${sha(content)},${content.length}`,
    );
    const entries = Object.entries({ ...contents, ...change, [`${name}.dist-info/RECORD`]: `${record.join('\n')}\n` });
    const path = join(folder, `${name}-cp311-cp311-linux_x86_64.whl`);
    writeFileSync(path, writeZip(entries.map(([name, content]) => ({ name, content: Buffer.from(content) }))));
    return path;
  }

  test('fetches the wheel by pip, keeps headers and libraries, and the second time only looks', () => {
    const path = join(folder, 'cache', 'drm', 'libtorch-2.13.0-cpu', 'torch');
    const first = search({ PATH: programs({ python3: pip(fakeWheel()) }) });
    expect(first.stderr).toContain('fetching 2.13.0 with pip');
    expect(JSON.parse(first.stdout)).toEqual({ path, version: '2.13.0', source: 'pip' });
    expect(existsSync(join(path, 'lib', 'libtorch_cpu.so'))).toBe(true);
    expect(existsSync(join(path, 'lib', 'libtorch_python.so'))).toBe(false);
    expect(existsSync(join(path, 'nn'))).toBe(false);
    expect(existsSync(join(folder, 'cache', 'drm', 'fetching'))).toBe(false);

    rmSync(join(folder, 'checkout', 'build'), { recursive: true });
    const second = search({ PATH: programs({ python3: 'exit 1' }) });
    expect(second.stderr).not.toContain('fetching');
    expect(JSON.parse(second.stdout).path).toBe(path);
  });

  test('of a build with CUDA, fetches the libraries it is linked with and the headers that the core is compiled with', () => {
    const torch = fakeWheel(
      {},
      {
        ...files,
        'torch/version.py': "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n",
        'torch/lib/libtorch_cuda.so': 'library',
        'torch-2.13.0.dist-info/METADATA':
          'Requires-Dist: filelock\nRequires-Dist: nvidia-all-cu13==13.0.2; sys_platform == "linux"\n',
      },
    );
    const nvidia = fakeWheel(
      {},
      {
        'nvidia/cu13/lib/libcudart.so.13': 'library',
        'nvidia/cu13/include/cusparse.h': 'header',
        'nvidia/cu13/include/cuda/std/atomic': 'header without a suffix',
        'nvidia/nccl/include/nccl.h': 'header',
        'nvidia/cu13/bin/tool.py': 'not needed',
      },
      'nvidia_all_cu13-13.0.2',
    );
    const python3 = `case "$*" in *nvidia-all*) ${pip(nvidia)} ;; *) ${pip(torch)} ;; esac`;
    const { stdout, stderr } = search({ PATH: programs({ python3 }) });
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
      PATH: programs({ python3: pip(fakeWheel({ 'torch/lib/libtorch_cpu.so': 'tampered' })) }),
    });
    expect(code).toBe(4);
    expect(stderr).toMatch(/libtorch_cpu\.so: expected SHA-256 \S+ \(RECORD\)/);
    expect(existsSync(join(folder, 'cache', 'drm', 'libtorch-2.13.0-cpu'))).toBe(false);
    expect(existsSync(join(folder, 'cache', 'drm', 'fetching'))).toBe(false);
  });

  test('reports what pip said', () => {
    const failing = `[ "$1" = -c ] && exit 0; [ "$3" = --version ] && exit 0
      echo "ERROR: Could not find a version"; echo "ERROR: No matching distribution found for torch==2.13.0"; exit 1`;
    const { code, stderr } = search({ PATH: programs({ python3: failing }) });
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

describe('a stamp', () => {
  const file = () => join(folder, 'input.txt');
  function stamp(key = {}) {
    const one = new Stamp('step', join(folder, 'stamps'));
    one.look([file()], key);
    return one;
  }

  test('is fresh after a success, whatever the times say, and stale after a change', () => {
    const output = join(folder, 'output');
    writeFileSync(file(), 'one');
    writeFileSync(output, 'made');
    const first = stamp();
    expect(first.fresh()).toBe(false);
    first.save([output]);
    expect(stamp().fresh()).toBe(true);
    utimesSync(file(), new Date(0), new Date(0));
    expect(stamp().fresh()).toBe(true);
    expect(stamp({ libtorch: 'another' }).fresh()).toBe(false);
    writeFileSync(file(), 'two');
    expect(stamp().fresh()).toBe(false);
    writeFileSync(file(), 'one');
    expect(stamp().fresh()).toBe(true);
  });

  test('is stale when an output is gone or was replaced', () => {
    const output = join(folder, 'output');
    writeFileSync(file(), 'one');
    writeFileSync(output, 'made');
    stamp().save([output]);
    writeFileSync(output, 'made by somebody else');
    expect(stamp().fresh()).toBe(false);
    stamp().save([output]);
    rmSync(output);
    expect(stamp().fresh()).toBe(false);
  });

  test('does not swallow an edit made during the work', () => {
    writeFileSync(file(), 'one');
    const during = stamp();
    writeFileSync(file(), 'edited meanwhile');
    during.save([]);
    expect(stamp().fresh()).toBe(false);
  });
});

describe('npm packages', () => {
  function project(wanted, installed) {
    mkdirSync(join(folder, 'node_modules', 'a'), { recursive: true });
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: wanted }));
    writeFileSync(join(folder, 'node_modules', '.package-lock.json'), JSON.stringify({ packages: installed }));
    return packagesAreCurrent(folder);
  }
  const a = { version: '1.0.0', integrity: 'sha512-a' };

  test('are current when npm installed what the lock file asks for', () => {
    const other = { version: '1.0.0', optional: true }; // another platform's
    expect(project({ '': {}, 'node_modules/a': a, 'node_modules/b': other }, { 'node_modules/a': a })).toBe(true);
    expect(project({ 'node_modules/a': { ...a, integrity: 'sha512-b' } }, { 'node_modules/a': a })).toBe(false);
    expect(project({ 'node_modules/a': a, 'node_modules/c': a }, { 'node_modules/a': a })).toBe(false);
    rmSync(join(folder, 'node_modules', 'a'), { recursive: true });
    expect(packagesAreCurrent(folder)).toBe(false);
    rmSync(join(folder, 'node_modules'), { recursive: true });
    expect(packagesAreCurrent(folder)).toBe(false);
  });
});

test('package-lock.json names every platform, as `npm ci` demands', () => {
  const { packages } = JSON.parse(readFileSync(resolve(import.meta.dirname, '..', '..', 'package-lock.json'), 'utf8'));
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages),
    ),
  );
  expect(missing).toEqual([]);
});

describe('the lock', () => {
  const lockFile = () => join(folder, 'a.lock');

  test('lets many processes in, one at a time', async () => {
    const log = join(folder, 'log');
    const script = `
      import { appendFileSync } from 'node:fs';
      import { withLock } from '${module('lock.mjs')}';
      await withLock(${JSON.stringify(lockFile())}, () => {}, async () => {
        appendFileSync(${JSON.stringify(log)}, 'in ');
        await new Promise((go) => setTimeout(go, 20));
        appendFileSync(${JSON.stringify(log)}, 'out ');
      });`;
    writeFileSync(lockFile(), '999999999 1'); // of a process that is gone: all of them find it stale at once
    const children = Array.from({ length: 6 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' }),
    );
    const codes = await Promise.all(children.map((child) => new Promise((done) => child.once('close', done))));
    expect(codes).toEqual([0, 0, 0, 0, 0, 0]);
    expect(readFileSync(log, 'utf8')).toBe('in out '.repeat(6));
    expect(existsSync(lockFile())).toBe(false);
  });

  test('is given back after a failure, and by a process that exits inside', async () => {
    await expect(
      withLock(
        lockFile(),
        () => {},
        () => {
          throw new Error('inside');
        },
      ),
    ).rejects.toThrow('inside');
    expect(existsSync(lockFile())).toBe(false);
    runNode(`
      import { withLock } from '${module('lock.mjs')}';
      await withLock(${JSON.stringify(lockFile())}, () => {}, () => process.exit(0));`);
    expect(existsSync(lockFile())).toBe(false);
  });

  test('of a live process is waited for, and said', async () => {
    let waitedFor;
    const order = [];
    let release;
    const first = withLock(
      lockFile(),
      () => {},
      () => new Promise((go) => (release = go)),
    ).then(() => order.push('first'));
    while (!release) await new Promise((go) => setTimeout(go, 5));
    const second = withLock(
      lockFile(),
      (pid) => {
        waitedFor = pid;
        release();
      },
      () => order.push('second'),
    );
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
    expect(waitedFor).toBe(process.pid);
  });

  test('of a process number that was given to another process is taken over', async () => {
    writeFileSync(lockFile(), `${process.pid} 12345`); // our number, another start time
    await withLock(
      lockFile(),
      () => {
        throw new Error('must not wait');
      },
      () => {},
    );
  });
});

test('unknown options of the set-up are refused', () => {
  const setup = resolve(import.meta.dirname, '..', '..', 'scripts', 'setup.mjs');
  const result = spawnSync(process.execPath, [setup, '--test'], { encoding: 'utf8' });
  expect(result.status).toBe(2);
  expect(result.stderr).toContain('unknown option --test');
  expect(result.stderr).toContain(`--quiet, --tests`);
});
