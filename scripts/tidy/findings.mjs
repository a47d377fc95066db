// What clang-tidy finds in files that stand together in one translation unit: torch's headers take it longer than all of
// ours. A name that two files of a unit define, each for itself, is an error there and none of theirs: such files are read again
// without the others.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { capture } from '../test/section.mjs';

const FINDING = /^(?=\S[^\n]*:\d+:\d+: (?:warning|error): )/m;
const isError = ({ text }) => text.includes('[clang-diagnostic-error]');

/** [{ file, text }] of clang-tidy's output; notes belong to the finding above them. */
function parse(output) {
  return output
    .split(FINDING)
    .filter((text) => text.search(FINDING) === 0)
    .map((text) => ({ file: text.slice(0, text.search(/:\d+:\d+: /)), text: text.trimEnd() }));
}

/** Flags of all files, each once; -isystem and its folder are one. */
function union(sources) {
  const all = new Set(sources.flatMap(({ flags }) => flags.join(' ').replaceAll('-isystem ', '-isystem\0').split(' ')));
  return [...all].flatMap((flag) => flag.split('\0'));
}

export class Reader {
  /** `command`: clang-tidy; `config`: a .clang-tidy; `folder`: where units are written. */
  constructor({ command, config, folder }) {
    Object.assign(this, { command, config, folder });
    this.units = 0;
  }

  async #read(sources) {
    const unit = join(this.folder, `unit-${this.units++}.cc`);
    mkdirSync(dirname(unit), { recursive: true });
    const lines = sources.map(({ file }) => `#include "${file}"  // NOLINT(bugprone-suspicious-include)\n`);
    writeFileSync(unit, lines.join(''));
    const args = ['--quiet', `--config-file=${this.config}`, unit, '--', ...union(sources), '-ferror-limit=0'];
    const { code, output } = await capture(this.command, args);
    const found = parse(output);
    if (code !== 0 && found.length === 0)
      found.push({
        file: unit,
        text: `${output}[tidy] clang-tidy ended without a finding, by code ${code}; too little memory? DRM_JOBS=1 reads one unit at a time`,
      });
    return found;
  }

  /** Findings in these files and in the headers they include: [{ file, text }]. */
  async findings(sources) {
    const found = await this.#read(sources);
    const errors = found.filter(isError);
    const inErrors = new Set(errors.map(({ file }) => file));
    const apart = sources.filter(({ file }) => inErrors.has(file));
    if (apart.length === 0 || sources.length === 1) return found;
    if (apart.length === sources.length) {
      const alone = [];
      for (const source of sources) alone.push(...(await this.findings([source])));
      return alone;
    }
    const rest = sources.filter(({ file }) => !inErrors.has(file));
    // An error in a header may be theirs or not.
    const known = errors.every(({ file }) => apart.some((source) => source.file === file));
    const kept = known ? found.filter(({ file }) => !inErrors.has(file)) : await this.findings(rest);
    return [...kept, ...(await this.findings(apart))];
  }
}
