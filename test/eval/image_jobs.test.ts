// Seeds of `drm eval images`.
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { evaluationJobs, seedOfPrompt } from '../../cli/eval/image_jobs.js';

const settings = { n: 2, seed: 0, negative_prompt: '' };
const seeds = (prompts: string[], more = {}) =>
  evaluationJobs(
    prompts.map((prompt) => ({ prompt })),
    { ...settings, ...more },
  ).map(({ prompt, seed }) => [prompt, seed] as const);

describe('seeds of an evaluation', () => {
  test("are a prompt's own: no two images share their noise", () => {
    const prompts = Array.from({ length: 2048 }, (_, i) => `prompt ${i}`);
    expect(new Set(seeds(prompts).map(([, seed]) => seed)).size).toBe(4096);
  });

  test("are flow_grpo's: base + the first four bytes of the prompt's sha256, mod 2^31", () => {
    // Of Python: int.from_bytes(hashlib.sha256(b'abc').digest()[:4], 'big') = 0xba7816bf
    expect(seedOfPrompt('abc', 42)).toBe((0xba7816bfn + 42n) % 2n ** 31n);
    const hash = createHash('sha256').update('ein Haus, größer').digest().readUInt32BE(0);
    expect(seedOfPrompt('ein Haus, größer', 7)).toBe((BigInt(hash) + 7n) % 2n ** 31n);
    expect(seeds(['abc'])).toEqual([
      ['abc', seedOfPrompt('abc', 0)],
      ['abc', seedOfPrompt('abc', 0) + 1n],
    ]);
  });

  test('stay as they are in a part of the list and in another order', () => {
    const all = new Map(seeds(['a', 'b', 'c', 'd'], { n: 1 }));
    expect(seeds(['d', 'b'], { n: 1 })).toEqual([
      ['d', all.get('d')],
      ['b', all.get('b')],
    ]);
  });

  test('go on counting where a prompt stands in the list again, as those of GenEval do', () => {
    const own = seedOfPrompt('a', 0);
    expect(seeds(['a', 'b', 'a'], { n: 2 }).filter(([prompt]) => prompt === 'a')).toEqual(
      [0n, 1n, 2n, 3n].map((i) => ['a', own + i]),
    );
  });

  test('are those of the list where it has its own', () => {
    const jobs = evaluationJobs([{ prompt: 'a', seed: 5n }, { prompt: 'a', seed: 5n }, { prompt: 'a' }], settings);
    expect(jobs.map(({ seed }) => seed)).toEqual([5n, 6n, 5n, 6n, seedOfPrompt('a', 0), seedOfPrompt('a', 0) + 1n]);
  });
});
