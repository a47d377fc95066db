// Settings side by side, and how each run came about and ended.
import { isDeepStrictEqual } from 'node:util';
import { own } from '../common/shape.js';
import { escapeXml } from '../text/xml.js';
import { dateOf, type RecordedRun } from './read.js';

/** Letters of a value: lists of prompts are long. */
const LONGEST = 160;
const MOST_WARNINGS = 40;

const shown = (value: unknown): string => {
  if (value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
};

function rowsOf(runs: readonly RecordedRun[], keys: readonly string[], differ: boolean): string {
  const head = ['setting', ...runs.map(({ name }) => name)];
  const rows = keys.map((key) => {
    const cells = runs.map(({ config }) => `<td>${escapeXml(shown(own(config.settings, key)))}</td>`);
    const mark = differ && runs.length > 1 ? ' <span class="mark">differs</span>' : '';
    return `<tr${mark ? ' class="differs"' : ''}><th scope="row">${escapeXml(key)}${mark}</th>${cells.join('')}</tr>`;
  });
  return `<div class="scroll"><table class="settings"><thead><tr>${head.map((cell) => `<th scope="col">${escapeXml(cell)}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

/** The keys that differ between runs first and in sight; the others folded away. */
export function settingsSection(runs: readonly RecordedRun[]): string {
  const keys = [...new Set(runs.flatMap(({ config }) => Object.keys(config.settings)))];
  const first = runs[0]?.config.settings ?? {};
  const differ = keys.filter((key) =>
    runs.some(({ config }) => !isDeepStrictEqual(own(config.settings, key), own(first, key))),
  );
  const same = keys.filter((key) => !differ.includes(key));
  if (runs.length === 1)
    return `<details><summary>all ${keys.length} settings</summary>${rowsOf(runs, keys, false)}</details>`;
  const differing = differ.length > 0 ? rowsOf(runs, differ, true) : '<p>All settings of these runs are the same.</p>';
  const [only] = runs as [RecordedRun];
  if (same.length === 0) return differing;
  return `${differing}<details><summary>${same.length} settings that all of them share</summary>${rowsOf([{ ...only, name: 'all runs' }], same, false)}</details>`;
}

const STATE: Record<RecordedRun['end']['state'], string> = {
  done: 'done',
  stopped: 'stopped by its user',
  failed: 'failed',
  unfinished: 'unfinished',
};

function resumesOf({ config }: RecordedRun): string[] {
  return config.resumed.map(({ step, time, changed }) => {
    const what = Object.entries(changed ?? {}).map(
      ([key, values]) => `${key} ${(Array.isArray(values) ? values : [values]).map(shown).join(' → ')}`,
    );
    return `taken up again after step ${step} (${dateOf(Date.parse(time) / 1000)})${what.length > 0 ? ` with ${what.join(', ')}` : ''}`;
  });
}

/** How each run ended, and its warnings, each kind once. */
export function storySection(runs: readonly RecordedRun[]): string {
  const stories = runs.map((run) => {
    const { name, end, warnings, badLines, facts, config } = run;
    const lines = [
      `begun ${dateOf(Date.parse(config.created) / 1000) || 'at an unknown time'} by drm ${config.drm ?? '?'}${facts.device === undefined ? '' : ` on ${facts.device}`}${run.processes > 1 ? ` in ${run.processes} processes` : ''}`,
      ...resumesOf(run),
      ...(badLines > 0 ? [`${badLines} lines of metrics.jsonl cannot be read and are left out`] : []),
    ];
    const list = warnings
      .slice(0, MOST_WARNINGS)
      .map(
        ({ message, count, step }) =>
          `<li>${escapeXml(message)}${count > 1 ? ` <span class="mark">${count} times, first after step ${step}</span>` : ` <span class="quiet">after step ${step}</span>`}</li>`,
      );
    const more = warnings.length > MOST_WARNINGS ? `<li>and ${warnings.length - MOST_WARNINGS} other kinds</li>` : '';
    return `<article><h3>${escapeXml(name)} <span class="state ${end.state}">${STATE[end.state]}</span></h3>${end.text ? `<p>${escapeXml(end.text)}</p>` : ''}<ul class="quiet">${lines.map((line) => `<li>${escapeXml(line)}</li>`).join('')}</ul>${
      list.length > 0
        ? `<ul class="warnings" aria-label="warnings">${list.join('')}${more}</ul>`
        : '<p class="quiet">No warnings.</p>'
    }</article>`;
  });
  return `<div class="grid">${stories.join('')}</div>`;
}
