// `drm sample` as a user runs it.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { readText } from '../../cli/image/png_text.js';
import { largestDifference, readTensors } from '../parity/safetensors.js';
import { drm, fixture, quick, repository, runDrm, temporaryFolder } from '../run_drm.js';

test('images go to the folder, their paths to stdout, all else to stderr', async () => {
  const out = temporaryFolder();
  const { code, stdout, stderr } = await runDrm([
    ...quick,
    '--prompt',
    'a red fox',
    '--n',
    '2',
    '--grid',
    '--out',
    out,
  ]);
  expect(stderr).toContain('done in');
  expect(code).toBe(0);
  expect(stdout.trim().split('\n')).toEqual([
    join(out, '0-a-red-fox.png'),
    join(out, '1-a-red-fox.png'),
    join(out, 'grid.png'),
  ]);
  const { width, height } = await sharp(join(out, '0-a-red-fox.png')).metadata();
  expect([width, height]).toEqual([48, 32]);
  const grid = await sharp(join(out, 'grid.png')).metadata();
  // Margins, the prompt above the row, seeds below the images.
  expect([grid.width, grid.height]).toEqual([2 * 48 + 3 * 8, 8 + 9 + 4 + 32 + 4 + 9 + 4 + 4]);
});

test('an image is repeated from the settings inside it, byte for byte', async () => {
  const out = temporaryFolder();
  const again = temporaryFolder();
  await runDrm([...quick, '--prompt', 'ein Fuchs 🦊', '--seed', '7', '--guidance', '3', '--out', out]);
  const [name] = readdirSync(out);
  const file = join(out, name ?? '');
  const metadata = JSON.parse(readText(readFileSync(file)).drm ?? '{}');
  expect(metadata).toMatchObject({
    prompt: 'ein Fuchs 🦊',
    seed: '7',
    settings: { guidance: 3, steps: 2, height: 32, width: 48 },
  });
  const { code } = await runDrm(['sample', '--from', file, '--out', again]);
  expect(code).toBe(0);
  expect(readFileSync(join(again, name ?? '')).equals(readFileSync(file))).toBe(true);
});

test.each(['webp', 'jpeg'])('%s has its settings inside, from which it is repeated', async (format) => {
  const out = temporaryFolder();
  const file = join(out, format === 'jpeg' ? 'x.jpg' : 'x.webp');
  const { code, stdout, stderr } = await runDrm([...quick, '"ein" Fuchs 🦊 <é>\n', '--out', file]);
  expect(code, stderr).toBe(0);
  expect(stdout.trim()).toBe(file);
  expect(readdirSync(out)).toHaveLength(1);
  const { format: found, exif } = await sharp(file).metadata();
  expect(found).toBe(format);
  expect(exif?.toString('latin1')).toContain('Steps: 2, CFG scale');
  const folder = temporaryFolder();
  await runDrm(['sample', '--from', file, '--format', format, '--out', folder]);
  const [again = ''] = readdirSync(folder);
  expect(readFileSync(join(folder, again)).equals(readFileSync(file))).toBe(true);
});

test('--out names the file of one image, and of one alone', async () => {
  const file = join(temporaryFolder(), 'a/fox.png');
  for (const seed of ['1', '2']) {
    const { code, stderr } = await runDrm([...quick, 'a red fox', '--seed', seed, '--out', file]);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(readText(readFileSync(file)).drm ?? '{}').seed).toBe(seed); // replaced, as it was named
  }
  const two = await runDrm([...quick, 'a', '-n', '2', '--out', file]);
  expect(two.code).toBe(2);
  expect(two.stderr).toContain('expected a folder for 2 images');
  const other = await runDrm([...quick, 'a', '--format', 'webp', '--out', file]);
  expect(other.stderr).toContain('expected one format');
});

test('lines of a prompt file have settings of their own; others are warned of; - is standard input', async () => {
  const out = temporaryFolder();
  const prompts = ['{"prompt": "a", "steps": 3, "width": 32, "n": 2, "style": "x"}', '{"prompt": "b"}'].join('\n');
  const child = spawnSync(process.execPath, [drm, ...quick, '--prompts', '-', '--grid', '--out', out], {
    input: prompts,
    encoding: 'utf8',
    env: { ...process.env, CI: '1' },
  });
  expect(child.status, child.stderr).toBe(0);
  expect(child.stderr).toContain('"style", which 1 of 2 prompts have');
  const made = async (name: string) => {
    const { width } = await sharp(join(out, name)).metadata();
    const { settings } = JSON.parse(readText(readFileSync(join(out, name))).drm ?? '{}');
    return { width, steps: settings.steps };
  };
  expect(await made('0-a.png')).toEqual({ width: 32, steps: 3 });
  expect(await made('1-a.png')).toEqual({ width: 32, steps: 3 });
  expect(await made('0-b.png')).toEqual({ width: 48, steps: 2 });
  const bad = join(out, 'bad.jsonl');
  writeFileSync(bad, '{"prompt": "a", "steps": 0}');
  const refused = await runDrm([...quick, '--prompts', bad, '--out', out]);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('expected at least 1, found 0');
  expect(refused.stderr).toContain('"a" of the prompt file');
  const latents = await runDrm([...quick, '--prompts', bad, '-p', 'b', '--save-latents', join(out, 'l.safetensors')]);
  expect(latents.code).not.toBe(0);
});

test('a prompt without a flag, and flags as diffusers and A1111 have them', async () => {
  const made = async (...args: string[]) => {
    const out = temporaryFolder();
    const base = ['sample', '--model', fixture, '--height', '32', '--width', '48'];
    const { code, stderr } = await runDrm([...base, ...args, '--out', out]);
    expect(code, stderr).toBe(0);
    return readdirSync(out).map((name) => [name, readFileSync(join(out, name)).toString('base64')]);
  };
  const ours = await made('--prompt', 'a red fox', '--steps', '3', '--guidance', '2', '--n', '2');
  expect(await made('a red fox', '--num-inference-steps', '3', '--guidance-scale', '2', '-n', '2')).toEqual(ours);
  expect(await made('a red fox', '--steps', '3', '--cfg-scale', '2', '--num-images', '2')).toEqual(ours);
});

test('--seed random is another each time, and is in the image', async () => {
  const seeds = [];
  for (const out of [temporaryFolder(), temporaryFolder()]) {
    await runDrm([...quick, 'a red fox', '--seed', 'random', '--out', out]);
    const [name = ''] = readdirSync(out);
    const { seed } = JSON.parse(readText(readFileSync(join(out, name))).drm ?? '{}');
    expect(name).toBe(`${seed}-a-red-fox.png`);
    seeds.push(seed);
  }
  expect(seeds[0]).not.toBe(seeds[1]);
});

test('a sheet of many prompts with one image each is about square', async () => {
  const out = temporaryFolder();
  const prompts = ['a', 'b', 'c', 'd', 'e'].flatMap((prompt) => ['--prompt', prompt]);
  const { stdout } = await runDrm([...quick, ...prompts, '--grid', '--json', '--out', out]);
  const sheets = stdout.split('\n').filter((line) => line.includes('grid.png'));
  expect(sheets.map((line) => JSON.parse(line))).toMatchObject([
    { width: 3 * 48 + 4 * 8, height: 8 + 2 * (32 + 4 + 9 + 4) + 4 },
  ]);
});

test('an image depends on its own seed, not on what else is in the run', async () => {
  const many = temporaryFolder();
  const one = temporaryFolder();
  await runDrm([...quick, '--prompt', 'cat', '--seed', '3', '--n', '3', '--batch', '1', '--out', many]);
  await runDrm([...quick, '--prompt', 'cat', '--seed', '5', '--out', one]);
  expect(readFileSync(join(one, '5-cat.png')).equals(readFileSync(join(many, '5-cat.png')))).toBe(true);
});

test('--json prints one event a line, and nothing else on stdout', async () => {
  const out = temporaryFolder();
  const { code, stdout } = await runDrm([...quick, '--prompt', 'x', '--json', '--out', out]);
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string });
  expect(events[0]).toMatchObject({ event: 'started', version: 1, command: 'sample' });
  expect(events.map((e) => e.event)).toEqual(expect.arrayContaining(['progress', 'image']));
  expect(events.at(-1)).toMatchObject({ event: 'done' });
});

test('prompt files: lines, JSONL with seeds and negatives, and their mistakes by line', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'p.jsonl');
  writeFileSync(file, '{"prompt": "one", "seed": 9}\r\n\r\n{"prompt": "two", "negative_prompt": "blurry"}\r\n');
  const { code, stdout, stderr } = await runDrm([...quick, '--prompts', file, '--out', join(folder, 'out')]);
  expect(code).toBe(0);
  expect(stdout).toContain('9-one.png');
  expect(stdout).toContain('0-two.png');
  expect(stderr).toContain('2 prompts, 1 empty');
  writeFileSync(file, '{"prompt": "one"}\n{"prompt": 2}\n');
  const wrong = await runDrm([...quick, '--prompts', file, '--out', join(folder, 'out')]);
  expect(wrong.code).toBe(3);
  expect(wrong.stderr).toContain(`${file}, line 2: expected a text as "prompt", found 2`);
});

test('a prompt of 10,000 words is cut, and it is said what each encoder reads', async () => {
  const out = temporaryFolder();
  const { code, stderr } = await runDrm([...quick, '--prompt', 'word '.repeat(10_000), '--out', out]);
  expect(code).toBe(0);
  for (const encoder of ['CLIP-L reads 77 of', 'CLIP-G reads 77 of', 'T5 reads 256 of'])
    expect(stderr).toContain(encoder);
});

test('an empty prompt is a prompt', async () => {
  const out = temporaryFolder();
  const { code } = await runDrm([...quick, '--prompt', '', '--out', out]);
  expect(code).toBe(0);
  expect(readdirSync(out)).toEqual(['0-image.png']);
});

test('without T5 it says so', async () => {
  const out = temporaryFolder();
  const { code, stderr } = await runDrm([...quick, '--prompt', 'x', '--no-t5', '--out', out]);
  expect(code).toBe(0);
  expect(stderr).toContain('T5 is absent: zeros stand in');
});

// Numbers of diffusers, written by data/short_prompts.py: both CLIPs read what the first tokenizer's config says.
test('24 CLIP tokens and none of T5 give the latents that diffusers gives', async () => {
  const folder = temporaryFolder();
  const model = join(folder, 'model');
  cpSync(fixture, model, { recursive: true });
  const config = join(model, 'tokenizer/tokenizer_config.json');
  chmodSync(config, 0o644);
  writeFileSync(config, readFileSync(config, 'utf8').replace('"model_max_length": 77', '"model_max_length": 24'));
  const { facts, tensors } = JSON.parse(readFileSync(join(fixture, 'case.json'), 'utf8'));
  const prompts = join(folder, 'prompts.jsonl');
  const rows = facts.prompts.map((prompt: string, i: number) => ({
    prompt,
    negative_prompt: facts.negative_prompts[i],
  }));
  writeFileSync(prompts, rows.map((row: object) => JSON.stringify(row)).join('\n'));
  const saved = join(folder, 'latents.safetensors');
  const { code, stderr } = await runDrm([
    ...['sample', '--model', model, '--no-t5', '--t5-length', '0', '--prompts', prompts, '--save-latents', saved],
    ...['--steps', String(facts.steps), '--guidance', String(facts.guidance), '--out', join(folder, 'out')],
    ...['--height', String(facts.height), '--width', String(facts.width), '--device', 'cpu', '--dtype', 'fp32'],
    ...['--init-latents', `${join(fixture, 'io.safetensors')}:initial_latents`],
  ]);
  expect(stderr).toContain('CLIP-L reads 24 of');
  expect(code).toBe(0);
  const expected = readTensors(join(repository, 'test/e2e/data/short_prompts.safetensors')).get('latents');
  const error = largestDifference(readTensors(saved).get('latents')?.data ?? [], expected?.data ?? []);
  // The fixture's own tolerance for its last step: these are its sizes and its numbers of steps.
  expect(error).toBeLessThanOrEqual(tensors[`latents_after_step${facts.steps - 1}`].atol);
});

test("a model's own settings are used, unless others are asked for", async () => {
  const folder = temporaryFolder();
  const model = join(folder, 'model');
  cpSync(fixture, model, { recursive: true });
  writeFileSync(join(model, 'drm.json'), '{"sample": {"steps": 3, "height": 32, "width": 64, "guidance": 2}}');
  const out = join(folder, 'out');
  await runDrm(['sample', '--model', model, '--prompt', 'x', '--guidance', '1', '--out', out]);
  const metadata = JSON.parse(readText(readFileSync(join(out, '0-x.png'))).drm ?? '{}');
  expect(metadata.settings).toMatchObject({ steps: 3, height: 32, width: 64, guidance: 1 });
});

test('T5 is there and no token for it is asked', async () => {
  const { code, stderr } = await runDrm([...quick, '--prompt', 'x', '--t5-length', '0', '--out', temporaryFolder()]);
  expect(code).toBe(3);
  expect(stderr).toContain('only without T5 (--no-t5)');
});

test('skip-layer guidance and previews', async () => {
  const out = temporaryFolder();
  const flags = ['--skip-layers', '1', '--skip-layer-start', '0', '--skip-layer-stop', '1', '--preview', '1'];
  const { code } = await runDrm([...quick, '--prompt', 'x', ...flags, '--out', out]);
  expect(code).toBe(0);
  expect(readdirSync(out).sort()).toEqual(['0-x.png', 'preview.png']);
});

test('Ctrl-C finishes cleanly: exit 130, whole images only', async () => {
  const out = temporaryFolder();
  const many = ['--prompt', 'x', '--n', '500', '--batch', '1', '--json', '--out', out];
  const { code, stdout, stderr } = await runDrm([...quick, ...many], {
    onOutput: { when: '"event":"image"', act: (kill) => kill('SIGINT') },
  });
  expect(code).toBe(130);
  expect(stderr).toContain('stopped:');
  expect(stdout).toContain('"code":"CANCELLED"');
  const images = readdirSync(out);
  expect(images.length).toBeLessThan(500);
  for (const name of images) await sharp(join(out, name)).stats();
});

test('the reader of a pipe may leave', async () => {
  const out = temporaryFolder();
  const { spawnSync } = await import('node:child_process');
  const { drm } = await import('../run_drm.js');
  const command = `"${process.execPath}" "${drm}" ${quick.map((a) => `"${a}"`).join(' ')} --prompt x --n 5 --json --out "${out}" | head -n 1`;
  const { stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
  expect(stdout).toContain('"started"');
  expect(stderr).not.toContain('EPIPE');
});

test('nothing half-written is left anywhere', async () => {
  const out = temporaryFolder();
  await runDrm([...quick, '--prompt', 'x', '--save-latents', join(out, 'l.safetensors'), '--out', out]);
  expect(readdirSync(out).sort()).toEqual(['0-x.png', 'l.safetensors']);
  expect(existsSync(join(out, 'l.safetensors.probe'))).toBe(false);
});
