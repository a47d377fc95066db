// The page that a chain ends in, as Markdown and as HTML: our figures beside the paper's, and what made them.
import { VERSION } from '../common/version.js';
import { tableHtml } from '../report/chart.js';
import { pageHtml } from '../report/shell.js';
import { escapeXml } from '../text/xml.js';
import { type Block, NOT_RUN, type Shown, UNKNOWN } from './document.js';

export interface PageFacts {
  config: string;
  model: string;
  /** The command line that makes it again. */
  command: string;
  /** Of the chain, as JSON. */
  settings: string;
}

const titleOf = ({ model }: PageFacts): string => `The paper's tables and figures, on ${model}`;

const introOf = ({ config }: PageFacts): string[] => [
  `By drm ${VERSION}, from the config ${config}. Figures of "the paper" are its own, on SD3.5-Medium and its data; ours are comparable with them only where base, data and scorers are the same.`,
  `${UNKNOWN}: the paper's figure is not at hand. ${NOT_RUN}: the step has not been run here. ± is half of a 95 % interval, by bootstrap over prompts, or, where seeds are named, the standard deviation of seeds.`,
];

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;

function blockMarkdown(block: Block): string[] {
  if (block.kind === 'text') return [block.text, ''];
  if (block.kind === 'chart') return [];
  const { head, rows } = block;
  return [row(head), row(head.map(() => '---')), ...rows.map(row), ''];
}

export function pageMarkdown(facts: PageFacts, shown: readonly Shown[]): string {
  const sections = shown.flatMap(({ title, blocks, commands, made }) => [
    ...[`## ${title}`, ''],
    ...blocks.flatMap(blockMarkdown),
    ...(made === '' ? [] : [made, '']),
    ...(commands.length === 0 ? [] : ['```sh', ...commands, '```', '']),
  ]);
  const intro = introOf(facts).flatMap((line) => [line, '']);
  const settings = ['## Settings', '', '```json', facts.settings, '```', ''];
  return [`# ${titleOf(facts)}`, '', ...intro, '```sh', facts.command, '```', '', ...sections, ...settings].join('\n');
}

const codeHtml = (lines: readonly string[]): string =>
  `<pre class="scroll"><code>${lines.map(escapeXml).join('\n')}</code></pre>`;

function blockHtml(block: Block): string {
  if (block.kind === 'text') return `<p>${escapeXml(block.text)}</p>`;
  return block.kind === 'chart' ? block.html : tableHtml(block.head, block.rows);
}

export function pageOfChain(facts: PageFacts, shown: readonly Shown[]): string {
  const sections = shown.map(({ name, title, blocks, commands, made }) => ({
    ...{ id: name, title },
    html: [
      ...blocks.map(blockHtml),
      made === '' ? '' : `<p class="quiet">${escapeXml(made)}</p>`,
      commands.length === 0
        ? ''
        : `<details><summary>the commands that made it</summary>${codeHtml(commands)}</details>`,
    ].join(''),
  }));
  return pageHtml({
    title: titleOf(facts),
    intro: `<section id="about">${introOf(facts)
      .map((line) => `<p>${escapeXml(line)}</p>`)
      .join('')}${codeHtml([facts.command])}</section>`,
    sections: [...sections, { id: 'settings', title: 'Settings', html: codeHtml([facts.settings]) }],
    footer: `Made by drm ${escapeXml(VERSION)} reproduce.`,
  });
}
