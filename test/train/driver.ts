// The real program with one more command, `fake`, that trains test/train/fake.ts: for tests that need a process to kill.

import { registry } from '../../cli/commands/registry.js';
import type { Command } from '../../cli/common/command.js';
import { main } from '../../cli/program.js';
import { Run } from '../../cli/runs/folder.js';
import { train } from '../../cli/train/loop.js';
import { resumeCommand } from '../../cli/train/resume_command.js';
import { FakeData, FakeTask } from './fake.js';

const number = (value: unknown, fallback: number) => (value === undefined ? fallback : Number(value));

const command: Command = {
  name: 'fake',
  summary: 'train eight numbers',
  examples: [],
  options: [
    { flags: '--resume', description: '' },
    { flags: '--steps <n>', description: '' },
    { flags: '--step-ms <n>', description: '' },
    { flags: '--ballast <n>', description: '' },
    { flags: '--checkpoint-every <n>', description: '' },
  ],
  makesFiles: () => true,
  async run({ options, global, events, signal }) {
    const folder = global.out ?? 'out';
    const steps = number(options.steps, 40);
    const settings = { seed: 3, steps };
    const resume = options.resume === true;
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
        new FakeTask(3, { ballast: number(options.ballast, 0), stepMs: number(options.stepMs, 0) }),
        new FakeData(3),
        run,
        {
          steps,
          rate: { peak: 0.02, shape: 'cosine', warmUp: 4, floor: 0.1 },
          logEvery: 1,
          evaluateEvery: 50,
          previewEvery: 0,
          checkpointEvery: number(options.checkpointEvery, 8),
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
};

registry.push({ name: command.name, summary: command.summary, load: async () => command } as (typeof registry)[number]);
await main(process.argv.slice(2));
