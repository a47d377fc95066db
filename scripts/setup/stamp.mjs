// "Has anything that this step reads changed since it last succeeded?" Answered by content, so that a fresh clone with
// new times, a branch switch and back, or a touched file do not rebuild; sizes and times only save re-reading files.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root, stampDir } from './paths.mjs';

/** Files under `dir` (absolute, sorted) whose name satisfies `accept`; none when there is no such folder. */
export function filesUnder(dir, accept = () => true) {
  let entries;
  try {
    entries = readdirSync(dir, { withFileTypes: true, recursive: true });
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  return entries
    .filter((entry) => entry.isFile() && accept(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function fileIdentity(path) {
  const { size, mtimeMs } = statSync(path);
  return { size, mtimeMs };
}

export class Stamp {
  constructor(name, directory = stampDir) {
    this.path = join(directory, `${name}.json`);
    try {
      this.saved = JSON.parse(readFileSync(this.path, 'utf8'));
    } catch {
      this.saved = { hash: '', files: {}, outputs: {} };
    }
  }

  /** The state of the inputs now. Taken before the work, so that an edit during it is seen by the next run. */
  look(files, key) {
    const known = this.saved.files ?? {};
    const seen = {};
    const total = createHash('sha256').update(JSON.stringify(key));
    for (const file of files) {
      const name = relative(root, file);
      const identity = fileIdentity(file);
      const old = known[name];
      const sha =
        old && old.size === identity.size && old.mtimeMs === identity.mtimeMs
          ? old.sha
          : createHash('sha256').update(readFileSync(file)).digest('hex');
      seen[name] = { ...identity, sha };
      total.update(`\0${name}\0${sha}`);
    }
    this.current = { hash: total.digest('hex'), files: seen };
    return this.current.hash;
  }

  /** True when look() found what the last success had, and that success's outputs are still the same files. */
  fresh() {
    if (this.current.hash !== this.saved.hash) return false;
    return Object.entries(this.saved.outputs ?? {}).every(([path, old]) => {
      try {
        const now = fileIdentity(path);
        return now.size === old.size && now.mtimeMs === old.mtimeMs;
      } catch {
        return false;
      }
    });
  }

  save(outputs = []) {
    const record = { ...this.current, outputs: Object.fromEntries(outputs.map((path) => [path, fileIdentity(path)])) };
    mkdirSync(join(this.path, '..'), { recursive: true });
    const temporary = `${this.path}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify(record));
    renameSync(temporary, this.path);
    this.saved = record;
  }
}
