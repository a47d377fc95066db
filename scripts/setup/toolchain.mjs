// What must already be on the machine: a C++20 compiler, CMake, make or Ninja, and Python 3 (node-gyp is generated with
// it). All that is missing is listed at once.
import { existsSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { SetupError } from './errors.mjs';
import { ask } from './exec.mjs';

const INSTALL = {
  compiler: { debian: 'g++', fedora: 'gcc-c++', macos: 'xcode-select --install' },
  cmake: { debian: 'cmake', fedora: 'cmake', macos: 'brew install cmake' },
  make: { debian: 'make', fedora: 'make', macos: 'xcode-select --install' },
  python: { debian: 'python3', fedora: 'python3', macos: 'xcode-select --install' },
};

function compilesCxx20(compiler) {
  const folder = mkdtempSync(join(tmpdir(), 'drm-compiler-'));
  try {
    const source = join(folder, 'probe.cc');
    writeFileSync(source, '#include <concepts>\n#include <span>\ntemplate <std::integral T> T one() { return 1; }\n');
    return ask(compiler, ['-std=c++20', '-fsyntax-only', source]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function findCompiler() {
  const tried = [];
  for (const compiler of process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']) {
    const version = ask(compiler, ['--version']);
    if (!version.ok) {
      tried.push(`${compiler}: not found`);
      continue;
    }
    const probe = compilesCxx20(compiler);
    if (probe.ok) return { found: { command: compiler, version: version.out.split('\n')[0] } };
    tried.push(`${compiler} (${version.out.split('\n')[0]}): ${probe.err.split('\n')[0]}`);
  }
  return { missing: `a C++ compiler that accepts -std=c++20, such as GCC 12 or Clang 16 (${tried.join('; ')})` };
}

function findCmake() {
  const { ok, out } = ask('cmake', ['--version']);
  const version = /version (\d+)\.(\d+)/.exec(out);
  if (!ok || !version) return { missing: 'CMake 3.20 or newer (cmake: not found)' };
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (major > 3 || (major === 3 && minor >= 20)) return { found: out.split('\n')[0] };
  return { missing: `CMake 3.20 or newer (found ${major}.${minor})` };
}

function installAdvice(names) {
  const packages = (system) => [...new Set(names.map((name) => INSTALL[name][system]))];
  return [
    `  Debian, Ubuntu:  apt-get install ${packages('debian').join(' ')}`,
    `  Fedora:          dnf install ${packages('fedora').join(' ')}`,
    `  macOS:           ${packages('macos').join(' && ')}`,
  ].join('\n');
}

/** { compiler: {command, version}, generator } or a SetupError that names everything missing. */
export function checkToolchain() {
  const missing = [];
  const lacking = (name, text) => missing.push({ name, text });
  const compiler = findCompiler();
  if (!compiler.found) lacking('compiler', compiler.missing);
  const cmake = findCmake();
  if (!cmake.found) lacking('cmake', cmake.missing);
  const ninja = ask('ninja', ['--version']).ok;
  // node-gyp always needs make; Ninja only speeds up the core.
  if (!ask('make', ['--version']).ok) lacking('make', 'make (not found)');
  if (!ask('python3', ['--version']).ok) lacking('python', 'Python 3, which node-gyp needs while building (not found)');
  if (missing.length > 0) {
    throw new SetupError(
      [
        '[setup] This machine lacks what the native part is built with:',
        ...missing.map(({ text }) => `  - ${text}`),
        'Install it, then run the same command again:',
        installAdvice(missing.map(({ name }) => name)),
      ].join('\n'),
    );
  }
  return { compiler: compiler.found, generator: ninja ? 'Ninja' : 'Unix Makefiles' };
}

/**
 * The nvcc that csrc/cuda/toolkit.cmake finds, as "path modified", or empty: whether it is of use is decided there. Asked
 * at every run, so that kernels are built once a toolkit has been installed.
 */
export function nvccHere(env = process.env) {
  const folders = [env.CUDA_HOME, env.CUDA_PATH].filter(Boolean).map((home) => join(home, 'bin'));
  folders.push(...(env.PATH ?? '').split(delimiter), '/usr/local/cuda/bin');
  const found = folders.map((folder) => join(folder, 'nvcc')).find((path) => existsSync(path));
  return found ? `${realpathSync(found)} ${statSync(found).mtimeMs}` : '';
}

/** Throws when this Node is too old; the only check that every run makes. */
export function checkNode() {
  const major = Number.parseInt(process.versions.node, 10);
  if (major >= 20) return;
  throw new SetupError(
    `[setup] Node: expected version 20 or newer, found ${process.versions.node}. Install a current Node (nodejs.org) and run the same command again.`,
  );
}
