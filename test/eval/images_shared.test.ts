// `drm eval images`: noise of each prompt's own, and several processes that share the images.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { command as evaluate } from '../../cli/commands/eval.js';
import { seedOfPrompt } from '../../cli/eval/image_jobs.js';
import { readText } from '../../cli/image/png_text.js';
import { runHere } from '../e2e/here.js';
import { writeClip } from '../rewards/clip_folder.js';
import { writeDrm } from '../rewards/drm_folder.js';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const judge = `clip:${path('judge')}`;
const prompts = Array.from({ length: 5 }, (_, i) => `prompt ${i}`);

beforeAll(async () => {
  writeClip(path('judge'));
  await writeDrm(path('drm'));
  writeFileSync(path('prompts.txt'), prompts.join('\n'));
}, 120_000);

const command = (out: string, ...more: string[]) => [
  ...['images', '--model', fixture, '--prompts', path('prompts.txt'), '--scorer', judge, '--out', path(out)],
  ...['--steps', '2', '--size', '32', '--dtype', 'fp32', '--threads', '1', ...more],
];
const here = async (out: string, ...more: string[]) => {
  const events = await runHere(evaluate, command(out, ...more));
  return (events.find(({ event }) => event === 'result') as never as { data: { rows: Row[] } }).data;
};
interface Row {
  images: number;
  seconds_per_image?: number;
  verdicts: { score: { mean: number } }[];
  against_first?: { score: { mean: number } }[];
}
const pngs = (folder: string) =>
  readdirSync(folder)
    .filter((name) => /^\d{5}-/.test(name))
    .sort();
const recipeOf = (file: string) => JSON.parse(readText(readFileSync(file)).drm ?? '{}');
const pixels = (file: string) => sharp(file).raw().toBuffer();

test('every prompt and image has noise of its own, the same for every setting', async () => {
  await here('seeds', '--n', '2', '--sweep', 'guidance=1,2', '--seed', '9');
  const folders = ['guidance-1', 'guidance-2'].map((name) => path(`seeds/${name}`));
  const [one, two] = folders.map((folder) => pngs(folder).map((name) => recipeOf(join(folder, name)))) as [
    { prompt: string; seed: string }[],
    { prompt: string; seed: string }[],
  ];
  expect(one.map(({ prompt, seed }) => [prompt, BigInt(seed)])).toEqual(
    prompts.flatMap((prompt) => [0n, 1n].map((i) => [prompt, seedOfPrompt(prompt, 9) + i])),
  );
  expect(new Set(one.map(({ seed }) => seed)).size).toBe(10);
  expect(two.map(({ seed }) => seed)).toEqual(one.map(({ seed }) => seed));
}, 120_000);

describe('several processes', { timeout: 240_000 }, () => {
  test('make the images of one, to rounding, and none twice', async () => {
    const settings = ['--k', '1,3', '--reward', path('drm')];
    const alone = await here('one', ...settings);
    const shared = await runDrm(['eval', ...command('two', ...settings, '--nproc', '2', '--json')]);
    expect(shared.code, shared.stderr).toBe(0);
    const { rows } = JSON.parse(readFileSync(path('two/results.json'), 'utf8')) as { rows: Row[] };
    for (const [i, row] of alone.rows.entries()) {
      expect(rows[i]?.images).toBe(5);
      expect(rows[i]?.seconds_per_image).toBeGreaterThan(0);
      expect(rows[i]?.verdicts[0]?.score.mean).toBeCloseTo(row.verdicts[0]?.score.mean as number, 3);
    }
    for (const folder of ['k-1', 'k-3']) {
      const names = pngs(path(`one/${folder}`));
      expect(pngs(path(`two/${folder}`))).toEqual(names);
      for (const name of names) {
        const [a, b] = await Promise.all(['one', 'two'].map((out) => pixels(path(`${out}/${folder}/${name}`))));
        expect(a?.every((value, at) => Math.abs(value - (b?.[at] as number)) <= 2)).toBe(true);
      }
    }
    // What is there is not made again: the model is not even loaded.
    const events = await runHere(evaluate, command('two', ...settings));
    expect(events.some((event) => event.event === 'progress' && event.id === 'load')).toBe(false);
  });

  test('end together when one is killed, and another run makes what is missing', async () => {
    writeFileSync(path('many.txt'), Array.from({ length: 40 }, (_, i) => `image ${i}`).join('\n'));
    const more = ['--prompts', path('many.txt'), '--batch', '1', '--steps', '12'];
    const killRankOne = () => {
      for (const pid of spawnSync('pgrep', ['-f', path('killed')])
        .stdout.toString()
        .trim()
        .split('\n')) {
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
        if (environment.includes('RANK=1')) process.kill(Number(pid), 'SIGKILL');
      }
    };
    const ended = await runDrm(['eval', ...command('killed', ...more, '--nproc', '2', '--json')], {
      onOutput: { when: '"id":"make "', act: killRankOne },
    });
    expect(ended.code, ended.stderr).toBe(4);
    expect(ended.stderr).toContain('rank 1');
    expect(pngs(path('killed')).length).toBeLessThan(40);
    await here('killed', ...more);
    expect(pngs(path('killed'))).toHaveLength(40);
  });

  test('are for images and pairs', async () => {
    const { code, stderr } = await runDrm(['eval', 'retrieval', '--data', 'x', '--scorer', judge, '--nproc', '2']);
    expect(code).toBe(2);
    expect(stderr).toContain('It is one of drm eval images and drm eval pairs.');
  });
});
