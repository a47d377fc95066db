// Unpacks the wanted files of Python wheels and checks each against the wheel's own RECORD.
import { Zip } from './zip.mjs';

/** { path: sha256 as base64url } from RECORD's lines `path,sha256=...,size`; paths with commas are quoted. */
export function parseRecord(text) {
  const hashes = new Map();
  for (const line of text.split(/\r?\n/)) {
    const match = /^(?:"((?:[^"]|"")*)"|([^,]*)),sha256=([\w-]+),\d*$/.exec(line);
    if (match) hashes.set(match[1]?.replaceAll('""', '"') ?? match[2], match[3]);
  }
  return hashes;
}

async function readOne(zip, pattern) {
  const entry = zip.entries.find(({ name }) => pattern.test(name));
  return entry ? (await zip.read(entry)).toString('utf8') : undefined;
}

/** The wheel's METADATA: what else it requires. */
export async function wheelRequirements(path) {
  const zip = await Zip.open(path);
  try {
    const metadata = (await readOne(zip, /^[^/]+\.dist-info\/METADATA$/)) ?? '';
    return [...metadata.matchAll(/^Requires-Dist: (.+)$/gm)].map((match) => match[1]);
  } finally {
    await zip.close();
  }
}

/** Unpacks the files that `wanted(name)` accepts; returns how many. Throws on the first that RECORD does not confirm. */
export async function unpackWheel(path, folder, wanted) {
  const zip = await Zip.open(path);
  try {
    const record = await readOne(zip, /^[^/]+\.dist-info\/RECORD$/);
    if (record === undefined) throw new Error(`${path}: not a wheel: it has no RECORD`);
    const hashes = parseRecord(record);
    const chosen = zip.entries.filter(({ name }) => !name.endsWith('/') && wanted(name));
    for (const entry of chosen) {
      const expected = hashes.get(entry.name);
      if (!expected) throw new Error(`${path}: ${entry.name} is not in the wheel's RECORD`);
      const found = (await zip.extract(entry, folder)).toString('base64url');
      if (found !== expected) {
        throw new Error(
          `${path}: ${entry.name}: expected SHA-256 ${expected} (RECORD), found ${found}; the file is corrupt`,
        );
      }
    }
    return chosen.length;
  } finally {
    await zip.close();
  }
}
