// A repository of the hub while it is being fetched: what it holds, and its files' way into the cache.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Context } from '../../common/command.js';
import { type RepositoryType, repositoryFolder } from '../../hub/cache.js';
import { Hub } from '../../hub/client.js';
import { byContent, type Repository } from '../../hub/download.js';
import type { RemoteFile } from '../../hub/listing.js';
import { keepReference } from '../../hub/reference.js';
import { downloadAll, requireSpace } from './download.js';

export const total = (files: readonly RemoteFile[]) => files.reduce((sum, file) => sum + file.size, 0);

export interface Listed {
  repository: Repository;
  revision: string;
  files: RemoteFile[];
  /** One failure ends the other downloads, which keep what they have. */
  stop: AbortController;
}

export async function listRepository(
  { id, type, revision }: { id: string; type: RepositoryType; revision: string },
  { events, signal }: Pick<Context, 'events' | 'signal'>,
): Promise<Listed> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const hub = new Hub(id, type, both, (message) => events.emit({ event: 'warning', message }));
  const commit = await hub.resolveRevision(revision);
  const files = await hub.listFiles(commit);
  return { repository: { hub, commit, folder: repositoryFolder(id, type) }, revision, files, stop };
}

/** Into the cache; `again` is the command that goes on after a break. Rejects with DISK, NETWORK or CANCELLED. */
export async function fetchFiles(
  { repository, revision, stop }: Listed,
  wanted: RemoteFile[],
  again: string,
  { events, signal }: Pick<Context, 'events' | 'signal'>,
): Promise<{ snapshot: string; fetched: number }> {
  const contents = byContent(wanted);
  await requireSpace(repository, contents);
  const { fetched, failure } = await downloadAll(repository, contents, stop, repository.hub.signal, events);
  if (signal.aborted)
    throw new DrmError('CANCELLED', `stopped; what has arrived is kept, and \`${again}\` goes on from there`);
  if (failure !== undefined) throw failure.error;
  await keepReference(repository.folder, revision, repository.commit);
  return { snapshot: join(repository.folder, 'snapshots', repository.commit), fetched };
}
