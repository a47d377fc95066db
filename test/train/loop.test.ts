// The loop with a fake task: resuming, order of events, what goes wrong and what then is left.
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DrmError } from '../../binding/error.js';
import type { Event } from '../../cli/common/events.js';
import { Run } from '../../cli/runs/folder.js';
import { type LoggedEvent, readMetrics } from '../../cli/runs/metrics.js';
import { train } from '../../cli/train/loop.js';
import { resumeCommand } from '../../cli/train/resume_command.js';
import type { TrainingOptions } from '../../cli/train/training_task.js';
import { temporaryFolder } from '../run_drm.js';
import { type Behaviour, FakeData, FakeTask } from './fake.js';

const SETTINGS = { seed: 3, steps: 40, learning_rate: 0.02 };
const OPTIONS: TrainingOptions = {
  steps: 40,
  rate: { peak: 0.02, shape: 'cosine', warmUp: 4, floor: 0.1 },
  logEvery: 1,
  evaluateEvery: 10,
  previewEvery: 20,
  checkpointEvery: 8,
  checkpointMinutes: 0,
  keep: { last: 2, every: 0 },
  skipNotFinite: 0,
  resumeCommand: 'drm fake --out RUN --resume',
};

interface Arm {
  folder?: string;
  resume?: boolean;
  options?: Partial<TrainingOptions>;
  behaviour?: Behaviour;
  /** Abort once this many steps are done. */
  abortAt?: number;
  /** Or after so many milliseconds. */
  abortAfterMs?: number;
  failAt?: number;
}

async function go({ folder = join(temporaryFolder(), 'run'), resume = false, ...arm }: Arm = {}) {
  const options = { ...OPTIONS, ...arm.options };
  const data = new FakeData(SETTINGS.seed, arm.failAt);
  const events: Event[] = [];
  const abort = new AbortController();
  const onEndless = () => void setTimeout(() => abort.abort(), 5);
  const task = new FakeTask(SETTINGS.seed, { ...arm.behaviour, onEndless });
  if (arm.abortAfterMs !== undefined) setTimeout(() => abort.abort(), arm.abortAfterMs);
  const emit = (event: Event) => {
    events.push(event);
    if (event.event === 'metric' && event.step === arm.abortAt) abort.abort();
  };
  const settings = { ...SETTINGS, steps: options.steps };
  const run = await Run.open({ folder, task: 'fake', settings, resume, mayDiffer: ['steps'] });
  let error: unknown;
  try {
    await train(task, data, run, options, { events: { emit }, signal: abort.signal });
  } catch (thrown) {
    error = thrown;
  } finally {
    await run.close();
  }
  return { folder, task, data, events, error: error as DrmError };
}

async function logged(folder: string): Promise<LoggedEvent[]> {
  const events: LoggedEvent[] = [];
  for await (const event of readMetrics(join(folder, 'metrics.jsonl'))) events.push(event);
  return events;
}

/** What a metrics stream says about the model; speeds and times are of the machine. */
function learned(events: Event[]) {
  return events.flatMap((event) => {
    if (event.event === 'metric') {
      const { loss = Number.NaN, learning_rate, grad_norm } = event.values;
      return [{ step: event.step, loss, learning_rate, grad_norm }];
    }
    return event.event === 'evaluation' ? [{ step: event.step, ...event.values }] : [];
  });
}

const steps = (events: Event[], kind: 'checkpoint' | 'evaluation' | 'sample_sheet' | 'metric') =>
  events.flatMap((event) => (event.event === kind ? [event.step] : []));

test('a run evaluates, shows and saves when due, and learns', async () => {
  const { folder, task, data, events, error } = await go();
  expect(error).toBeUndefined();
  expect(steps(events, 'metric')).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(steps(events, 'evaluation')).toEqual([10, 20, 30, 40]);
  expect(steps(events, 'sample_sheet')).toEqual([20, 40]);
  expect(steps(events, 'checkpoint')).toEqual([8, 16, 24, 32, 40]);
  expect(readdirSync(join(folder, 'checkpoints')).sort()).toEqual(['32', '40']); // keep the last two
  const losses = learned(events).flatMap((e) => ('loss' in e ? [e.loss as number] : []));
  expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 10);
  expect(JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'))).toEqual([...task.weights]);
  expect(events.at(-1)).toMatchObject({ event: 'done', facts: { steps: 40, samples: 160, weights: 8, run: folder } });
  expect(data.closed).toBe(true);
  expect(existsSync(join(folder, 'run.lock'))).toBe(false);
});

test('uninterrupted = resumed, and both differ from a restart with the weights alone', async () => {
  const whole = await go();
  const resumed = await go({ abortAt: 20 });
  const copy = await go({ abortAt: 20 });
  expect(resumed.error).toMatchObject({ code: 'CANCELLED' });
  expect(resumed.task.weights).not.toEqual(whole.task.weights);

  const again = await go({ folder: resumed.folder, resume: true });
  expect(again.data.asked).toEqual(Array.from({ length: 20 }, (_, i) => i + 20));
  expect(again.task.weights).toEqual(whole.task.weights);
  expect(learned(await logged(resumed.folder))).toEqual(learned(whole.events));

  const weightsOnly = await go({ folder: copy.folder, resume: true, behaviour: { weightsOnly: true } });
  expect(weightsOnly.task.restored).toBeDefined();
  expect(weightsOnly.task.weights).not.toEqual(whole.task.weights);
});

test('a signal is heard also when no step waits for anything', async () => {
  const options = { steps: 20_000, evaluateEvery: 0, previewEvery: 0, checkpointEvery: 0, logEvery: 1000 };
  expect((await go({ options, abortAfterMs: 50 })).error).toMatchObject({ code: 'CANCELLED' });
});

test.each(['evaluate', 'preview', 'finish'] as const)(
  '%s ends when a signal comes, and is done on resuming',
  async (endless) => {
    const { folder, error } = await go({ behaviour: { endless } });
    expect(error).toMatchObject({ code: 'CANCELLED', details: { resume: OPTIONS.resumeCommand } });
    expect(error.message).toContain(
      { evaluate: 'step 10', preview: 'step 20', finish: 'before the end was written' }[endless],
    );
    const again = await go({ folder, resume: true });
    expect(again.error).toBeUndefined();
    const events = await logged(folder);
    expect(steps(events, 'evaluation')).toEqual([10, 20, 30, 40]);
    expect(steps(events, 'sample_sheet')).toEqual([20, 40]);
    expect(existsSync(join(folder, 'model.json'))).toBe(true);
  },
);

test('what an interruption left undone is done first on resuming, and said once', async () => {
  const { folder, task, error } = await go({ abortAt: 20 }); // an evaluation and images were due
  expect(error).toMatchObject({ code: 'CANCELLED', details: { step: '20', resume: OPTIONS.resumeCommand } });
  expect(error.message).toContain('stopped after step 20 of 40');
  expect(error.message).toContain('go on with: drm fake --out RUN --resume');
  expect(task.evaluations).toEqual([10]);
  const twice = await go({ folder, resume: true, abortAt: 25 });
  expect(twice.task.evaluations).toEqual([20]);
  const events = await go({ folder, resume: true }).then(() => logged(folder));
  expect(steps(events, 'evaluation')).toEqual([10, 20, 30, 40]);
  expect(steps(events, 'sample_sheet')).toEqual([20, 40]);
  expect(steps(events, 'metric')).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
});

test('a signal in the last step leaves its evaluation and the export to the resumed run', async () => {
  const { folder, error } = await go({ abortAt: 40 });
  expect(error.message).toContain('stopped after step 40 of 40, before the end was written');
  expect(existsSync(join(folder, 'model.json'))).toBe(false);
  const again = await go({ folder, resume: true });
  expect(again.data.asked).toEqual([]);
  expect(again.task.evaluations).toEqual([40]);
  expect(existsSync(join(folder, 'model.json'))).toBe(true);
});

test('metrics of several steps are means, also over an interruption', async () => {
  const each = learned((await go()).events).filter((e) => 'loss' in e);
  const whole = await go({ options: { logEvery: 5, evaluateEvery: 0 } });
  const mean = learned(whole.events);
  expect(mean.map((e) => e.step)).toEqual([5, 10, 15, 20, 25, 30, 35, 40]);
  const five = each.slice(0, 5).map((e) => ('loss' in e ? (e.loss as number) : 0));
  expect(mean[0] && 'loss' in mean[0] && mean[0].loss).toBeCloseTo(five.reduce((a, b) => a + b) / 5, 12);
  // The checkpoint of step 8 falls into the middle of a window.
  const { folder } = await go({ options: { logEvery: 5, evaluateEvery: 0 }, failAt: 12 });
  await go({ folder, resume: true, options: { logEvery: 5, evaluateEvery: 0 } });
  expect(learned(await logged(folder))).toEqual(mean);
});

test.each([false, true])(
  'a loss that is not finite (thrown: %s) stops the run and names step and last good checkpoint',
  async (nanThrows) => {
    const { folder, error, events } = await go({ behaviour: { nanAt: [19], nanThrows } });
    expect(error).toBeInstanceOf(DrmError);
    expect(error.code).toBe('NOT_FINITE');
    expect(error.message).toContain('step 20: loss is NaN');
    expect(error.message).toContain(`the last good checkpoint is ${join(folder, 'checkpoints/16')}`);
    expect(steps(events, 'metric').at(-1)).toBe(19);
    expect((await logged(folder)).at(-1)).toMatchObject({ event: 'error', code: 'NOT_FINITE', exit_code: 3 });
  },
);

test('so many such steps may be skipped, counted over the whole run', async () => {
  const nanAt = [5, 19, 30];
  const skipped = await go({ behaviour: { nanAt }, options: { skipNotFinite: 3 } });
  expect(skipped.error).toBeUndefined();
  expect(skipped.events.filter((e) => e.event === 'warning').map((e) => e.message)).toEqual([
    'step 6: loss is NaN; the step is skipped (1 of 3 that may be)',
    'step 20: loss is NaN; the step is skipped (2 of 3 that may be)',
    'step 31: loss is NaN; the step is skipped (3 of 3 that may be)',
  ]);
  expect([...skipped.task.weights].every(Number.isFinite)).toBe(true);

  const { folder } = await go({ behaviour: { nanAt }, options: { skipNotFinite: 2 }, abortAt: 25 });
  const { error } = await go({ folder, resume: true, behaviour: { nanAt }, options: { skipNotFinite: 2 } });
  expect(error.message).toContain('step 31: loss is NaN, after 2 skipped steps');
});

test('data that cannot be read ends the run with what it learned so far on disk', async () => {
  const { folder, error, data } = await go({ failAt: 21 });
  expect(error.message).toBe('shard 7 is gone');
  expect(data.closed).toBe(true);
  const again = await go({ folder, resume: true });
  expect(again.data.asked[0]).toBe(21);
  expect(again.task.weights).toEqual((await go()).task.weights);
});

test('a full disk while saving: named, and the checkpoint before it is used', async () => {
  const onSave = (folder: string) => {
    if (folder.includes('.24.')) symlinkSync('/dev/full', join(folder, 'optimizer.bin')); // any write there is ENOSPC
  };
  const { folder, error } = await go({ behaviour: { onSave } });
  expect(error.code).toBe('DISK');
  expect(error.message).toContain(join(folder, 'checkpoints/24'));
  expect(error.message).toContain('free some space');
  expect(error.message).toContain(
    `the checkpoint of step 16 is intact; then go on from it with: ${OPTIONS.resumeCommand}`,
  );
  expect(readdirSync(join(folder, 'checkpoints')).sort()).toEqual(['16', '8']);
  const again = await go({ folder, resume: true });
  expect(again.data.asked[0]).toBe(16);
  expect(again.task.weights).toEqual((await go()).task.weights);
});

test('time alone can make a checkpoint due', async () => {
  const { events } = await go({
    options: { steps: 6, checkpointEvery: 0, checkpointMinutes: 0.0001 },
    behaviour: { stepMs: 10 },
  });
  expect(steps(events, 'checkpoint')).toEqual([1, 2, 3, 4, 5, 6]);
});

test('more steps than before go on, fewer than are done are refused', async () => {
  const { folder } = await go({ options: { steps: 16 } });
  expect((await go({ folder, resume: true, options: { steps: 20 } })).data.asked).toEqual([16, 17, 18, 19]);
  const { error } = await go({ folder, resume: true, options: { steps: 10 } });
  expect(error).toMatchObject({ code: 'BAD_CONFIG' });
  expect(error.message).toContain('found 20; ask for more steps');
});

test('a finished run that is resumed has nothing to do but to export again', async () => {
  const { folder } = await go();
  const again = await go({ folder, resume: true });
  expect(again.error).toBeUndefined();
  expect(again.data.asked).toEqual([]);
  expect(again.events.at(-1)).toMatchObject({ event: 'done', facts: { weights: 8 } });
});

test('the command that resumes is what was typed, safe to paste', () => {
  expect(resumeCommand(['pretrain', 'flow', '--set', 'caption=a fox'], 'runs/it')).toBe(
    "drm pretrain flow --set 'caption=a fox' --out runs/it --resume",
  );
  expect(resumeCommand(['train', '--out', "it's", '--resume'], 'x')).toBe("drm train --out 'it'\\''s' --resume");
});

test('with evaluateFirst there is something to compare with; a resumed run does not do it again', async () => {
  const options = { evaluateFirst: true };
  const { folder, events } = await go({ options, abortAt: 5 });
  expect([steps(events, 'evaluation'), steps(events, 'sample_sheet')]).toEqual([[0], [0]]);
  const again = await go({ folder, resume: true, options });
  expect(steps(again.events, 'evaluation')).toEqual([10, 20, 30, 40]);
});

test('a task that wants to end: the last step is evaluated and saved, and the result is written', async () => {
  const { folder, events, error } = await go({ behaviour: { endAt: 13 } });
  expect(error).toBeUndefined();
  expect(steps(events, 'metric').at(-1)).toBe(13);
  expect([steps(events, 'evaluation'), steps(events, 'sample_sheet')]).toEqual([[10, 13], [13]]);
  expect(steps(events, 'checkpoint')).toEqual([8, 13]);
  expect(existsSync(join(folder, 'model.json'))).toBe(true);
  expect(events.at(-1)).toMatchObject({ event: 'done', facts: { steps: 13, ended: 'it has learned enough' } });

  const same = await go({ folder, resume: true, behaviour: { endAt: 13 } });
  expect(steps(same.events, 'metric')).toEqual([]);
  expect(same.events.at(-1)).toMatchObject({ event: 'done', facts: { steps: 13, ended: 'it has learned enough' } });
  const on = await go({ folder, resume: true });
  expect(on.events.at(-1)).toMatchObject({ event: 'done', facts: { steps: 40 } });
  expect(on.events.at(-1)).not.toMatchObject({ facts: { ended: expect.anything() } });
});
