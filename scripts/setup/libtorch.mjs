// Where libtorch comes from. Found once, recorded in build/libtorch.json, searched again only when that no longer holds.
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SetupError } from './errors.mjs';
import { ask } from './exec.mjs';
import { fetchArchive, fetchWheel } from './fetch.mjs';
import { libtorchRecord, sharedLibrary } from './paths.mjs';

export const WANTED_VERSION = '2.13.0';
const OLDEST = [2, 11];
const NEWEST = [2, 14];

function supported([major, minor]) {
  const order = ([a, b]) => a * 1000 + b;
  return order([major, minor]) >= order(OLDEST) && order([major, minor]) <= order(NEWEST);
}
const supportedText = `${OLDEST.join('.')} to ${NEWEST.join('.')}`;

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** { version: [2, 13, 0], build: '2.13.0+cpu' } of the libtorch in `path`, or undefined when there is none. */
export function describe(path) {
  if (!existsSync(join(path, 'lib', sharedLibrary('torch_cpu')))) return undefined;
  const header = ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h']
    .map((file) => read(join(path, 'include', file)))
    .find((text) => /define TORCH_VERSION_MAJOR \d/.test(text));
  if (!header) return undefined;
  const part = (name) => Number(new RegExp(`define TORCH_VERSION_${name} (\\d+)`).exec(header)?.[1] ?? 0);
  const version = [part('MAJOR'), part('MINOR'), part('PATCH')];
  const build =
    /__version__ = '([^']+)'/.exec(read(join(path, 'version.py')))?.[1] ?? read(join(path, 'build-version')).trim();
  return { version, build: build || version.join('.') };
}

/** Changes when the library is replaced in place, for example by an upgrade of the Python package. */
function fingerprint(path) {
  return ['torch', 'torch_cpu', 'c10', 'torch_cuda']
    .map((name) => join(path, 'lib', sharedLibrary(name)))
    .filter((file) => existsSync(file))
    .map((file) => {
      const { size, mtimeMs } = statSync(file);
      return `${file} ${size} ${mtimeMs}`;
    })
    .join('\n');
}

function record(path, found, source) {
  return { path, version: found.version.join('.'), build: found.build, source, fingerprint: fingerprint(path) };
}

/** The last answer, when it still stands. */
export function recordedLibtorch() {
  let known;
  try {
    known = JSON.parse(readFileSync(libtorchRecord, 'utf8'));
  } catch {
    return undefined;
  }
  if (process.env.LIBTORCH && resolve(process.env.LIBTORCH) !== known.path) return undefined;
  return known.fingerprint && fingerprint(known.path) === known.fingerprint ? known : undefined;
}

function fromEnvironment() {
  const asked = process.env.LIBTORCH;
  if (!asked) return { answer: 'not set' };
  const path = resolve(asked);
  const found = describe(path);
  // What a user asks for by name is used or refused, never passed over.
  if (!found) {
    throw new SetupError(
      `[setup] LIBTORCH=${asked}: expected a folder with include/ and lib/${sharedLibrary('torch_cpu')}, found ${
        existsSync(path) ? 'no libtorch in it' : 'no such folder'
      }. Point it at an unpacked libtorch or at the torch folder of a Python installation, or unset it.`,
    );
  }
  if (!supported(found.version)) {
    throw new SetupError(
      `[setup] LIBTORCH=${asked}: expected libtorch ${supportedText}, found ${found.build}. Point it at a supported version, or unset it to let setup fetch ${WANTED_VERSION}.`,
    );
  }
  return { libtorch: record(path, found, 'LIBTORCH') };
}

function fromPython() {
  // find_spec does not import torch, which would take seconds.
  const question =
    "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
  const { ok, out, err } = ask('python3', ['-c', question]);
  if (!ok) return { answer: `python3 cannot be asked: ${err.split('\n').at(-1)}` };
  if (!out) return { answer: 'python3 has no torch' };
  const found = describe(out);
  if (!found) return { answer: `${out} lacks headers or libraries` };
  if (!supported(found.version)) return { answer: `${out} is ${found.build}, expected ${supportedText}` };
  return { libtorch: record(out, found, 'python') };
}

function fetched(path, source) {
  const found = describe(path);
  if (!found) throw new SetupError(`[setup] ${path}: unpacked, but holds no libtorch; delete it and try again.`);
  return { libtorch: record(path, found, source) };
}

async function fromPip(say) {
  const { path, answer } = await fetchWheel(WANTED_VERSION, say);
  return path ? fetched(path, 'pip') : { answer };
}

async function fromArchive(say) {
  const { path, answer } = await fetchArchive(say);
  return path ? fetched(path, 'archive') : { answer };
}

/** The libtorch to build with: { path, version, build, source, fingerprint }. */
export async function findLibtorch(say) {
  const known = recordedLibtorch();
  if (known) return known;
  const ways = [
    ['LIBTORCH (a folder with include/ and lib/)', fromEnvironment],
    [`an installed torch of python3 (${supportedText})`, fromPython],
    [`python3 -m pip download torch==${WANTED_VERSION}`, fromPip],
    ['LIBTORCH_URL and LIBTORCH_SHA256 (an official libtorch archive)', fromArchive],
  ];
  const answers = [];
  for (const [name, way] of ways) {
    const { libtorch, answer } = await way(say);
    if (libtorch) {
      mkdirSync(dirname(libtorchRecord), { recursive: true });
      const draft = `${libtorchRecord}.${process.pid}`;
      writeFileSync(draft, `${JSON.stringify(libtorch, null, 2)}\n`);
      renameSync(draft, libtorchRecord);
      say(`libtorch: ${libtorch.build} from ${libtorch.path}`);
      return libtorch;
    }
    answers.push(`  ${answers.length + 1}. ${name}: ${answer}`);
  }
  throw new SetupError(
    [
      '[setup] libtorch, the tensor library, was not found and could not be fetched. Looked in this order:',
      ...answers,
      'Any one of them will do. The shortest: install pip for python3, or unpack libtorch yourself and set LIBTORCH to its folder.',
    ].join('\n'),
  );
}
