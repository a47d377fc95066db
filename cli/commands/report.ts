import { defineCommand } from '../common/command.js';
import { ARGUMENTS } from './report/options.js';

export const command = defineCommand({
  name: 'report',
  summary: 'draw runs on one page: curves, images, settings, warnings',
  examples: [
    { command: 'drm report runs/reward', does: 'writes runs/reward/report.html; the run may still be at work' },
    {
      command: 'drm report runs/flow-* runs/step-* --out compare.html',
      does: 'several runs on one page, by updates and by device time; seeds of one setting become a mean and a band',
    },
    { command: 'drm report runs/reward --json', does: 'also the last figures of each run, for programs' },
  ],
  arguments: ARGUMENTS,
  makesFiles: () => true,
  run: async (context) => (await import('./report/write.js')).writeReport(context),
});
