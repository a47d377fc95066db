// Figure 7: reward and judge of policies by updates and by device time.
import { curveOf, type Group, groupsOf } from '../../report/groups.js';
import { legend } from '../../report/page.js';
import { chartSections } from '../../report/sections.js';
import { storySection } from '../../report/settings.js';
import { duration, quantity } from '../../ui/figures.js';
import { type Block, draw, NOT_RUN, say, tabulate } from '../document.js';
import { FEWER } from '../paper.js';
import { type Chain, policy } from '../steps.js';
import type { Table } from './table.js';

const runsOf = (chain: Chain) =>
  Object.entries(chain.settings.policies).flatMap(([name, { label }]) =>
    chain.settings.seeds.map((seed) => ({ name: `${label}, seed ${seed}`, step: policy(chain, name, seed) })),
  );

const FIGURES = ['reward', 'judge'];

/** The held-out figure after the updates at which it was measured, mean of the seeds and what they span. */
function byUpdates(groups: readonly Group[], figure: string): Block[] {
  const curves = groups.map((group) => ({ group, curve: curveOf(group, 'evaluations', figure, 'updates') }));
  const updates = [...new Set(curves.flatMap(({ curve }) => curve.points.map(({ x }) => x)))].sort((a, b) => a - b);
  if (updates.length === 0) return [];
  const rows = curves.map(({ group, curve }) => [
    group.label,
    ...updates.map((x) => {
      const point = curve.points.find((one) => one.x === x);
      const span = curve.band.find((one) => one.x === x);
      if (!point) return '';
      const own = quantity(figure, point.y);
      return span ? `${own} (${quantity(figure, span.low)} to ${quantity(figure, span.high)})` : own;
    }),
  ]);
  return [tabulate([`${figure} after updates`, ...updates.map((x) => String(Math.round(x)))], rows)];
}

const timeRows = (groups: readonly Group[]): string[][] =>
  groups.map(({ label, runs }) => [
    label,
    ...runs.slice(0, 1).map(({ at }) => String(at.updates)),
    runs.map(({ at }) => duration(at.device)).join(', '),
  ]);

export const figure7: Table = {
  title: 'Figure 7: reward and judge by updates and by time',
  steps: (chain) => runsOf(chain).map(({ step }) => step),
  async show(chain, results) {
    const found = [];
    for (const { step, name } of runsOf(chain)) found.push(await results.run(step, name));
    const runs = found.filter((run) => run !== undefined);
    const lacking = found.length - runs.length;
    if (runs.length === 0) return [say(`${NOT_RUN}.`)];
    const groups = groupsOf(runs);
    const [learning, health] = chartSections(groups);
    return [
      say(
        `Of held-out prompts, the averaged adapter, without noise; the mean of seeds and what they span. The paper: Step-GRPO comes to where Flow-GRPO ends in 1/${FEWER.updates} of the updates and 1/${FEWER.time} of the time; its curves are not at hand as figures. Time here compares with the paper's only with care: candidates of a state share one velocity (docs/grpo.md).${lacking > 0 ? ` ${lacking} of ${found.length} runs have not been made.` : ''}`,
      ),
      ...FIGURES.flatMap((figure) => byUpdates(groups, figure)),
      tabulate(['policy', 'updates', 'device time of each seed, without evaluations'], timeRows(groups)),
      draw(`<h3>Warnings and ends</h3>${storySection(runs)}`),
      draw(legend(groups)),
      ...[learning, health].flatMap((section) => (section ? [draw(`<h3>${section.title}</h3>${section.html}`)] : [])),
    ];
  },
};
