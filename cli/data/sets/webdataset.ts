// WebDataset archives of others: tars (also gzipped) in which neighbouring members of one base name are a sample.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { decodeText, isObject, type JsonObject, parseJson } from '../../common/json.js';
import { chunksOf, Link, memberPath, membersOf } from '../io/archive.js';
import { Drop, LARGEST_FILE } from '../io/drop.js';
import { LARGEST_LINE } from '../io/jsonl.js';
import type { Planned, Source } from '../prepared/source.js';
import { ImageArchive } from './images_at.js';
import { CAPTION, fieldOf } from './user_fields.js';
import { describe, keyOf, makeSample, settingsOf, type UserOptions } from './user_images.js';

interface Group {
  key: string;
  /** By ending. */
  members: Map<string, Uint8Array>;
  /** Bytes of the members together. */
  held: number;
  /** Endings of all members for messages, and how many more there are. */
  names: string[];
  more: number;
  fault?: Drop;
}

/** Named in messages at most. */
const NAMES = 12;
/** Of an archive; more are missing members. */
const MOST_LINKS = 1 << 20;

/** Members of one sample that are kept, together. */
const LARGEST_SAMPLE = LARGEST_FILE;

const IMAGE = /^(.+\.)?(jpe?g|png|webp|gif|tiff?|avif|img|image)$/;
const RECORD = /^(.+\.)?json$/;
const TEXT = /^(.+\.)?(txt|caption|text)$/;
const KEPT = [IMAGE, RECORD, TEXT];

/**
 * WebDataset's rule: a name is cut at the first dot of its last part, and its ending counts in any case; names such as
 * __index__ are for the archive.
 */
function partsOf(name: string): { key: string; ending: string } | undefined {
  const [, key, ending] = /^((?:.*\/)?[^/.]+)\.([^/]+)$/s.exec(name) ?? [];
  if (key === undefined || ending === undefined || /^__[^/]*__($|\/)/.test(name)) return undefined; // README, .DS_Store
  return { key, ending: ending.toLowerCase() };
}

/** Neighbours of one key are one sample. What is neither image nor text is named, but not read. */
async function* groupsOf(file: string): AsyncGenerator<Group | Drop> {
  let group: Group | undefined;
  const links = new LinkedMembers(file);
  const isKept = (ending: string) => KEPT.some((kind) => kind.test(ending));
  const isWanted = (name: string) => {
    const parts = partsOf(name);
    return parts !== undefined && (isKept(parts.ending) || 'name');
  };
  try {
    for await (const member of membersOf(chunksOf([file]), basename(file), isWanted)) {
      if (member instanceof Drop) {
        if (group) yield group;
        group = undefined;
        yield member;
        continue;
      }
      const { key, ending } = partsOf(member.name) as { key: string; ending: string };
      if (group && group.key !== key) yield group;
      if (group?.key !== key) group = { key, members: new Map(), held: 0, names: [], more: 0 };
      const where = `${basename(file)}, ${member.name}`;
      if (group.names.length < NAMES) group.names.push(ending);
      else group.more += 1;
      if (group.fault || !isKept(ending)) continue;
      const bytes = member instanceof Link ? await links.read(member.name) : (member.bytes as Buffer | Drop);
      group.held += bytes instanceof Drop ? 0 : bytes.length;
      if (bytes instanceof Drop) group.fault = bytes;
      else if (group.members.has(ending)) group.fault = new Drop('duplicate_member', where);
      else if (group.held > LARGEST_SAMPLE)
        group.fault = new Drop('too_large', `${where}: with it the sample is larger than ${LARGEST_SAMPLE} bytes`);
      else group.members.set(ending, bytes);
      if (group.fault) group.members.clear();
    }
    if (group) yield group;
  } finally {
    await links.close();
  }
}

/** What links of an archive lead to: found by reading it again, when there is a link. */
class LinkedMembers {
  #archive: Promise<ImageArchive> | undefined;
  #folder: string | undefined;

  constructor(private readonly file: string) {}

  async #open(): Promise<ImageArchive> {
    const names: string[] = [];
    for await (const member of membersOf(
      chunksOf([this.file]),
      this.file,
      (name) => partsOf(name) !== undefined && 'name',
    ))
      if (member instanceof Link && names.length < MOST_LINKS) names.push(member.name);
    this.#folder = await mkdtemp(join(tmpdir(), 'drm-links-'));
    const archive = new ImageArchive([this.file], this.#folder);
    const listing = { isDone: () => false, most: 0, signal: new AbortController().signal, onProgress: () => {} };
    // A damaged archive is told of by the reading that this one helps; what precedes the damage is there.
    await archive.stage(names.map(memberPath), listing).catch(() => {});
    return archive;
  }

  async read(name: string): Promise<Uint8Array | Drop> {
    this.#archive ??= this.#open();
    return (await this.#archive).read(memberPath(name));
  }

  async close(): Promise<void> {
    await (await this.#archive)?.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Members whose ending is exactly of that kind, else those whose ending ends so: jpg before input.jpg. */
function membersOfKind(endings: Iterable<string>, kind: RegExp): string[] {
  const found = [...endings].filter((ending) => kind.test(ending));
  const plain = found.filter((ending) => !ending.includes('.'));
  return plain.length > 0 ? plain : found;
}

function recordOf(group: Group, where: string): { record: JsonObject; image: Uint8Array } | Drop {
  const { members, fault, names, more } = group;
  if (fault) return fault;
  const found = `found ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const isPair = names.some((ending) => /^(chosen|rejected)\./.test(ending));
  const images = membersOfKind(members.keys(), IMAGE);
  const [sidecar, ...sidecars] = membersOfKind(members.keys(), RECORD);
  const [text, ...texts] = membersOfKind(members.keys(), TEXT);
  if (!isPair && images.length === 0) return new Drop('missing_image', `${where}: ${found}`);
  if (!isPair && images.length > 1) return new Drop('several_images', `${where}: ${images.join(', ')}`);
  if (sidecars.length > 0 || texts.length > 0)
    return new Drop('no_caption', `${where}: expected one .txt or .json, ${found}`);
  let record: JsonObject = {};
  try {
    const stated = sidecar === undefined ? {} : parseJson(textOf(members.get(sidecar)));
    if (!isObject(stated)) throw new Error('expected an object');
    record = stated;
    if (text !== undefined) record = { ...record, caption: textOf(members.get(text)) };
  } catch (error) {
    return new Drop('bad_record', `${where}: ${(error as Error).message}`);
  }
  if (isPair) record = { ...record, chosen: true };
  else if (fieldOf(record, CAPTION) === undefined) return new Drop('no_caption', `${where}: ${found}`);
  return { record, image: members.get(images[0] ?? '') ?? new Uint8Array(0) };
}

/** Throws a plain sentence when it is no UTF-8, or too long for a caption or a record. */
function textOf(bytes: Uint8Array = new Uint8Array(0)): string {
  if (bytes.length > LARGEST_LINE) throw new Error(`longer than ${LARGEST_LINE} bytes`);
  return decodeText(bytes);
}

export function webdatasetSource(from: string, options: UserOptions): Source {
  if (!existsSync(from))
    throw new DrmError('BAD_FILE', `[data] ${from}: expected tar archives, found nothing; check --from`, {
      file: from,
    });
  const files = statSync(from).isDirectory()
    ? readdirSync(from)
        .filter((name) => /^[^.].*\.(tar|tar\.gz|tgz)$/i.test(name))
        .sort()
        .map((name) => join(from, name))
    : [from];
  if (files.length === 0)
    throw new DrmError('BAD_FILE', `[data] ${from}: expected .tar, .tar.gz or .tgz files, found none; check --from`, {
      file: from,
    });
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${basename(file)}\0${statSync(file).size}\n`);
  async function* records(): AsyncGenerator<Planned | Drop> {
    let ordinal = 0;
    for (const file of files)
      for await (const group of groupsOf(file)) {
        const key = keyOf(ordinal++);
        if (group instanceof Drop) {
          yield group;
          continue;
        }
        const where = `${basename(file)}, ${group.key}`;
        const found = recordOf(group, where);
        const described = found instanceof Drop ? found : describe(found.record, where, options);
        if (found instanceof Drop || described instanceof Drop) yield described as Drop;
        else
          yield {
            split: described.split,
            note: 0,
            bytes: () => group.held,
            make: () => makeSample(key, found.image, where, { ...described.json, key: group.key }, options),
          };
      }
  }
  return {
    kind: 'captions',
    notes: [{ name: basename(resolve(from)) }],
    settings: {
      source: 'webdataset',
      input: basename(resolve(from)),
      input_sha256: hash.digest('hex'),
      ...settingsOf(options),
    },
    records,
    extras: [],
  };
}
