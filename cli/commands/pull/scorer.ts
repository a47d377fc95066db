// `drm pull pickscore`: a published scorer by its name. Which files of which repositories the table says (hub/published.ts);
// what the hub does not have is named with the place where people get it and the one where they put it.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { cachedSnapshot, isOffline } from '../../hub/cache.js';
import type { RemoteFile } from '../../hub/listing.js';
import { type Part, type PublishedFile, type PublishedScorer, placedFolder } from '../../hub/published.js';
import { bytes } from '../../ui/figures.js';
import type { PullContext } from './options.js';
import { fetchFiles, type Listed, listRepository, total } from './repository.js';

/** What is to come from one repository. */
interface Share {
  listed: Listed;
  wanted: RemoteFile[];
}

/** A part that is neither here nor on the hub. */
interface Lack {
  part: Part;
  where: string;
}

const nameOf = ({ files }: Part): string => files[0]?.path ?? '';

/** Throws DrmError BAD_FILE for a file that is not the published one. */
async function expectPublished(file: string, { path, bytes: size, sha256 }: PublishedFile): Promise<void> {
  const bad = (expected: string, found: string) =>
    new DrmError(
      'BAD_FILE',
      `[pull] ${file}: expected ${path} as it is published, ${expected}, found ${found}; get it again, or give another file by its place (NAME:FILE)`,
      { file },
    );
  const found = statSync(file).size;
  if (size !== undefined && found !== size) throw bad(`${size} bytes`, `${found}`);
  if (sha256 === undefined) return;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  const digest = hash.digest('hex');
  if (digest !== sha256) throw bad(`sha256 ${sha256}`, digest);
}

/** Before anything is fetched: a repository may have changed since the table was made. */
function expectListed(id: string, { path, size, hash, lfs }: RemoteFile, part: Part): void {
  const known = part.files.find((file) => file.path === path);
  const differs = known?.bytes !== undefined && known.bytes !== size;
  if (!differs && (known?.sha256 === undefined || !lfs || known.sha256 === hash)) return;
  throw new DrmError(
    'BAD_FILE',
    `[pull] ${id}: expected ${path} as it is published (${known?.bytes} bytes, sha256 ${known?.sha256}), found ${size} bytes, ${hash}; nothing was fetched: fetch it by \`drm pull ${id}\` if you trust it, and name its place`,
    { id, file: path },
  );
}

/** Of a repository's files those of a part: one of the alternatives with its shards, or a tokenizer's all. */
function filesOf({ role, files }: Part, listed: readonly RemoteFile[]): RemoteFile[] {
  const at = (path: string) => listed.find((file) => file.path === path);
  const found = files.flatMap(({ path }) => at(path) ?? []);
  if (role === 'tokenizer') return found;
  const [first] = found;
  if (!first) return [];
  const shard = /^model-\d+-of-\d+\.safetensors$/;
  return first.path.endsWith('.index.json') ? [first, ...listed.filter(({ path }) => shard.test(path))] : [first];
}

const placedFile = (name: string, part: Part): PublishedFile | undefined =>
  part.files.find(({ path }) => existsSync(join(placedFolder(name), path)));

class ScorerPull {
  readonly #listed = new Map<string, Promise<Listed>>();
  readonly shares = new Map<string, Share>();
  readonly lacks: Lack[] = [];

  constructor(
    private readonly scorer: PublishedScorer,
    private readonly context: PullContext,
  ) {}

  tell(message: string): void {
    this.context.events.emit({ event: 'info', message });
  }

  /** Where the part is or comes from. */
  async plan(part: Part): Promise<void> {
    const { name } = this.scorer;
    const { what, hub = [], elsewhere, optional } = part;
    const placed = placedFile(name, part);
    if (placed) {
      const file = join(placedFolder(name), placed.path);
      await expectPublished(file, placed);
      return this.tell(`${bytes(statSync(file).size).padStart(7)}  ${what}: ${file}`);
    }
    for (const id of hub) if (await this.#planFrom(id, part)) return;
    if (optional) return;
    const where = elsewhere
      ? `${elsewhere}; put it into ${placedFolder(name)}`
      : `none of ${hub.join(', ')} has it any more; name its place with ${name}:FOLDER`;
    this.lacks.push({ part, where });
  }

  async #planFrom(id: string, part: Part): Promise<boolean> {
    if (isOffline()) {
      const snapshot = cachedSnapshot(id);
      const found = snapshot && part.files.find(({ path }) => existsSync(join(snapshot, path)));
      if (found) this.tell(`${part.what}: ${join(snapshot, found.path)}`);
      return found !== undefined;
    }
    const listing = this.#listed.get(id) ?? listRepository({ id, type: 'model', revision: 'main' }, this.context);
    this.#listed.set(id, listing);
    const listed = await listing;
    const wanted = filesOf(part, listed.files);
    for (const file of wanted) expectListed(id, file, part);
    if (wanted.length === 0) return false;
    const share = this.shares.get(id) ?? { listed, wanted: [] };
    share.wanted.push(...wanted.filter((file) => !share.wanted.includes(file)));
    this.shares.set(id, share);
    this.tell(`${bytes(total(wanted)).padStart(7)}  ${part.what}: ${wanted[0]?.path} of ${id}`);
    return true;
  }
}

/** Throws DrmError MISSING_WEIGHTS at the end where something must be got by hand. */
export async function pullScorer(scorer: PublishedScorer, context: PullContext): Promise<void> {
  const { options, events } = context;
  const { name, licence, parts } = scorer;
  const started = performance.now();
  const given = (['include', 'exclude', 'revision', 'repoType'] as const).find((key) => options[key] !== undefined);
  if (given !== undefined)
    throw new DrmError(
      'USAGE',
      `pull ${name}: expected no --${given === 'repoType' ? 'repo-type' : given}, since the scorer says what it needs; name a repository to choose`,
    );
  events.emit({ event: 'started', version: 1, command: 'pull', facts: { scorer: name, licence } });
  if (isOffline())
    events.emit({
      event: 'warning',
      message: 'HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set: nothing is fetched, nor compared with the hub',
    });
  const plan = new ScorerPull(scorer, context);
  for (const part of parts) await plan.plan(part);
  const folders: Record<string, string> = {};
  let fetched = 0;
  for (const [id, { listed, wanted }] of options.dryRun ? [] : plan.shares) {
    const got = await fetchFiles(listed, wanted, `drm pull ${name}`, context);
    folders[id] = got.snapshot;
    fetched += got.fetched;
  }
  const files = [...plan.shares].flatMap(([id, { wanted }]) => wanted.map(({ path, size }) => ({ id, path, size })));
  const text = files.map(({ id, path, size }) => `${bytes(size).padStart(7)}  ${id} ${path}`).join('\n');
  if (files.length > 0) events.emit({ event: 'result', text, data: { scorer: name, files, folders, fetched } });
  if (plan.lacks.length > 0) throw lacking(name, plan.lacks);
  const seconds = (performance.now() - started) / 1000;
  events.emit({ event: 'done', seconds, facts: { fetched, 'use it with': `--scorer ${name}` } });
}

function lacking(name: string, lacks: readonly Lack[]): DrmError {
  const list = lacks.map(({ part, where }) => `${part.what} (${nameOf(part)}): ${where}`).join('. And ');
  return new DrmError(
    'MISSING_WEIGHTS',
    `pull ${name}: expected all of its files, and must leave ${lacks.length} to you: ${list}; then run this again, which checks what is there`,
    { scorer: name },
  );
}
