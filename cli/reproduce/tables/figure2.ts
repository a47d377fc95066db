// Figure 2: accuracy, and what training saw of it, by timestep.
import { chartFigure } from '../../report/chart.js';
import { groupsOf } from '../../report/groups.js';
import { legend } from '../../report/page.js';
import type { RecordedRun } from '../../report/read.js';
import { chartSections } from '../../report/sections.js';
import { percent } from '../../ui/table.js';
import { draw, NOT_RUN, say, tabulate } from '../document.js';
import { mainFigure } from '../results.js';
import { type Chain, firstTraining, judgedSets, judgingPairs, training } from '../steps.js';
import type { Table } from './table.js';

const stepsOf = (chain: Chain) => {
  const reward = { training: firstTraining(chain.settings) };
  const { curve_timesteps: timesteps } = chain.settings;
  return judgedSets(chain.settings).map((set) => ({
    set,
    step: judgingPairs(chain, { reward, set, timesteps, tag: '-curve' }),
  }));
};

export const figure2: Table = {
  title: 'Figure 2: accuracy and loss by timestep',
  steps: (chain) => stepsOf(chain).map(({ step }) => step),
  async show(chain, results) {
    const { settings } = chain;
    const name = firstTraining(settings);
    const sets = stepsOf(chain).map(({ set, step }) => ({ set, rows: results.accuracy(step)?.rows ?? [] }));
    const lines = sets.map(({ set, rows }, colour) => {
      const found = rows.map((row) => ({ x: row.timestep, ...mainFigure(row).accuracy }));
      return {
        ...{ name: set, colour, marks: true },
        points: found.map(({ x, mean }) => ({ x, y: 100 * mean })),
        band: found.map(({ x, low, high }) => ({ x, low: 100 * low, high: 100 * high })),
      };
    });
    const run: RecordedRun | undefined = await results.run(training(chain, name), name);
    const learning = run ? chartSections(groupsOf([run])).filter(({ id }) => id !== 'cost') : [];
    return [
      say(
        `Of the reward model "${settings.trainings[name]?.label}": accuracy in percent against 1000 σ, one draw of noise, the band its 95 % interval. The paper's curve is not at hand as figures.`,
      ),
      draw(
        `${legend(sets.map(({ set: label }, index) => ({ label, index })))}<div class="grid wide">${chartFigure({
          ...{ title: 'Accuracy by timestep', xLabel: 'timestep (1000 × noise level σ)', lines },
          ...{ format: (value: number) => `${value.toFixed(1)} %`, level: { value: 50, text: 'chance' } },
        })}</div>`,
      ),
      tabulate(
        ['timestep', ...sets.map(({ set }) => set)],
        settings.curve_timesteps.map((timestep) => [
          String(timestep),
          ...sets.map(({ rows }) => {
            const row = rows.find((one) => one.timestep === timestep);
            return row ? percent(mainFigure(row).accuracy) : NOT_RUN;
          }),
        ]),
      ),
      ...learning.map(({ title, html }) => draw(`<h3>While training: ${title.toLowerCase()}</h3>${html}`)),
    ];
  },
};
