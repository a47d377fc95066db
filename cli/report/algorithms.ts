// What a page tells of the algorithms that its runs were trained by.
import { average } from '../eval/bootstrap.js';
import { allAlgorithms, findAlgorithm } from '../grpo/algorithms/registry.js';
import { escapeXml } from '../text/xml.js';
import { quantity } from '../ui/figures.js';
import { chartFigure } from './chart.js';
import { finalsOf, type Group } from './groups.js';
import { titleOf } from './measures.js';
import type { RecordedRun } from './read.js';

const algorithmIn = ({ config }: RecordedRun) => findAlgorithm(config.settings.algorithm);

/** A group whose runs have several candidates of a state; none where a state has one successor. */
function branchingOf(group: Group): { group: Group; k: number; algorithm: string }[] {
  const [run] = group.runs;
  const k = run?.config.settings.k;
  const algorithm = run && algorithmIn(run);
  const candidates = algorithm && typeof k === 'number' ? algorithm.candidates({ k }) : 1;
  return algorithm && candidates > 1 ? [{ group, k: candidates, algorithm: algorithm.label }] : [];
}

/** Charts of final figures against K, where runs differ in it. */
export function againstK(groups: readonly Group[], names: readonly string[]): string[] {
  const branching = groups.flatMap(branchingOf);
  if (new Set(branching.map(({ k }) => k)).size < 2) return [];
  const lineOf = (name: string, algorithm: string) => {
    const all = branching.flatMap(({ group, k, algorithm: own }) => {
      const final = own === algorithm ? finalsOf(group, 'evaluations', name) : undefined;
      return final ? [{ x: k, y: final.mean, low: final.low, high: final.high }] : [];
    });
    const byK = [...new Set(all.map(({ x }) => x))].sort((a, b) => a - b);
    const rows = byK.map((x) => {
      const here = all.filter((one) => one.x === x);
      const low = Math.min(...here.map((one) => one.low));
      return { x, y: average(here.map(({ y }) => y)), low, high: Math.max(...here.map((one) => one.high)) };
    });
    return { points: rows.map(({ x, y }) => ({ x, y })), band: rows };
  };
  const algorithms = [...new Set(branching.map(({ algorithm }) => algorithm))];
  return names.map((name) =>
    chartFigure({
      title: `${titleOf(name)}, final`,
      about: 'of the last evaluation; the band spans the runs of one K',
      xLabel: 'K, candidates a step',
      lines: algorithms.map((own, colour) => ({ name: own, colour, ...lineOf(name, own), marks: true })),
      format: (value) => quantity(name, value),
    }),
  );
}

/** What the rewards of rollouts are, where runs of several algorithms have different ones. */
export function rewardNote(runs: readonly RecordedRun[]): string {
  const there = new Set(runs.map(algorithmIn));
  const [first, ...others] = allAlgorithms().filter((algorithm) => there.has(algorithm));
  if (!first || others.length === 0) return '';
  const each = [
    `${first.label}’s reward is ${first.rewardMeaning}`,
    ...others.map(({ label, rewardMeaning }) => `${label}’s is ${rewardMeaning}`),
  ];
  return `<p>${escapeXml(each.join(', '))}: only the held-out reward compares ${others.length === 1 ? 'the two' : 'them'}.</p>`;
}
