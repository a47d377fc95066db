// What clang-tidy reads, and how it is compiled: the core's files by CMake's own commands, the addon's as binding.gyp has
// them. Rooms are those of csrc, and `binding`.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { compilerHere } from '../setup/core.mjs';
import { SetupError } from '../setup/errors.mjs';
import { ask } from '../setup/exec.mjs';
import { buildDir, coreBuildDir, root } from '../setup/paths.mjs';
import { filesUnder } from '../setup/stamp.mjs';

const csrc = join(root, 'csrc');
const addon = join(root, 'binding', 'src');

/** Of several GCCs clang takes the newest, which may have come without C++ headers: it is told the one that builds here. */
function gccFlags() {
  const { ok, out } = ask(compilerHere() ?? 'c++', ['-print-libgcc-file-name']);
  const folder = dirname(out);
  return ok && existsSync(join(folder, 'crtbegin.o')) ? [`--gcc-install-dir=${folder}`] : [];
}

/** What a compiler's command says about paths and macros; GCC's own options and its precompiled header mean nothing to clang. */
const flagsOf = (command) =>
  command.match(/(?<= )(-I\S+|-isystem \S+|-D\S+|-std=\S+)/g).flatMap((flag) => flag.split(' '));

function coreSources() {
  const path = join(coreBuildDir, 'compile_commands.json');
  if (!existsSync(path)) throw new SetupError(`[tidy] ${path} is missing: run \`npm run setup\` first.`, 2);
  return JSON.parse(readFileSync(path, 'utf8'))
    .filter(({ file }) => file.startsWith(`${csrc}/`) && file.endsWith('.cc') && existsSync(file))
    .map(({ file, command }) => ({ file, room: relative(csrc, dirname(file)), flags: flagsOf(command) }));
}

/** Those that node-gyp built the addon with. */
function nodeHeaders() {
  const path = join(root, 'binding', 'build', 'config.gypi');
  const nodedir = existsSync(path) ? /"nodedir": "([^"]+)"/.exec(readFileSync(path, 'utf8'))?.[1] : undefined;
  const headers = nodedir && join(nodedir, 'include', 'node');
  if (headers && existsSync(join(headers, 'node_api.h'))) return headers;
  throw new SetupError(
    `[tidy] ${path}: expected the folder of Node's headers that the addon was built with, found ${nodedir ?? 'none'}: run \`npm run setup\` first.`,
    2,
  );
}

function addonSources() {
  const gyp = readFileSync(join(root, 'binding', 'binding.gyp'), 'utf8');
  const defines = [...gyp.matchAll(/'((?:NAPI|NODE)_[A-Z_]+(?:=\d+)?)'/g)].map(([, name]) => `-D${name}`);
  const includes = [csrc, join(buildDir, 'addon'), addon].map((folder) => `-I${folder}`);
  const system = [join(root, 'node_modules', 'node-addon-api'), nodeHeaders()].flatMap((folder) => [
    '-isystem',
    folder,
  ]);
  const flags = [...defines, '-DDRM_CUDA=0', ...includes, ...system, '-std=c++20'];
  return filesUnder(addon, (name) => name.endsWith('.cc')).map((file) => ({ file, room: 'binding', flags }));
}

/** [{ file, room, flags }] of these rooms, of all where none is named. */
export function sources(rooms) {
  const found = [...coreSources(), ...addonSources()].sort((a, b) => (a.file < b.file ? -1 : 1));
  const unknown = rooms.find((room) => !found.some((source) => source.room === room));
  if (unknown) throw new SetupError(`[tidy] ${unknown}: expected a folder of csrc with .cc files, or binding`, 2);
  const gcc = gccFlags();
  return found
    .filter(({ room }) => rooms.length === 0 || rooms.includes(room))
    .map((source) => ({ ...source, flags: [...source.flags, ...gcc] }));
}

/** Where headers of ours are looked for. */
export const includeFolders = [csrc, addon];
