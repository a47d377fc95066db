// The real program with one more command, `fake`, that trains test/train/fake.ts: for tests that need a process to kill.

import { registry } from '../../cli/commands/registry.js';
import { defineCommand } from '../../cli/common/command.js';
import { toNumber } from '../../cli/common/options.js';
import { main } from '../../cli/program.js';
import { Run } from '../../cli/runs/folder.js';
import { train } from '../../cli/train/loop.js';
import { resumeCommand } from '../../cli/train/resume_command.js';
import { FakeData, FakeTask } from './fake.js';

const command = defineCommand({
  name: 'fake',
  summary: 'train eight numbers',
  examples: [],
  options: [
    { flags: '--resume', description: '' },
    { flags: '--steps <n>', description: '', parse: toNumber },
    { flags: '--step-ms <n>', description: '', parse: toNumber },
    { flags: '--ballast <n>', description: '', parse: toNumber },
    { flags: '--checkpoint-every <n>', description: '', parse: toNumber },
  ],
  makesFiles: () => true,
  async run({ options, global, events, signal }) {
    const folder = global.out ?? 'out';
    const { steps = 40, stepMs = 0, ballast = 0, checkpointEvery = 8, resume } = options;
    const settings = { seed: 3, steps };
    const run = await Run.open({ folder, task: 'fake', settings, resume, mayDiffer: ['steps'] });
    try {
      run.recording(events).emit({
        event: 'started',
        version: 1,
        command: 'fake',
        steps,
        facts: { model: 'eight numbers', data: 'a line', device: 'cpu', config: 'test/fake', run: folder },
      });
      await train(
        new FakeTask(3, { ballast, stepMs }),
        new FakeData(3),
        run,
        {
          steps,
          rate: { peak: 0.02, shape: 'cosine', warmUp: 4, floor: 0.1 },
          logEvery: 1,
          evaluateEvery: 50,
          previewEvery: 0,
          checkpointEvery,
          checkpointMinutes: 0,
          keep: { last: 3, every: 0 },
          skipNotFinite: 0,
          resumeCommand: resumeCommand(process.argv.slice(2), folder),
        },
        { events, signal },
      );
    } finally {
      await run.close();
    }
  },
});

registry.push({ name: command.name, summary: command.summary, load: async () => command });
await main(process.argv.slice(2));
