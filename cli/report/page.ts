// The page of `drm report`.

import { VERSION } from '../common/version.js';
import { escapeXml } from '../text/xml.js';
import { colourClass, tableHtml } from './chart.js';
import type { Group } from './groups.js';
import { imageSection } from './images.js';
import type { RecordedRun } from './read.js';
import { chartSections, type Section } from './sections.js';
import { settingsSection, storySection } from './settings.js';
import { pageHtml } from './shell.js';
import { summaryCells } from './summary.js';

/** Which colour is whose; empty for one alone. */
export function legend(groups: readonly Pick<Group, 'label' | 'index'>[]): string {
  if (groups.length < 2) return '';
  const items = groups.map(
    ({ label, index }) =>
      `<li class="${colourClass(index)}"><svg viewBox="0 0 26 10" aria-hidden="true"><line class="key" x1="0" x2="26" y1="5" y2="5"/></svg>${escapeXml(label)}</li>`,
  );
  return `<ul class="legend" aria-label="colours of the runs">${items.join('')}</ul>`;
}

const seedNote = (groups: readonly Group[]): string =>
  groups.some(({ runs }) => runs.length > 1)
    ? ' Runs that differ by their seed alone are one line: their mean, with a band from the lowest to the highest, up to where all of them have come; beyond, each for itself, dashed.'
    : '';

export async function pageOf(runs: readonly RecordedRun[], groups: readonly Group[]): Promise<string> {
  const { head, rows } = summaryCells(runs);
  const title = runs.length === 1 ? `${runs[0]?.name}: drm ${runs[0]?.config.task}` : `${runs.length} runs of drm`;
  const intro = `Figures of training are means over the steps since the one before; held-out figures are those of the last evaluation.${seedNote(groups)}`;
  const nothing = runs.every(({ metrics }) => metrics.length === 0);
  const sections: Section[] = [
    ...chartSections(groups),
    { id: 'images', title: 'Images', html: await imageSection(runs) },
    { id: 'ends', title: 'Warnings and ends', html: storySection(runs) },
    { id: 'settings', title: 'Settings', html: settingsSection(runs) },
  ].filter(({ html }) => html !== '');
  return pageHtml({
    title,
    legend: legend(groups),
    intro: `<section id="runs">${tableHtml(head, rows)}<p class="quiet">${intro}${nothing ? ' No run has reported a step yet.' : ''}</p></section>`,
    sections,
    footer: `Made by drm ${escapeXml(VERSION)} report. Device time: seconds of training, evaluations and checkpoints among them, times the processes at work.`,
  });
}
