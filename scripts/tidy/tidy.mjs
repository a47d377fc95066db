// Reads what has changed since it was clean, headers counted, as many units at a time as there are cores.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { jobs } from '../setup/exec.mjs';
import { buildDir, root } from '../setup/paths.mjs';
import { Reader } from './findings.mjs';

/** Fewer are not worth reading torch's headers once more. */
const LEAST_FILES = 8;

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** What files are made of: a file and every header of ours that it includes, through others too. */
class Contents {
  constructor(folders) {
    this.folders = folders;
    this.known = new Map();
  }

  #look(file) {
    let seen = this.known.get(file);
    if (!seen) {
      const text = readFileSync(file, 'utf8');
      const includes = [...text.matchAll(/^#include "([^"]+)"/gm)].flatMap(([, name]) =>
        [dirname(file), ...this.folders]
          .map((folder) => join(folder, name))
          .filter((path) => existsSync(path))
          .slice(0, 1),
      );
      seen = { sha: sha256(text), includes };
      this.known.set(file, seen);
    }
    return seen;
  }

  /** The file itself among them. */
  filesOf(file) {
    const all = new Set();
    const add = (one) => {
      if (all.has(one)) return;
      all.add(one);
      for (const include of this.#look(one).includes) add(include);
    };
    add(file);
    return [...all].sort();
  }

  hash(file, key) {
    return sha256(
      [key, ...this.filesOf(file).map((one) => `${relative(root, one)} ${this.#look(one).sha}`)].join('\n'),
    );
  }
}

/** Hashes of what was clean, by file. */
class Clean {
  constructor(path) {
    this.path = path;
    try {
      this.hashes = JSON.parse(readFileSync(path, 'utf8'));
    } catch {
      this.hashes = {};
    }
  }
  has(file, hash) {
    return this.hashes[relative(root, file)] === hash;
  }
  add(file, hash) {
    this.hashes[relative(root, file)] = hash;
  }
  save() {
    mkdirSync(dirname(this.path), { recursive: true });
    const draft = `${this.path}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(this.hashes));
    renameSync(draft, this.path);
  }
}

/** Files that are compiled alike, neighbours together, in parts of about one size. */
function unitsOf(sources) {
  const most = Math.max(1, Math.min(jobs(), Math.floor(sources.length / LEAST_FILES)));
  const size = Math.ceil(sources.length / most);
  return Array.from({ length: Math.ceil(sources.length / size) }, (_, i) => sources.slice(i * size, (i + 1) * size));
}

/**
 * Reads `sources` ([{ file, flags }]) with clang-tidy (`tool`: { command, version }). `folders`: where headers of ours are looked
 * for; `folder`: where it is kept what was clean. Gives { findings: [{ file, text }], each once; unclean: the sources that they
 * are in, by headers too; read: how many sources had to be read }.
 */
export async function tidy(tool, sources, folders, folder = join(buildDir, 'tidy')) {
  const config = join(root, '.clang-tidy');
  const rules = readFileSync(config, 'utf8');
  const contents = new Contents(folders);
  const clean = new Clean(join(folder, 'clean.json'));
  const stale = sources
    .map((source) => ({
      ...source,
      hash: contents.hash(source.file, JSON.stringify([tool.version, rules, source.flags])),
    }))
    .filter(({ file, hash }) => !clean.has(file, hash));
  const reader = new Reader({ command: tool.command, config, folder });
  const findings = new Map();
  const unclean = [];
  const look = async (unit) => {
    const found = await reader.findings(unit);
    for (const finding of found) findings.set(finding.text, finding);
    const files = new Set(found.map(({ file }) => file));
    const ours = new Set(unit.flatMap(({ file }) => contents.filesOf(file)));
    const anybodys = [...files].some((file) => !ours.has(file)); // it stands in no file of ours: who knows whose it is
    for (const source of unit)
      if (anybodys || contents.filesOf(source.file).some((file) => files.has(file))) unclean.push(source);
      else clean.add(source.file, source.hash);
    clean.save();
  };
  const waiting = unitsOf(stale);
  const worker = async () => {
    for (let unit = waiting.shift(); unit; unit = waiting.shift()) await look(unit);
  };
  await Promise.all(Array.from({ length: jobs() }, worker));
  return { findings: [...findings.values()], unclean, read: stale.length };
}
