// `drm eval images` as a user runs it, with the fixtures' small pipeline and random judges.
import { cpSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { cmmd, Scorer } from '../../binding/index.js';
import { readText } from '../../cli/image/png_text.js';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { readTensors, writeTensors } from '../parity/safetensors.js';
import { writeClip } from '../rewards/clip_folder.js';
import { writeDrm } from '../rewards/drm_folder.js';
import { fixture, repository, runDrm, temporaryFolder } from '../run_drm.js';
import { colours, writeSet } from './small_set.js';

interface Estimate {
  mean: number;
  low: number;
  high: number;
}
interface Verdict {
  scorer: string;
  images: number;
  score: Estimate;
  retrieval: { top1: Estimate; top5: Estimate; among: number };
  cmmd?: { biased: number; unbiased: number };
}

function world() {
  const folder = temporaryFolder();
  const prompts = join(folder, 'prompts.txt');
  writeFileSync(
    prompts,
    `${colours
      .slice(0, 3)
      .map(({ caption }) => caption)
      .join('\n')}\n`,
  );
  return { folder, prompts, judge: `clip:${writeClip(join(folder, 'judge'))}`, out: join(folder, 'out') };
}
type World = ReturnType<typeof world>;

const run = ({ prompts, judge, out }: World, ...more: string[]) =>
  runDrm([
    ...['eval', 'images', '--model', fixture, '--prompts', prompts, '--scorer', judge, '--out', out],
    // One image a call: an image made again alone is then the same bits on every CPU.
    ...['--steps', '2', '--size', '32', '--threads', '1', '--batch', '1', ...more],
  ]);

function resultOf(stdout: string) {
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { data, text } = events.find(({ event }) => event === 'result');
  return { events, text: text as string, data };
}
const pngs = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.png'));
const times = (folder: string) => pngs(folder).map((name) => statSync(join(folder, name)).mtimeMs);

// Up to four runs a test; on a machine that is busy otherwise each may take a quarter of a minute.
describe('drm eval images', { timeout: 180_000 }, () => {
  test('says what the features of the images on disk say', async () => {
    const w = world();
    const set = await writeSet(join(w.folder, 'set'));
    const { code, stdout, stderr } = await run(w, '--n', '2', '--reference', set, '--json');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const { data, text } = resultOf(stdout);
    expect(pngs(w.out)).toHaveLength(6);
    expect(JSON.parse(readFileSync(join(w.out, 'results.json'), 'utf8'))).toEqual(data);
    const [row] = data.rows;
    const verdict: Verdict = row.verdicts[0];
    expect(row.seconds_per_image).toBeGreaterThan(0);

    const folder = join(w.folder, 'judge');
    const clip = await Scorer.load(
      { kind: 'clip', config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] },
      { device: 'cpu', dtype: 'fp32' },
    );
    const tokenizer = Tokenizer.fromFolder(folder);
    const chosen = colours.slice(0, 3);
    const said = await clip.textFeatures(
      await Promise.all(chosen.map(async ({ caption }) => (await tokenizer.padded(caption, 24)).ids)),
    );
    const seen = await clip.imageFeatures(
      await Promise.all(
        pngs(w.out).map(async (name) => {
          const { data: pixels, info } = await sharp(join(w.out, name)).raw().toBuffer({ resolveWithObject: true });
          return { pixels, width: info.width, height: info.height };
        }),
      ),
    );
    const real = await clip.imageFeatures(
      chosen.map(({ rgb }) => ({
        pixels: Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) => rgb[at % 3] as number),
        width: 32,
        height: 32,
      })),
    );
    const near = (features: typeof seen, i: number, j: number) => {
      let sum = 0;
      for (let k = 0; k < 8; k++) sum += (features.values[8 * i + k] as number) * (said.values[8 * j + k] as number);
      return sum;
    };
    const hits = (features: typeof seen, own: (i: number) => number) =>
      Array.from({ length: features.rows }, (_, i) =>
        Number([0, 1, 2].every((j) => j === own(i) || near(features, i, j) < near(features, i, own(i)))),
      ).reduce((a, b) => a + b) / features.rows;
    const own = (i: number) => Math.floor(i / 2);
    expect(verdict.score.mean).toBeCloseTo(
      [0, 1, 2, 3, 4, 5].map((i) => near(seen, i, own(i))).reduce((a, b) => a + b) / 6,
      5,
    );
    expect(verdict.retrieval.top1.mean).toBeCloseTo(hits(seen, own), 9);
    expect(verdict.retrieval.among).toBe(3);
    const distance = await cmmd(seen, real);
    expect(verdict.cmmd?.biased).toBeCloseTo(distance.biased, 6);
    expect(verdict.cmmd?.unbiased).toBeCloseTo(distance.unbiased, 6);
    expect(data.reference).toMatchObject({ images: 3, captions: 3 });
    expect(data.reference.verdicts[0].retrieval.top1.mean).toBeCloseTo(
      hits(real, (i) => i),
      9,
    );
    expect(text).toMatch(/real images/);
    clip.dispose();
  });

  test('makes no image again that is there already, and any that is not', async () => {
    const w = world();
    const first = await run(w, '--json');
    expect(first.code).toBe(0);
    const before = times(w.out);
    const again = await run(w, '--json');
    expect(again.code).toBe(0);
    expect(times(w.out)).toEqual(before);
    expect(resultOf(again.stdout).events.some(({ id }) => id === 'load')).toBe(false); // the model was not needed
    expect(resultOf(again.stdout).data.rows).toEqual(resultOf(first.stdout).data.rows);

    const [name = ''] = pngs(w.out);
    const [file, pixels] = [join(w.out, name), () => sharp(join(w.out, name)).raw().toBuffer()];
    const [recipe, whole] = [readText(readFileSync(file)), await pixels()];
    truncateSync(file, 200);
    expect((await run(w)).code).toBe(0);
    expect(readText(readFileSync(file))).toEqual(recipe);
    const remade = await pixels(); // alone, not in a batch of three: the same to rounding
    expect(whole.every((value, at) => Math.abs(value - (remade[at] as number)) <= 2)).toBe(true);
    expect(times(w.out).slice(1)).toEqual(before.slice(1));

    expect((await run(w, '--guidance', '2')).code).toBe(0);
    expect(times(w.out).every((time, i) => time !== before[i])).toBe(true);
    expect(pngs(w.out)).toHaveLength(3);
  });

  test('makes images again when the weights under the same name have changed', async () => {
    const w = world();
    const model = join(w.folder, 'model');
    cpSync(fixture, model, { recursive: true });
    const first = await run(w, '--model', model);
    expect(first.code).toBe(0);
    const before = times(w.out);
    const weights = join(model, 'transformer/diffusion_pytorch_model.safetensors');
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1; // the last number's sign or exponent
    writeFileSync(weights, bytes);
    expect((await run(w, '--model', model)).code).toBe(0);
    expect(times(w.out).every((time, i) => time !== before[i])).toBe(true);
  });

  test('sweeps settings, a row and a folder each, and judges by several', async () => {
    const w = world();
    const second = `clip:${writeClip(join(w.folder, 'judge-2'), 2)}`;
    const { code, stdout } = await run(w, '--sweep', 'guidance=1,3', '--scorer', second, '--grid', '--json');
    expect(code).toBe(0);
    const { data, text } = resultOf(stdout);
    expect(data.rows.map(({ setting }: { setting: string }) => setting)).toEqual(['guidance=1', 'guidance=3']);
    expect(data.rows[0].verdicts.map(({ scorer }: Verdict) => scorer)).toEqual([w.judge, second]);
    expect(data.rows[0].verdicts[0].score.mean).not.toBe(data.rows[0].verdicts[1].score.mean);
    expect(data.rows[0].verdicts[0].score.mean).not.toBe(data.rows[1].verdicts[0].score.mean);
    // For each judge a title, a head, two settings, and the same with differences; the judges side by side; blank lines.
    expect(text.split('\n')).toHaveLength(19);
    for (const line of text.split('\n').filter((l) => !l.includes(':'))) expect(line.length).toBeLessThanOrEqual(80);
    for (const name of ['guidance-1', 'guidance-3']) {
      expect(pngs(join(w.out, name))).toHaveLength(4);
      expect(existsSync(join(w.out, name, 'grid.png'))).toBe(true);
    }
    const [image = ''] = pngs(join(w.out, 'guidance-3'));
    const recipe = JSON.parse(readText(readFileSync(join(w.out, 'guidance-3', image))).drm ?? '{}');
    expect(recipe.settings).toMatchObject({ guidance: 3, steps: 2, height: 32, width: 32 });
  });

  test('compares numbers of candidates on the same prompts and seeds', async () => {
    const w = world();
    const reward = await writeDrm(join(w.folder, 'drm'));
    const more = [
      '--scorer',
      reward,
      '--k',
      '1,3',
      '--reward',
      reward,
      '--noise-level',
      '0.9',
      '--n',
      '2',
      '--grid',
      '--json',
    ];
    const first = await run(w, ...more);
    expect(first.stderr).toBe('');
    expect(first.code).toBe(0);
    const { data, text, events } = resultOf(first.stdout);
    const [one, three] = data.rows;
    expect([one.setting, three.setting]).toEqual(['k=1', 'k=3']);
    expect(one.against_first).toBeUndefined();
    expect(three.against_first[0].score.mean).toBeCloseTo(
      three.verdicts[0].score.mean - one.verdicts[0].score.mean,
      12,
    );
    expect(three.against_first[0].score.n).toBe(3); // prompts, not images
    expect(three.time_ratio).toBeCloseTo(three.seconds_per_image / one.seconds_per_image, 12);
    expect(three.cost.reward).toBeGreaterThan(0);
    expect(one.cost.reward).toBe(0);
    expect(one.verdicts[0].diversity.mean).toBeGreaterThan(0);
    expect(one.verdicts[1]).toMatchObject({ scorer: reward, unit: 'score', images: 6 });
    expect(text).toMatch(/against k=1 +score +top-1 points +diversity +time/);
    expect(text).toContain('diversity: 1 - cosine of image features');
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(events.find(({ path }) => path === join(w.out, 'compare.png'))).toBeDefined();

    // One candidate is plain sampling, pixel for pixel; three are not.
    const plain = { ...w, out: join(w.folder, 'plain') };
    expect((await run(plain, '--n', '2')).code).toBe(0);
    const [name = ''] = pngs(plain.out);
    const pixels = (folder: string) => sharp(join(folder, name)).raw().toBuffer();
    expect((await pixels(join(w.out, 'k-1'))).equals(await pixels(plain.out))).toBe(true);
    expect((await pixels(join(w.out, 'k-3'))).equals(await pixels(plain.out))).toBe(false);

    // The same reward under the same name is not asked again; another is.
    const chosen = () => times(join(w.out, 'k-3')).slice(0, 6); // the seventh is the sheet
    const before = chosen();
    const again = await run(w, ...more);
    expect(chosen()).toEqual(before);
    expect(resultOf(again.stdout).data).toEqual(data);
    await writeDrm(reward, 2);
    expect((await run(w, ...more)).code).toBe(0);
    expect(chosen().every((time, i) => time !== before[i])).toBe(true);
  });

  test('a scorer of finished images may choose, and other weights of it choose anew', async () => {
    const w = world();
    const clip = join(w.folder, 'chooser');
    writeClip(clip);
    const more = ['--k', '1,3', '--reward', `clip:${clip}`, '--json'];
    const first = await run(w, ...more);
    expect(first.code, first.stderr).toBe(0);
    const chosen = () => times(join(w.out, 'k-3'));
    const before = chosen();
    expect(before).toHaveLength(3);
    expect(resultOf(first.stdout).data.rows[1].cost.reward).toBeGreaterThan(0);
    expect((await run(w, ...more)).code).toBe(0);
    expect(chosen()).toEqual(before);
    writeClip(clip, 2);
    expect((await run(w, ...more)).code).toBe(0);
    expect(chosen().every((time, i) => time !== before[i])).toBe(true);
  });

  test('compares adapters with the base, and makes images again when an adapter is another', async () => {
    const w = world();
    const adapter = join(w.folder, 'adapter.safetensors');
    cpSync(join(repository, 'test/e2e/data/lora.safetensors'), adapter);
    const base = await run(w);
    expect(base.code).toBe(0);
    const swept = ['--sweep', `lora=none,${adapter}:0,${adapter}`];
    const { code, stdout, stderr } = await run(w, ...swept, '--json');
    expect(code, stderr).toBe(0);
    const { data, events } = resultOf(stdout);
    const told = events.filter(({ message }) => /48 of 48 tensors matched/.test(message ?? ''));
    expect(told).toHaveLength(2);
    const [none, off, on] = data.rows;
    expect([none, off, on].map(({ settings }) => settings.lora)).toEqual([[], [`${adapter}:0`], [adapter]]);
    const pixels = (folder: string) =>
      Promise.all(pngs(folder).map((name) => sharp(join(folder, name)).raw().toBuffer()));
    const plain = await pixels(w.out);
    expect(await pixels(none.folder)).toEqual(plain);
    expect(await pixels(off.folder)).toEqual(plain);
    expect(await pixels(on.folder)).not.toEqual(plain);

    const before = times(on.folder);
    await run(w, ...swept);
    expect(times(on.folder)).toEqual(before);
    writeTensors(adapter, readTensors(adapter)); // without its alpha
    await run(w, ...swept);
    expect(times(on.folder)).not.toEqual(before);
    expect(times(none.folder)).toHaveLength(3);
  });

  test('compares with all of a set that knows none of the prompts, and says so', async () => {
    const w = world();
    const strangers = colours.slice(4).map((colour) => ({ ...colour, split: 'train' }));
    const set = await writeSet(join(w.folder, 'set'), strangers);
    const { code, stdout } = await run(w, '--reference', set, '--json');
    expect(code).toBe(0);
    const { data, events } = resultOf(stdout);
    expect(data.reference).toEqual({ folder: set, images: 8, captions: 0, verdicts: [] });
    expect(data.rows[0].verdicts[0].cmmd.biased).toBeGreaterThan(0);
    expect(events.find(({ event }) => event === 'warning').message).toContain('no prompt is a caption');
  });

  test('keeps what was made when it is stopped, and goes on', async () => {
    const w = world();
    writeFileSync(w.prompts, Array.from({ length: 12 }, (_, i) => `prompt ${i}`).join('\n'));
    const stopped = await runDrm(
      [
        ...['eval', 'images', '--model', fixture, '--prompts', w.prompts, '--scorer', w.judge, '--out', w.out],
        ...['--steps', '3', '--size', '64', '--batch', '1', '--threads', '1', '--json'],
      ],
      { onOutput: { when: '"id":"make "', act: (kill) => kill('SIGINT') } },
    );
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toContain('goes on from there');
    const kept = times(w.out);
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.length).toBeLessThan(12);
    const done = await runDrm([
      ...['eval', 'images', '--model', fixture, '--prompts', w.prompts, '--scorer', w.judge, '--out', w.out],
      ...['--steps', '3', '--size', '64', '--batch', '1', '--threads', '1'],
    ]);
    expect(done.code).toBe(0);
    expect(times(w.out)).toHaveLength(12);
    expect(times(w.out).slice(0, kept.length)).toEqual(kept);
  });

  test.each([
    [['--sweep', 'gidance=1,2'], 2, 'did you mean guidance?'],
    [['--sweep', 'guidance=1,,2'], 2, '--sweep guidance=1,,2'],
    [['--sweep', 'steps=0'], 2, 'steps'],
    [['--k', '1,x'], 2, '--k'],
    [['--k', '2'], 2, 'expected a reward'],
    [['--k', '2', '--reward', 'truth'], 2, 'never guides'],
    [['--k', '2', '--reward', 'a', '--reward', 'b'], 2, '--sweep reward=a,b'],
    [['--lora', '/nowhere'], 3, '/nowhere'],
    [['--sweep', 'lora=/nowhere'], 3, '/nowhere'],
    [['--scorer', 'clip:/nowhere'], 4, '/nowhere'],
    [['--reference', '/nowhere'], 3, '/nowhere'],
  ])('refuses %j before it makes anything', async (more, expected, part) => {
    const w = world();
    const { code, stderr } = await run(w, ...more);
    expect(stderr).toContain(part);
    expect(code).toBe(expected);
    expect(existsSync(w.out) ? pngs(w.out) : []).toEqual([]);
  });
});
