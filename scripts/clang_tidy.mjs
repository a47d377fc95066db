// clang-tidy on csrc and binding/src by .clang-tidy, a room at a time: its files stand in one translation unit, since torch's
// headers take longer than all of ours. A room whose files do not go together is read file by file. Rooms are
// skipped that have not changed since they were clean, headers they include counted.
//   node scripts/clang_tidy.mjs [room ...]     such as flow, models/sd3, binding
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { runMain, SetupError } from './setup/errors.mjs';
import { ask } from './setup/exec.mjs';
import { buildDir, coreBuildDir, root } from './setup/paths.mjs';
import { filesUnder, Stamp } from './setup/stamp.mjs';
import { capture } from './test/section.mjs';

/** Checks differ from edition to edition, and editions before 21 also read torch's own headers, which takes minutes a file. */
const EDITION = 23;
const tool = process.env.DRM_CLANG_TIDY || 'clang-tidy';
const csrc = join(root, 'csrc');
const addon = join(root, 'binding', 'src');

function checkTool() {
  const { ok, out } = ask(tool, ['--version']);
  const found = /version (\d+)/.exec(out)?.[1];
  if (!ok || Number(found) !== EDITION)
    throw new SetupError(
      `[tidy] ${tool}: expected clang-tidy ${EDITION}, found ${found ?? 'none'}. What to do: pip install clang-tidy==${EDITION}.*, or name one by DRM_CLANG_TIDY.`,
      2,
    );
}

/** What the compiler is told about paths and macros; GCC's own options and its precompiled header mean nothing to clang. */
function coreFlags() {
  const path = join(coreBuildDir, 'compile_commands.json');
  if (!existsSync(path)) throw new SetupError(`[tidy] ${path} is missing: run \`npm run setup\` first.`, 2);
  const flags = new Map();
  for (const { file, command } of JSON.parse(readFileSync(path, 'utf8')))
    flags.set(
      file,
      command.match(/(?<= )(-I\S+|-isystem \S+|-D\S+|-std=\S+)/g).flatMap((flag) => flag.split(' ')),
    );
  return flags;
}

function addonFlags() {
  const headers = [process.env.npm_config_nodedir, join(process.execPath, '..', '..')]
    .filter((folder) => folder !== undefined)
    .map((folder) => join(folder, 'include', 'node'))
    .find((folder) => existsSync(join(folder, 'node_api.h')));
  if (!headers)
    throw new SetupError(
      "[tidy] Node's headers are not beside it: name the folder with include/node by npm_config_nodedir.",
      2,
    );
  const gyp = readFileSync(join(root, 'binding', 'binding.gyp'), 'utf8');
  const defines = [...gyp.matchAll(/'((?:NAPI|NODE)_[A-Z_]+(?:=\d+)?)'/g)].map(([, name]) => `-D${name}`);
  const system = [join(root, 'node_modules', 'node-addon-api'), headers].flatMap((folder) => ['-isystem', folder]);
  return [
    ...defines,
    '-DDRM_CUDA=0',
    `-I${csrc}`,
    `-I${join(buildDir, 'addon')}`,
    `-I${addon}`,
    ...system,
    '-std=c++20',
  ];
}

/** Of a room: files with the same flags, which may stand together. */
function groupsOf(wanted) {
  const rooms = new Map();
  const add = (room, file, flags) => {
    if (wanted.length > 0 && !wanted.includes(room)) return;
    const files = rooms.get(room) ?? new Map();
    const key = JSON.stringify(flags);
    rooms.set(room, files.set(key, [...(files.get(key) ?? []), file]));
  };
  for (const [file, flags] of coreFlags())
    if (file.startsWith(`${csrc}/`) && file.endsWith('.cc') && existsSync(file))
      add(relative(csrc, dirname(file)), file, flags);
  if (wanted.length === 0 || wanted.includes('binding')) {
    const flags = addonFlags();
    for (const file of filesUnder(addon, (name) => name.endsWith('.cc'))) add('binding', file, flags);
  }
  const unknown = wanted.find((room) => !rooms.has(room));
  if (unknown) throw new SetupError(`[tidy] ${unknown}: expected a folder of csrc with .cc files, or binding`, 2);
  return rooms;
}

/** The files, and every header of ours that they include, through others too. */
function withHeaders(files) {
  const seen = new Set();
  const look = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/^#include "([^"]+)"/gm))
      for (const folder of [dirname(file), csrc, addon]) if (existsSync(join(folder, name))) look(join(folder, name));
  };
  for (const file of files) look(file);
  return [...seen].sort();
}

function read(files, flags, name) {
  const folder = join(buildDir, 'tidy');
  mkdirSync(folder, { recursive: true });
  const unit = join(folder, `${name}.cc`);
  const lines = files.map((file) => `#include "${file}"  // NOLINT(bugprone-suspicious-include)\n`);
  writeFileSync(unit, lines.join(''));
  const config = `--config-file=${join(root, '.clang-tidy')}`;
  return capture(tool, ['--quiet', config, unit, '--', ...flags, '-ferror-limit=0']);
}

const FINDING = /^(?=\S+:\d+:\d+: (?:warning|error): )/m;

/** Each finding once. */
async function findingsOf(room, groups) {
  const texts = [];
  for (const [i, [key, files]] of [...groups].entries()) {
    const flags = JSON.parse(key);
    const name = `${room.replaceAll('/', '-')}-${i}`;
    const together = await read(files, flags, name);
    if (together.code === 0) continue;
    if (!together.output.includes('[clang-diagnostic-error]')) texts.push(together.output);
    else
      for (const file of files) {
        const { code, output } = await read([file], flags, name);
        if (code !== 0) texts.push(output);
      }
  }
  const findings = texts.flatMap((text) => {
    const some = text.split(FINDING).filter((part) => part.search(FINDING) === 0);
    return some.length > 0 ? some : [text || 'clang-tidy ended without a word']; // it crashed, or was killed
  });
  return [...new Set(findings)];
}

await runMain(async () => {
  checkTool();
  const waiting = [...groupsOf(process.argv.slice(2))];
  let found = 0;
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [room, groups] = next;
      const stamp = new Stamp(`tidy-${room.replaceAll('/', '-')}`);
      const config = readFileSync(join(root, '.clang-tidy'), 'utf8');
      stamp.look(withHeaders([...groups.values()].flat()), { flags: [...groups.keys()], config });
      if (stamp.fresh()) continue;
      const started = Date.now();
      const findings = await findingsOf(room, groups);
      console.log(`  ${findings.length ? 'FAIL' : 'ok  '}  ${room} in ${Math.round((Date.now() - started) / 1000)} s`);
      for (const finding of findings) console.log(finding.trimEnd().replace(/^/gm, '        '));
      found += findings.length;
      if (findings.length === 0) stamp.save();
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  console.log(`tidy: ${found} findings`);
  return found > 0 ? 1 : 0;
});
