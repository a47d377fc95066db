// WebDataset archives of others: tars (also gzipped) in which neighbouring members of one base name are a sample.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { decodeText, isObject, type JsonObject, parseJson } from '../json.js';
import { chunksOf, membersOf } from './archive.js';
import { Drop, type Planned, type Source } from './source.js';
import { describe, keyOf, makeSample, settingsOf, type UserOptions } from './user_pictures.js';

interface Group {
  key: string;
  members: Map<string, Buffer>;
  fault?: Drop;
}

/** WebDataset's rule: a name is cut at the first dot of its last part; neighbours of one key are one sample. */
async function* groupsOf(file: string): AsyncGenerator<Group | Drop> {
  let group: Group | undefined;
  for await (const member of membersOf(chunksOf([file]), basename(file))) {
    if (member instanceof Drop) {
      if (group) yield group;
      group = undefined;
      yield member;
      continue;
    }
    const [, key, extension] = /^((?:.*\/)?[^/.]+)\.([^/]+)$/s.exec(member.name) ?? [];
    if (key === undefined || extension === undefined) continue; // README, .DS_Store
    if (group && group.key !== key) yield group;
    if (group?.key !== key) group = { key, members: new Map() };
    const where = `${basename(file)}, ${member.name}`;
    if (member.bytes instanceof Drop) group.fault ??= member.bytes;
    else if (group.members.has(extension.toLowerCase())) group.fault ??= new Drop('duplicate_member', where);
    else group.members.set(extension.toLowerCase(), member.bytes);
  }
  if (group) yield group;
}

const PICTURE = /^(jpe?g|png|webp|gif|tiff?|avif|img|image)$/;

function recordOf({ members, fault }: Group, where: string): { record: JsonObject; picture: Buffer } | Drop {
  if (fault) return fault;
  const pictures = [...members.keys()].filter((extension) => PICTURE.test(extension));
  let record: JsonObject = {};
  const sidecar = members.get('json');
  try {
    const found = sidecar ? parseJson(decodeText(sidecar)) : {};
    if (!isObject(found)) throw new Error('expected an object');
    record = found;
    const text = members.get('txt') ?? members.get('caption') ?? members.get('text');
    if (text) record = { ...record, caption: decodeText(text) };
  } catch (error) {
    return new Drop('bad_record', `${where}: ${(error as Error).message}`);
  }
  if ([...members.keys()].some((extension) => /^(chosen|rejected)\./.test(extension)))
    record = { ...record, chosen: true };
  else if (pictures.length === 0) return new Drop('missing_image', where);
  if (pictures.length > 1) return new Drop('several_images', `${where}: ${pictures.join(', ')}`);
  return { record, picture: members.get(pictures[0] ?? '') ?? Buffer.alloc(0) };
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
            make: () => makeSample(key, found.picture, where, { ...described.json, key: group.key }, options),
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
