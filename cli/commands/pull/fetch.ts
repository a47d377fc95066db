// `drm pull`: a repository of the hub into the shared cache, or what is there of it where the network is forbidden.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Events } from '../../common/events.js';
import {
  cachedSnapshot,
  isHubId,
  isOffline,
  type RepositoryType,
  repositoryFolder,
  staysInside,
} from '../../hub/cache.js';
import { Hub } from '../../hub/client.js';
import { byContent, type Repository } from '../../hub/download.js';
import type { RemoteFile } from '../../hub/listing.js';
import { keepReference } from '../../hub/reference.js';
import { bytes } from '../../ui/figures.js';
import { choose, PIECES } from './choose.js';
import { downloadAll, requireSpace } from './download.js';
import type { PullContext } from './options.js';

const total = (files: RemoteFile[]) => files.reduce((sum, file) => sum + file.size, 0);

/** What comes, by its purpose, and what does not. */
function tellChoice(wanted: RemoteFile[], skipped: RemoteFile[], events: Events): void {
  for (const [pattern, purpose] of PIECES) {
    const piece = wanted.filter((file) => pattern.test(file.path));
    if (piece.length > 0) events.emit({ event: 'info', message: `${bytes(total(piece)).padStart(7)}  ${purpose}` });
  }
  if (skipped.length > 0)
    events.emit({
      event: 'info',
      message: `left out: ${skipped.length} files, ${bytes(total(skipped))} (formats drm does not read, copies, or by your choice); --include GLOB fetches them`,
    });
}

/** Without a hub, what is there must do. */
function offline({ events }: PullContext, id: string, type: RepositoryType, revision: string): void {
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

export async function pull(context: PullContext): Promise<void> {
  const { args, options, events, signal } = context;
  const started = performance.now();
  const [id] = args;
  if (!isHubId(id))
    throw new DrmError('USAGE', `pull ${id}: expected a hub id such as stabilityai/stable-diffusion-3.5-medium`);
  const { repoType: type = 'model', revision = 'main' } = options;
  if (!staysInside(revision)) throw new DrmError('USAGE', `--revision ${revision}: expected a branch, tag or commit`);
  if (isOffline()) return offline(context, id, type, revision);
  // One failure ends the other downloads, which keep what they have.
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const hub = new Hub(id, type, both, (message) => events.emit({ event: 'warning', message }));
  const commit = await hub.resolveRevision(revision);
  const files = await hub.listFiles(commit);
  const { wanted, skipped } = choose(files, options.include ?? [], options.exclude ?? [], type);
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
  tellChoice(wanted, skipped, events);
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
  const { fetched, failure } = await downloadAll(repository, contents, stop, both, events);
  if (signal.aborted)
    throw new DrmError('CANCELLED', `stopped; what has arrived is kept, and \`drm pull ${id}\` goes on from there`);
  if (failure !== undefined) throw failure.error;
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
