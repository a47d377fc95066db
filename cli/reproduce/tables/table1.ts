// Table 1: how often reward models prefer what people preferred, beside scorers.
import { percent } from '../../ui/table.js';
import { NOT_RUN, say, tabulate, UNKNOWN } from '../document.js';
import { ACCURACY, SETS } from '../paper.js';
import { mainFigure, type Results } from '../results.js';
import type { Step } from '../step.js';
import { type Chain, judgedSets, judgingPairs } from '../steps.js';
import type { Table } from './table.js';

interface Judged {
  label: string;
  /** Its row of the paper. */
  paper: string | undefined;
  /** One for each set. */
  steps: Step[];
}

function judged(chain: Chain): Judged[] {
  const { settings } = chain;
  const of = (reward: { training: string } | { scorer: string }) =>
    judgedSets(settings).map((set) => judgingPairs(chain, { reward, set, timesteps: [0] }));
  return [
    ...Object.entries(settings.trainings).map(([training, { label, paper }]) => ({
      ...{ label, paper, steps: of({ training }) },
    })),
    ...settings.baselines.map((scorer) => ({ label: scorer, paper: scorer, steps: of({ scorer }) })),
  ];
}

function ours(step: Step, results: Results): string {
  const row = results.accuracy(step)?.rows[0];
  return row ? percent(mainFigure(row).accuracy) : NOT_RUN;
}

const theirs = (row: string | undefined): string[] =>
  Object.keys(SETS).map((set) => ACCURACY[row ?? '']?.[set]?.toFixed(1) ?? UNKNOWN);

export const table1: Table = {
  title: 'Table 1: accuracy on pairs of images',
  steps: (chain) => judged(chain).flatMap(({ steps }) => steps),
  async show(chain, results) {
    const rows = judged(chain);
    const sets = judgedSets(chain.settings);
    const counts = sets.map((set, i) => {
      const step = rows[0]?.steps[i];
      const found = step && results.accuracy(step);
      const [row] = found?.rows ?? [];
      return `${set}${found && row ? `, ${found.pairs} pairs, ${mainFigure(row).protocol}` : ''}`;
    });
    const named = new Set(rows.map(({ paper }) => paper));
    const others = Object.keys(ACCURACY).filter((row) => !named.has(row));
    return [
      say(
        'Share of pairs whose preferred image scores higher, in percent, of clean images (timestep 0), by the protocol that the column names (docs/evaluation.md). The paper quotes several of its rows from older papers, whose protocols differ.',
      ),
      tabulate(
        ['reward', ...counts, ...Object.values(SETS).map((set) => `paper: ${set}`)],
        [
          ...rows.map(({ label, paper, steps }) => [
            label,
            ...steps.map((step) => ours(step, results)),
            ...theirs(paper),
          ]),
          ...others.map((row) => [`the paper's ${row}`, ...sets.map(() => NOT_RUN), ...theirs(row)]),
        ],
      ),
    ];
  },
};
