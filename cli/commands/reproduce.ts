import { defineCommand } from '../common/command.js';
import { ARGUMENTS, OPTIONS } from './reproduce/options.js';

export const command = defineCommand({
  name: 'reproduce',
  summary: "run the paper's experiments as one chain that resumes, and lay our figures beside the paper's",
  examples: [
    {
      command: 'drm reproduce all --quick --plan',
      does: 'every step of the small chain on the embedded model, with time and disk; runs nothing',
    },
    {
      command: 'drm reproduce table4 --quick --out runs/table4',
      does: 'what Table 4 needs: pairs, a reward model, images by K; ends in runs/table4/reproduction.html',
    },
    {
      command: 'drm reproduce all --threads 2',
      does: 'a night on two cores; after Ctrl-C or a crash the same line goes on',
    },
    {
      command: 'drm reproduce all --config reproduce/sd35-medium --plan',
      does: "the paper's recipe on its data: steps, and all that is missing on this machine",
    },
  ],
  arguments: ARGUMENTS,
  options: OPTIONS,
  tasks: ['reproduce'],
  makesFiles: ({ options }) => !options.plan,
  run: async (context) => (await import('./reproduce/run.js')).reproduce(context),
});
