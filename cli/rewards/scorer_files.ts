// The files of a published scorer: in the folder or beside the file that a user names, else where people put them, else in
// the hub's cache. Each part is looked for by itself: a checkpoint may lie here and its tokenizer there.
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { packageRoot } from '../common/root.js';
import { cachedSnapshot } from '../hub/cache.js';
import { type Part, type PublishedScorer, placedFolder, publishedScorer, type Role } from '../hub/published.js';
import { placeOf } from './drm_files.js';

/** What makes a folder one of a tokenizer: the first two of its files in the table. */
const tokenizerNames = ({ files }: Part): string[] => files.slice(0, 2).map(({ path }) => path);

export class ScorerFiles {
  /** Which file the user named, of the part that `FILE` stands for. */
  readonly #file: string | undefined;
  readonly #folder: string | undefined;

  private constructor(
    /** As the user called the scorer. */
    private readonly called: string,
    private readonly published: PublishedScorer,
    /** The part that a named file is. */
    private readonly own: Role,
    place: string | undefined,
  ) {
    if (place === undefined) return;
    const isFolder = statSync(place).isDirectory();
    this.#file = isFolder ? undefined : place;
    this.#folder = isFolder ? place : dirname(place);
  }

  /**
   * Of the scorer `name` that the user called `called`; `place`: a folder, a file or a hub id; '' leaves it to the table.
   * Throws DrmError MISSING_WEIGHTS where a named place is not there.
   */
  static of(name: string, called: string, place: string, own: Role = 'weights'): ScorerFiles {
    const published = publishedScorer(name);
    if (!published) throw new DrmError('INTERNAL', `[score] ${name}: expected a scorer of the table`);
    const at = placeOf(place);
    if (place !== '' && at === undefined)
      throw new DrmError(
        'MISSING_WEIGHTS',
        `[score] ${called}: expected a folder or a file, found no ${place}; name another, or leave it out for the files of \`drm pull ${name}\``,
        { file: place },
      );
    return new ScorerFiles(called, published, own, at);
  }

  /** Throws DrmError MISSING_WEIGHTS saying what was looked for, where, and where it comes from. */
  file(role: Role): string {
    const found = this.optional(role);
    if (found !== undefined) return found;
    throw this.#missing(this.#part(role));
  }

  optional(role: Role): string | undefined {
    if (role === this.own && this.#file !== undefined) return this.#file;
    const part = this.#part(role);
    for (const folder of this.#folders(part))
      for (const { path } of part.files) if (existsSync(join(folder, path))) return join(folder, path);
    return undefined;
  }

  /** The sizes: beside the weights, or of the published shape, `shape` in configs/scorers. */
  config(shape: string): string {
    return this.optional('config') ?? join(packageRoot, `configs/scorers/${shape}.json`);
  }

  /** A folder; in the user's own it may be one inside. */
  tokenizer(): string {
    const part = this.#part('tokenizer');
    for (const folder of this.#folders(part))
      for (const at of [join(folder, 'tokenizer'), folder])
        if (tokenizerNames(part).some((name) => existsSync(join(at, name)))) return at;
    throw this.#missing(part);
  }

  #part(role: Role): Part {
    const found = this.published.parts.find((part) => part.role === role);
    if (found) return found;
    throw new DrmError('INTERNAL', `[score] ${this.published.name}: expected a ${role} in the table`);
  }

  #folders({ hub = [] }: Part): string[] {
    const cached = hub.flatMap((id) => cachedSnapshot(id) ?? []);
    return [...(this.#folder === undefined ? [] : [this.#folder]), placedFolder(this.published.name), ...cached];
  }

  #missing(part: Part): DrmError {
    const { name } = this.published;
    const { role, what, files, hub, elsewhere } = part;
    const names = role === 'tokenizer' ? tokenizerNames(part) : files.map(({ path }) => path);
    const places = [
      ...(this.#folder === undefined ? [] : [this.#folder]),
      placedFolder(name),
      ...(hub ? [`the hub cache's ${hub[0]}`] : []),
    ];
    const advice = elsewhere
      ? `${elsewhere}; put it into ${placedFolder(name)}, or name its place with ${name}:FOLDER`
      : `run \`drm pull ${name}\`, or name its place with ${name}:FOLDER`;
    return new DrmError(
      'MISSING_WEIGHTS',
      `[score] ${this.called}: expected ${what} (${names.join(' or ')}), found none in ${places.join(', ')}; ${advice}`,
      { scorer: name, part: role },
    );
  }
}
