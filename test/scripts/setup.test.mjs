import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withLock } from '../../scripts/setup/lock.mjs';
import { packagesAreCurrent } from '../../scripts/setup/packages.mjs';
import { Stamp } from '../../scripts/setup/stamp.mjs';
import { programs, runNode, script } from './fakes.mjs';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drm-setup-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the toolchain check', () => {
  const text = `
    import { checkToolchain } from '${script('setup/toolchain.mjs')}';
    import { runMain } from '${script('setup/errors.mjs')}';
    await runMain(() => { console.log(JSON.stringify(checkToolchain())); });`;

  test('lists all that is missing at once, with what to install, exit code 4', () => {
    const { code, stderr } = runNode(folder, text, { PATH: programs(folder, {}) });
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
    const { code, stderr } = runNode(folder, text, { PATH: programs(folder, old) });
    expect(code).toBe(4);
    expect(stderr).toContain('c++ (c++ 4.8): unrecognized option -std=c++20');
    expect(stderr).toContain('found 3.10');
    expect(stderr).toMatch(/Debian, Ubuntu: +apt-get install g\+\+ cmake\n/);
  });

  test('takes the compiler that works', () => {
    const { code, stdout } = runNode(folder, text, {
      PATH: programs(folder, {
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
    const text = `
      import { appendFileSync } from 'node:fs';
      import { withLock } from '${script('setup/lock.mjs')}';
      await withLock(${JSON.stringify(lockFile())}, () => {}, async () => {
        appendFileSync(${JSON.stringify(log)}, 'in ');
        await new Promise((go) => setTimeout(go, 20));
        appendFileSync(${JSON.stringify(log)}, 'out ');
      });`;
    writeFileSync(lockFile(), '999999999 1'); // of a process that is gone: all of them find it stale at once
    const children = Array.from({ length: 6 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: 'inherit' }),
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
    runNode(
      folder,
      `
      import { withLock } from '${script('setup/lock.mjs')}';
      await withLock(${JSON.stringify(lockFile())}, () => {}, () => process.exit(0));`,
    );
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
