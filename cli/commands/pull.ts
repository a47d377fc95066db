import { readFile, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import picomatch from 'picomatch';
import { DrmError } from '../../binding/error.js';
import type { Command, Context } from '../common/command.js';
import { makeFolder, sweepUnfinished, writeAtomically } from '../common/files.js';
import {
  cachedSnapshot,
  isHubId,
  isOffline,
  type RepositoryType,
  repositoryFolder,
  staysInside,
} from '../hub/cache.js';
import { Hub } from '../hub/client.js';
import { byContent, bytesAbsent, type Content, cacheError, download, type Repository } from '../hub/download.js';
import type { RemoteFile } from '../hub/listing.js';
import { bytes } from '../ui/figures.js';

const AT_ONCE = 4;

/** Formats that drm never reads, and the original single files that repeat what the folders hold. */
const NEVER_READ = /\.(bin|ckpt|pt|pth|msgpack|h5|onnx|onnx_data|gguf|tflite|ot)$/;

const PIECES: [RegExp, string][] = [
  [/^transformer\//, 'transformer, the denoising network: needed'],
  [/^vae\//, 'VAE, turns latents into images: needed'],
  [/^text_encoder\//, 'CLIP-L, reads the prompt: needed'],
  [/^text_encoder_2\//, 'CLIP-G, reads the prompt: needed'],
  [/^text_encoder_3\//, "T5, reads long prompts: optional (--exclude 'text_encoder_3/*' does without it)"],
  [/^tokenizer/, 'tokenizers: needed (tokenizer_3 only with T5)'],
];

const total = (files: RemoteFile[]) => files.reduce((sum, file) => sum + file.size, 0);

/** The files that a user of drm wants, and a word on those left out. */
export function choose(
  files: RemoteFile[],
  include: string[],
  exclude: string[],
  type: RepositoryType,
): { wanted: RemoteFile[]; skipped: RemoteFile[] } {
  const named = include.length > 0 ? picomatch(include, { dot: true, bash: true }) : undefined;
  const unwanted = exclude.length > 0 ? picomatch(exclude, { dot: true, bash: true }) : undefined;
  const isFolder = files.some((file) => file.path === 'model_index.json');
  const byDefault = (path: string) =>
    type === 'dataset' ||
    (!NEVER_READ.test(path) && !(isFolder && /^[^/]+\.safetensors$/.test(path)) && !path.startsWith('text_encoders/'));
  const wanted = files.filter(({ path }) => (named ? named(path) : byDefault(path)) && !unwanted?.(path));
  return { wanted, skipped: files.filter((file) => !wanted.includes(file)) };
}

/** Makes the repository's folder, if anything is to come. Throws DrmError DISK when it cannot be, or has too little space. */
async function requireSpace(repository: Repository, contents: Content[]): Promise<void> {
  const { folder } = repository;
  let needed = 0;
  for (const content of contents) needed += await bytesAbsent(repository, content);
  if (needed === 0) return;
  try {
    await makeFolder(folder);
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < needed)
      throw new DrmError(
        'DISK',
        `[pull] ${folder}: expected ${bytes(needed)} of free space, found ${bytes(bavail * bsize)}; free some, or set HF_HOME to another disk`,
        { file: folder },
      );
  } catch (error) {
    throw cacheError(folder, error);
  }
}

/** What the revision's name stands for, for those who look it up without the hub. Nothing is written where it is known. */
async function keepReference(folder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return;
  const file = join(folder, 'refs', revision);
  if ((await readFile(file, 'utf8').catch(() => '')) === commit) return;
  try {
    await makeFolder(dirname(file));
  } catch (error) {
    throw cacheError(file, error);
  }
  await sweepUnfinished(dirname(file), [basename(file)]);
  try {
    await writeAtomically(file, commit, ', or set HF_HOME to another folder');
  } catch (error) {
    // Another pull may have swept ours away, and then writes the same.
    if ((await readFile(file, 'utf8').catch(() => '')) !== commit) throw error;
  }
}

/** Without a hub, what is there must do. */
function offline({ events }: Context, id: string, type: RepositoryType, revision: string): void {
  events.emit({ event: 'started', version: 1, command: 'pull', facts: { id, revision } });
  const folder = cachedSnapshot(id, revision, type);
  if (folder === undefined)
    throw new DrmError(
      'MISSING_WEIGHTS',
      `pull ${id}: HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network, and the cache has no ${id} at ${revision}; unset it to fetch`,
      { id },
    );
  events.emit({
    event: 'warning',
    message: 'HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set: nothing is fetched, nor compared with the hub',
  });
  events.emit({ event: 'result', text: folder, data: { id, revision, folder, fetched: 0 } });
  events.emit({ event: 'done', seconds: 0, facts: { fetched: 0 } });
}

async function pull(context: Context): Promise<void> {
  const { args, options, events, signal } = context;
  const started = performance.now();
  const id = String(args[0]);
  if (!isHubId(id))
    throw new DrmError('USAGE', `pull ${id}: expected a hub id such as stabilityai/stable-diffusion-3.5-medium`);
  const type = (options.repoType ?? 'model') as RepositoryType;
  const revision = String(options.revision ?? 'main');
  if (!staysInside(revision)) throw new DrmError('USAGE', `--revision ${revision}: expected a branch, tag or commit`);
  if (isOffline()) return offline(context, id, type, revision);
  // One failure ends the other downloads, which keep what they have.
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const hub = new Hub(id, type, both, (message) => events.emit({ event: 'warning', message }));
  const commit = await hub.resolveRevision(revision);
  const files = await hub.listFiles(commit);
  const { wanted, skipped } = choose(
    files,
    (options.include as string[] | undefined) ?? [],
    (options.exclude as string[] | undefined) ?? [],
    type,
  );
  if (wanted.length === 0)
    throw new DrmError(
      'USAGE',
      `pull ${id}: no file of the ${files.length} there matches; they are ${files
        .slice(0, 8)
        .map((file) => file.path)
        .join(', ')}${files.length > 8 ? ', …' : ''}`,
    );
  const repository: Repository = { hub, commit, folder: repositoryFolder(id, type) };
  events.emit({
    event: 'started',
    version: 1,
    command: 'pull',
    facts: { id, revision, commit: commit.slice(0, 12), files: wanted.length, size: bytes(total(wanted)) },
  });
  for (const [pattern, purpose] of PIECES) {
    const piece = wanted.filter((file) => pattern.test(file.path));
    if (piece.length > 0) events.emit({ event: 'info', message: `${bytes(total(piece)).padStart(7)}  ${purpose}` });
  }
  if (skipped.length > 0)
    events.emit({
      event: 'info',
      message: `left out: ${skipped.length} files, ${bytes(total(skipped))} (formats drm does not read, copies, or by your choice); --include GLOB fetches them`,
    });
  if (options.dryRun) {
    events.emit({
      event: 'result',
      text: wanted.map((file) => `${bytes(file.size).padStart(7)}  ${file.path}`).join('\n'),
      data: { id, commit, files: wanted },
    });
    return;
  }
  const contents = byContent(wanted);
  await requireSpace(repository, contents);

  const queue = contents.sort((a, b) => b.size - a.size);
  let first: unknown;
  let fetched = 0;
  const worker = async () => {
    for (let content = queue.shift(); content && !both.aborted; content = queue.shift()) {
      const { size } = content;
      const [path] = content.paths;
      const begin = performance.now();
      let told = 0;
      try {
        const result = await download(repository, content, (have) => {
          const now = performance.now();
          if (have < size && now - told < 100) return;
          told = now;
          events.emit({
            event: 'progress',
            id: path,
            label: path,
            step: have,
            total: size,
            unit: 'B',
            seconds: (now - begin) / 1000,
          });
        });
        if (result === 'fetched') fetched += 1;
      } catch (error) {
        first ??= error;
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (signal.aborted)
    throw new DrmError('CANCELLED', `stopped; what has arrived is kept, and \`drm pull ${id}\` goes on from there`);
  if (first !== undefined) throw first;
  await keepReference(repository.folder, revision, commit);
  const snapshot = join(repository.folder, 'snapshots', commit);
  events.emit({
    event: 'result',
    text: snapshot,
    data: { id, revision, commit, folder: snapshot, fetched, present: wanted.length - fetched },
  });
  events.emit({
    event: 'done',
    seconds: (performance.now() - started) / 1000,
    facts: { fetched, 'there already': wanted.length - fetched },
  });
}

export const command: Command = {
  name: 'pull',
  summary: 'fetch a model or data set from the Hugging Face hub into the shared cache',
  examples: [
    {
      command: 'drm pull stabilityai/stable-diffusion-3.5-medium',
      does: 'all that sampling needs; run it again to go on after a break',
    },
    {
      command: "drm pull stabilityai/stable-diffusion-3.5-medium --exclude 'text_encoder_3/*'",
      does: 'without T5, which saves some 9.5 GB',
    },
    { command: 'drm pull MizzenAI/HPDv3 --repo-type dataset --dry-run', does: 'lists files and sizes only' },
  ],
  arguments: [{ name: '<id>', description: 'org/name on the hub' }],
  options: [
    { flags: '--revision <name>', description: 'branch, tag or commit', default: 'main' },
    { flags: '--include <glob>', description: 'only these files; may be repeated', repeatable: true },
    { flags: '--exclude <glob>', description: 'not these files; may be repeated', repeatable: true },
    { flags: '--repo-type <type>', description: 'what the id names', choices: ['model', 'dataset'], default: 'model' },
    { flags: '--dry-run', description: 'list what would be fetched' },
  ],
  makesFiles: () => true,
  run: pull,
};
