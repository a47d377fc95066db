// Fetching libtorch into the user's cache: from the PyTorch wheel by pip, or from an official archive by its address.
import { createReadStream, createWriteStream, existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { cachedFolders, inWorkFolder, publish } from './cache.mjs';
import { SetupError } from './errors.mjs';
import { fetchByPip, pipDownload, sha256, wheelsIn } from './pip.mjs';
import { unpackWheel, wheelRequirements } from './wheel.mjs';
import { Zip } from './zip.mjs';

/** Headers and libraries only: no Python files, none of PyTorch's own tests, no binding to Python. */
const NOT_NEEDED =
  /^torch\/lib\/lib(torch_python|shm|shm_windows|jitbackend_test|torchbind_test|backend_with_compiler|aoti_custom_ops)\b/;
const isTorchPart = (name) =>
  (/^torch\/(include|lib|share)\//.test(name) && !NOT_NEEDED.test(name)) || name === 'torch/version.py';
/** The CUDA libraries, where libtorch_cuda.so looks for them (../../nvidia relative to torch/lib), and their headers. */
const isCudaPart = (name) => /^nvidia\/(.*\.so[.\d]*|[^/]+\/include\/.+)$/.test(name);

/** Any Python's wheel has the same C++ libraries; so when there is none for this Python, one for another will do. */
async function downloadTorch(version, folder, log) {
  const attempts = [[], ['--python-version', '3.12'], ['--python-version', '3.11']];
  for (const [i, extra] of attempts.entries()) {
    try {
      return await pipDownload([`torch==${version}`], folder, log, ['--no-deps', ...extra]);
    } catch (error) {
      const noneForThisPython = /No matching distribution/.test(error.message);
      if (i === attempts.length - 1 || !noneForThisPython) throw error;
    }
  }
}

async function unpackTorch(version, work, log, say) {
  const [downloads, tree] = [join(work, 'wheels'), join(work, 'tree')];
  await downloadTorch(version, downloads, log);
  const [wheel] = wheelsIn(downloads);
  if (!wheel) throw new Error('pip reported success, but left no wheel');
  say('libtorch: unpacking and checking …');
  await unpackWheel(wheel, tree, isTorchPart);
  const mark = { wheel: wheel.slice(downloads.length + 1), sha256: await sha256(wheel) };
  // The rest of torch's requirements is Python.
  const requirements = (await wheelRequirements(wheel)).filter((name) => /^(nvidia|cuda)-/.test(name));
  await rm(wheel);
  if (existsSync(join(tree, 'torch', 'lib', 'libtorch_cuda.so'))) {
    say('libtorch: fetching the CUDA libraries it is linked with (about 2 GB) …');
    if (requirements.length > 0) await pipDownload(requirements, downloads, log);
    for (const library of wheelsIn(downloads)) await unpackWheel(library, tree, isCudaPart);
  }
  const python = readFileSync(join(tree, 'torch', 'version.py'), 'utf8');
  const build = /__version__ = '[^'+]+\+([^']+)'/.exec(python)?.[1];
  const cuda = /cuda[^=\n]*= '([\d.]+)'/.exec(python)?.[1];
  const tag = build ?? (cuda ? `cu${cuda.replaceAll('.', '')}` : 'cpu');
  return await publish(tree, `libtorch-${version}-${tag}`, mark);
}

/** { path } of a folder with include/ and lib/, or { answer } saying why not. */
export async function fetchWheel(version, say) {
  const wanted = {
    what: 'libtorch',
    prefix: `libtorch-${version}-`,
    announcement: `fetching ${version} with pip (200 MB; 900 MB for a build with CUDA) …`,
    make: (work, log) => unpackTorch(version, work, log, say),
  };
  const { path, answer } = await fetchByPip(wanted, say);
  return path ? { path: join(path, 'torch') } : { answer };
}

async function download(url, path) {
  if (url.startsWith('file:')) return await pipeline(createReadStream(fileURLToPath(url)), createWriteStream(path));
  const response = await fetch(url);
  if (!response.ok || !response.body) throw new Error(`the server answered ${response.status} ${response.statusText}`);
  await pipeline(Readable.fromWeb(response.body), createWriteStream(path));
}

async function unpackArchive(path, tree) {
  const zip = await Zip.open(path);
  try {
    for (const entry of zip.entries) {
      if (/^libtorch\/(include|lib|share)\/.*[^/]$/.test(entry.name) || entry.name === 'libtorch/build-version') {
        await zip.extract(entry, tree);
      }
    }
  } finally {
    await zip.close();
  }
}

/** The same for LIBTORCH_URL (an official libtorch zip) with LIBTORCH_SHA256; no address is built in. */
export async function fetchArchive(say) {
  const { LIBTORCH_URL: url, LIBTORCH_SHA256: expected } = process.env;
  if (!url && !expected) return { answer: 'not set' };
  if (!url || !/^[0-9a-f]{64}$/i.test(expected ?? '')) {
    throw new SetupError(
      '[setup] LIBTORCH_URL and LIBTORCH_SHA256: expected both, the second as 64 hexadecimal digits; what is fetched is only unpacked when it matches.',
    );
  }
  const name = `libtorch-archive-${expected.toLowerCase().slice(0, 16)}`;
  const [cached] = cachedFolders(name);
  if (cached) return { path: join(cached, 'libtorch') };
  return await inWorkFolder('libtorch', say, async (work) => {
    say(`libtorch: fetching ${url} …`);
    try {
      const [archive, tree] = [join(work, 'archive.zip'), join(work, 'tree')];
      await download(url, archive);
      const found = await sha256(archive);
      if (found !== expected.toLowerCase()) return { answer: `expected SHA-256 ${expected}, found ${found}` };
      await unpackArchive(archive, tree);
      return { path: join(await publish(tree, name, { url, sha256: found }), 'libtorch') };
    } catch (error) {
      return { answer: error.cause?.message ?? error.message };
    }
  });
}
