// Which pairs are trained on and which are held out.
import { afterEach, describe, expect, test } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { resolveConfig } from '../../cli/config/resolve.js';
import { openPairs, type PairPart, type PairParts, type PairSettings, recordsOf } from '../../cli/train/tasks/pairs.js';
import { preparedPairs } from '../e2e/reward_training.js';
import { temporaryFolder } from '../run_drm.js';

const opened: PairParts[] = [];
afterEach(async () => {
  for (const parts of opened.splice(0)) await parts.close();
});

async function open(settings: Partial<PairSettings>) {
  const events: Event[] = [];
  const parts = await openPairs(
    {
      ...{
        task: 'train',
        data: '',
        split: 'train',
        evaluate_data: '',
        evaluate_split: 'test',
        evaluate_every: 1,
        evaluate_samples: 9,
      },
      ...{ hold_out: 40, batch: 1, seed: 0, prefetch: 1, ...settings },
    },
    { emit: (event) => events.push(event) },
  );
  opened.push(parts);
  return { ...parts, events };
}

async function promptsOf(part: PairPart | undefined): Promise<string[]> {
  const prompts: string[] = [];
  if (part) for await (const { prompt } of recordsOf(part)) prompts.push(prompt);
  return prompts;
}

describe('held out is', () => {
  test('another set, by the split where it has one of that name; its images have numbers of their own', async () => {
    const data = await preparedPairs(temporaryFolder(), { train: 6, test: 2 });
    const other = await preparedPairs(temporaryFolder(), { train: 3, test: 5 });
    const { train, heldOut, note } = await open({ data, evaluate_data: other });
    expect([train.length, heldOut?.length, note]).toEqual([6, 5, `test of ${other}`]);
    expect([train.firstImage, heldOut?.firstImage]).toEqual([0, 12]);
    const all = await preparedPairs(temporaryFolder(), { train: 4, test: 0 });
    expect((await open({ data, evaluate_data: all })).heldOut?.length).toBe(4);
  });

  test("the set's own split", async () => {
    const data = await preparedPairs(temporaryFolder(), { train: 6, test: 2 });
    const { train, heldOut, note } = await open({ data });
    expect([train.length, heldOut?.length, note]).toEqual([6, 2, `test of ${data}`]);
  });

  test('a part of the prompts, whole and fixed', async () => {
    const data = await preparedPairs(temporaryFolder(), { train: 30, test: 0 }); // seven prompts
    const { train, heldOut, note } = await open({ data });
    const [trained, kept] = [await promptsOf(train), await promptsOf(heldOut)];
    expect(trained.length + kept.length).toBe(30);
    expect(trained.filter((prompt) => kept.includes(prompt))).toEqual([]);
    expect(kept.length).toBeGreaterThan(0);
    expect(note).toBe(`40 % of the prompts of ${data}`);
    expect(await promptsOf((await open({ data, seed: 7 })).heldOut)).toEqual(kept);
    expect((await promptsOf(heldOut?.first(2))).length).toBe(2);
  });

  test('nothing, where nothing can be spared, which is said, or where none is wanted', async () => {
    const data = await preparedPairs(temporaryFolder(), { train: 1, test: 0 });
    const { train, heldOut, events } = await open({ data });
    expect([train.length, heldOut]).toEqual([1, undefined]);
    expect(events).toEqual([{ event: 'info', message: expect.stringContaining('name other pairs with --eval-data') }]);
    // The paper's recipe leaves no pair out.
    const { hold_out, evaluate_split } = resolveConfig('train', { file: 'train/sd35-medium-paper' }).values;
    const data30 = await preparedPairs(temporaryFolder(), { train: 30, test: 0 });
    const all = await open({ data: data30, hold_out, evaluate_split });
    expect([all.train.length, all.heldOut]).toEqual([30, undefined]);
    expect(all.events).toEqual([{ event: 'info', message: expect.stringContaining('all pairs are trained on') }]);
    const whole = await preparedPairs(temporaryFolder(), { train: 4, test: 2 });
    expect((await open({ data: whole, evaluate_every: 0 })).heldOut).toBeUndefined();
  });
});

test('a part without bad images', async () => {
  const data = await preparedPairs(temporaryFolder(), { train: 5, test: 0 });
  const { train } = await open({ data, evaluate_every: 0 });
  const part = await train.without(new Set([2, 9])); // pairs 1 and 4
  expect(Array.from({ length: part.length }, (_, n) => part.at(n))).toEqual([0, 2, 3]);
});
