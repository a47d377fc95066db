// `drm pull`: a repository of the hub into the shared cache, or what is there of it where the network is forbidden.
import { DrmError } from '../../../binding/error.js';
import type { Events } from '../../common/events.js';
import { nearest } from '../../common/nearest.js';
import { cachedSnapshot, isHubId, isOffline, type RepositoryType, staysInside } from '../../hub/cache.js';
import type { RemoteFile } from '../../hub/listing.js';
import { PUBLISHED, publishedScorer } from '../../hub/published.js';
import { bytes } from '../../ui/figures.js';
import { choose, PIECES } from './choose.js';
import type { PullContext } from './options.js';
import { fetchFiles, listRepository, total } from './repository.js';
import { pullScorer } from './scorer.js';

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

function unknown(id: string): DrmError {
  const names = PUBLISHED.map(({ name }) => name);
  const guess = nearest(id, names);
  return new DrmError(
    'USAGE',
    `pull ${id}: expected a hub id such as stabilityai/stable-diffusion-3.5-medium, or a scorer (${names.join(', ')})${guess ? `; did you mean ${guess}?` : ''}`,
  );
}

export async function pull(context: PullContext): Promise<void> {
  const { args, options, events } = context;
  const started = performance.now();
  const [id] = args;
  const scorer = publishedScorer(id);
  if (scorer) return pullScorer(scorer, context);
  if (!isHubId(id)) throw unknown(id);
  const { repoType: type = 'model', revision = 'main' } = options;
  if (!staysInside(revision)) throw new DrmError('USAGE', `--revision ${revision}: expected a branch, tag or commit`);
  if (isOffline()) return offline(context, id, type, revision);
  const listed = await listRepository({ id, type, revision }, context);
  const { files } = listed;
  const { commit } = listed.repository;
  const { wanted, skipped } = choose(files, options.include ?? [], options.exclude ?? [], type);
  if (wanted.length === 0)
    throw new DrmError(
      'USAGE',
      `pull ${id}: no file of the ${files.length} there matches; they are ${files
        .slice(0, 8)
        .map((file) => file.path)
        .join(', ')}${files.length > 8 ? ', …' : ''}`,
    );
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
  const { snapshot, fetched } = await fetchFiles(listed, wanted, `drm pull ${id}`, context);
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
