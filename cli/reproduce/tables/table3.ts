// Table 3: what training a policy makes of its images, by scorers.
import { average, estimate } from '../../eval/bootstrap.js';
import { plusMinus } from '../../ui/table.js';
import { NOT_RUN, say, tabulate, UNKNOWN } from '../document.js';
import { BASE } from '../paper.js';
import { deviation, type ImageRow, type Results } from '../results.js';
import type { Step } from '../step.js';
import { type Chain, judgingPolicy, policy } from '../steps.js';
import type { Table } from './table.js';

const PAPER = [
  { head: 'paper: ImageReward', value: BASE.imagereward },
  { head: 'paper: PickScore', value: BASE.pickscore },
  { head: 'paper: HPSv3', value: BASE.hpsv3 },
];

const rowsOf = (chain: Chain) =>
  Object.entries(chain.settings.policies).map(([name, { label }]) => ({
    label,
    steps: chain.settings.seeds.map((seed) => judgingPolicy(chain, policy(chain, name, seed))),
  }));

const scoreOf = (row: ImageRow | undefined, at: number) => row?.verdicts[at]?.score;

/** Of several seeds the mean, and how far they differ; of one its interval. */
function overSeeds(steps: readonly Step[], at: number, results: Results): string {
  const found = steps.flatMap((step) => scoreOf(results.images(step)?.[0], at) ?? []);
  const [first] = found;
  if (!first) return NOT_RUN;
  if (steps.length === 1) return plusMinus(first, 4);
  const means = found.map(({ mean }) => mean);
  const spread = means.length > 1 ? ` ± ${deviation(means).toFixed(4)}` : '';
  return `${average(means).toFixed(4)}${spread} (${found.length} of ${steps.length} seeds)`;
}

/** On the same prompts and seeds of noise: per prompt the mean of the trained policies less the base, with its interval. */
function aheadOfBase(steps: readonly Step[], base: Step, scorer: string, results: Results): string {
  const means = (step: Step) => results.scores(step)?.get(scorer)?.map(average);
  const first = means(base);
  const others = steps.flatMap((step) => {
    const own = means(step);
    return own && own.length === first?.length ? [own] : [];
  });
  if (!first || others.length === 0) return NOT_RUN;
  const ahead = estimate(first.map((value, i) => others.map((own) => (own[i] as number) - value)));
  return `${ahead.mean < 0 ? '' : '+'}${plusMinus(ahead, 4)}`;
}

export const table3: Table = {
  title: 'Table 3: policies by scorers',
  steps: (chain) => [judgingPolicy(chain, undefined), ...rowsOf(chain).flatMap(({ steps }) => steps)],
  async show(chain, results) {
    const { scorers, seeds, model } = chain.settings;
    const untrained = judgingPolicy(chain, undefined);
    const base = results.images(untrained)?.[0];
    const count = `${chain.prompts} held-out prompts, one image each${base ? `, ${base.settings.steps} steps, guidance ${base.settings.guidance}` : ''}`;
    return [
      say(
        `Mean scores of ${count}; the averaged adapter${seeds.length > 1 ? `, mean and standard deviation over seeds ${seeds.join(', ')}` : ''}. The difference is taken prompt by prompt. Of the paper's rows but the first only the span of PickScore is at hand: 16.76 to 17.04, on no scale that is documented for it.`,
      ),
      tabulate(
        ['policy', ...scorers.flatMap((scorer) => [scorer, `minus ${model}`]), ...PAPER.map(({ head }) => head)],
        [
          [
            model,
            ...scorers.flatMap((_, at) => {
              const score = scoreOf(base, at);
              return [score ? plusMinus(score, 4) : NOT_RUN, ''];
            }),
            ...PAPER.map(({ value }) => value?.toFixed(2) ?? UNKNOWN),
          ],
          ...rowsOf(chain).map(({ label, steps }) => [
            label,
            ...scorers.flatMap((scorer, at) => [
              overSeeds(steps, at, results),
              aheadOfBase(steps, untrained, scorer, results),
            ]),
            ...PAPER.map(() => UNKNOWN),
          ]),
        ],
      ),
    ];
  },
};
