// Table 2: what a reward model still sees under noise.
import { percent } from '../../ui/table.js';
import { NOT_RUN, say, tabulate, UNKNOWN } from '../document.js';
import { BY_TIMESTEP } from '../paper.js';
import { mainFigure } from '../results.js';
import { type Chain, firstTraining, judgedSets, judgingPairs } from '../steps.js';
import type { Table } from './table.js';

const stepsOf = (chain: Chain) => {
  const reward = { training: firstTraining(chain.settings) };
  const { timesteps } = chain.settings;
  return judgedSets(chain.settings).map((set) => ({
    set,
    step: judgingPairs(chain, { reward, set, timesteps, tag: '-noisy' }),
  }));
};

export const table2: Table = {
  title: 'Table 2: accuracy by timestep',
  steps: (chain) => stepsOf(chain).map(({ step }) => step),
  async show(chain, results) {
    const { settings } = chain;
    const sets = stepsOf(chain).map(({ set, step }) => ({ set, rows: results.accuracy(step)?.rows }));
    return [
      say(
        `Of the reward model "${settings.trainings[firstTraining(settings)]?.label}", in percent. Here a timestep is 1000 σ, with noise of level σ on the latents (Eq. 1), one draw. The paper's script names timesteps by the scheduler's entries, whose shift makes σ 0.75 of its 500 and 0.9 of its 750, and adds noise only when told to: which of these stands behind its table it does not say.`,
      ),
      tabulate(
        ['timestep', ...sets.map(({ set }) => set), 'paper: HPDv3'],
        settings.timesteps.map((timestep) => [
          String(timestep),
          ...sets.map(({ rows }) => {
            const row = rows?.find((one) => one.timestep === timestep);
            return row ? percent(mainFigure(row).accuracy) : NOT_RUN;
          }),
          BY_TIMESTEP[timestep]?.toFixed(1) ?? UNKNOWN,
        ]),
      ),
    ];
  },
};
