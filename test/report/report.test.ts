// `drm report`: what the page holds, of runs in every state. All figures here are invented (fake_runs.ts).
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { namesOf, readRuns } from '../../cli/report/read.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { checkPage, pageOf } from './checked_page.js';
import { type FakeRun, metric, policyRun, rewardRun, run, started, writeRun, writeSheet } from './fake_runs.js';

describe('several policy runs', () => {
  const folder = temporaryFolder();
  const runs = [0, 1].flatMap((seed) => [
    writeRun(
      join(folder, `flow-s${seed}`),
      policyRun({ algorithm: 'flow', seed, pace: 0.5, iterations: 100, processes: 2 }),
    ),
    writeRun(join(folder, `step-k2-s${seed}`), policyRun({ algorithm: 'step', k: 2, seed })),
    writeRun(join(folder, `step-k6-s${seed}`), policyRun({ algorithm: 'step', k: 6, seed, pace: 1.5 })),
  ]);

  test('one page: by updates and device time, seeds together, signs of cheating, denoising steps, K, settings', async () => {
    for (const step of [20, 40]) await writeSheet(runs[0] as string, step, 200);
    const page = await pageOf(runs);
    expect(page).toContain('flow (2 seeds)');
    expect(page).toContain('step-k6 (2 seeds)');
    expect(page.match(/<b>Reward, held out<\/b>/g)).toHaveLength(2);
    expect(page.match(/<b>Judge, held out<\/b>/g)).toHaveLength(2);
    expect(page).toContain('>device-minutes</text>');
    for (const title of [
      'KL',
      'Ratio',
      'Clip fraction',
      'Advantage spread',
      'Zero-variance groups',
      'Saturation, held out',
    ])
      expect(page).toContain(`<b>${title}</b>`);
    expect(page).toContain('By denoising step');
    expect(page.match(/<path class="h7"/g)?.length).toBeGreaterThan(1);
    expect(page).toContain('K, candidates a step');
    expect(page).toContain('only the held-out reward compares the two');
    expect(page.match(/<tr class="differs"><th scope="row">k /g)).toHaveLength(1);
    expect(page).not.toMatch(/<tr class="differs"><th scope="row">kl_beta/);
    expect(page.match(/<img src="data:image\/webp;base64,/g)).toHaveLength(2);
    expect(page).toContain('a fake &#60;b&#62;blue&#60;/b&#62; square');
    expect(page).toMatch(/clip fraction is high: 0\.32 [^<]*<span class="mark">4 times, first after step 32/);
    // Step-GRPO with K = 6 gets there first, in less of both.
    const [, updates, time] =
      /step-k6 \(2 seeds\)<\/th><td>[^<]*<\/td><td>\d+ \(x ([\d.]+)\)<\/td><td>[^<]*\(x ([\d.]+)\)/.exec(page) ?? [];
    expect(Number(updates)).toBeLessThan(0.5);
    expect(Number(time)).toBeLessThan(0.5);
    expect(page.length).toBeLessThan(1e6);
  });

  test('a table on stdout, JSON with --json', async () => {
    const cwd = temporaryFolder();
    const text = await runDrm(['report', ...runs], { cwd });
    expect(existsSync(join(cwd, 'report.html'))).toBe(true);
    expect(text.stdout.split('\n')[0]).toMatch(/^run +task +state +step +updates +time +warnings +held-out reward/);
    expect(text.stdout).toMatch(/^flow-s1 +grpo flow +done +100\/100 +200 +15 min x 2 +9 /m);
    expect(text.stderr).toContain('report report.html');
    const json = await runDrm(['report', ...runs, '--json'], { cwd });
    const { data } = JSON.parse(json.stdout.split('\n')[0] as string);
    expect(data.report).toBe('report.html');
    expect(data.groups).toHaveLength(3);
    expect(data.runs[0]).toMatchObject({ run: 'flow-s0', state: 'done', step: 100, updates: 200, processes: 2 });
    expect(data.runs[0].device_seconds).toBe(1800);
    expect(data.runs[0].evaluation.judge).toBeGreaterThan(0.2);
    expect(Object.keys(data.runs[0].training)).not.toContain('reward/3');
  });
});

describe('runs whose updates learn from other numbers of samples', () => {
  const made = (folder: string, name: string, prompts_per_iteration: number, algorithm: 'flow' | 'step') => {
    const one = policyRun({ algorithm, iterations: 20 });
    const more = { prompts_per_iteration, trajectories: 1, group: 24 };
    return writeRun(join(folder, name), { ...one, settings: { ...one.settings, ...more } });
  };

  test('are told, and drawn by samples, too', async () => {
    const folder = temporaryFolder();
    // 8 × 24 in two updates, 32 × 6 in one.
    const page = await pageOf([made(folder, 'flow', 8, 'flow'), made(folder, 'step', 32, 'step')]);
    expect(page).toContain('Samples that an update learns from: flow 96, step 192. By updates alone');
    expect(page.match(/<b>Reward, held out<\/b>/g)).toHaveLength(3);
    expect(page).toContain('>samples</text>');
    const row = /step<\/th><td>[^<]*<\/td><td>(\d+)[^<]*<\/td><td>(\d+)/.exec(page);
    expect(Number(row?.[2])).toBe(192 * Number(row?.[1]));
    expect(page).toContain('evaluations, images and checkpoints are left out; that of flow, step, of an older drm');
  });

  test('where they are the same, updates will do', async () => {
    const folder = temporaryFolder();
    const page = await pageOf([made(folder, 'flow', 8, 'flow'), made(folder, 'step', 16, 'step')]);
    expect(page).toContain('Every update learns from 96 samples.');
    expect(page.match(/<b>Reward, held out<\/b>/g)).toHaveLength(2);
    expect(page).not.toContain('>samples</text>');
  });
});

test('a reward model: training and held-out figures in one chart, accuracy by timestep', async () => {
  const folder = writeRun(join(temporaryFolder(), 'rm'), rewardRun());
  const { stdout } = await runDrm(['report', folder]);
  expect(stdout).toMatch(/^rm +train +done +300\/300/m);
  const page = readFileSync(join(folder, 'report.html'), 'utf8');
  checkPage(page);
  expect(page).toContain('<b>Accuracy by timestep</b>');
  for (const part of [
    '0 to 250 (σ 0 to 0.25)',
    '250 to 500 (σ 0.25 to 0.5)',
    '500 to 750 (σ 0.5 to 0.75)',
    '750 to 1000 (σ 0.75 to 1)',
  ])
    expect(page).toContain(`<b>Accuracy, timesteps ${part}</b>`);
  expect(page).toContain('data-name="rm, training"');
  expect(page).toContain('>chance</text>');
  expect(page).not.toContain('denoising step');
});

test('a pretraining and a policy on one page are kept apart', async () => {
  const folder = temporaryFolder();
  const flow = run([started(), metric(1, { loss: 2 }), metric(2, { loss: 1 })], {}, 'pretrain flow');
  const page = await pageOf([
    writeRun(join(folder, 'a'), flow),
    writeRun(join(folder, 'b'), policyRun({ algorithm: 'step', iterations: 10 })),
  ]);
  expect(page).toContain('<h2>drm pretrain flow: learning</h2>');
  expect(page).toContain('<h2>drm grpo: reward and judge</h2>');
});

describe('whatever files say is text', () => {
  const evil = '<img src=x onerror=alert(1)>"\'</script><script>alert(2)</script>';

  test('names, settings, warnings, prompts, errors, facts', async () => {
    const folder = join(temporaryFolder(), evil.replaceAll('/', '∕'));
    const values = { reward: 1, [evil]: 2, [`${evil}/3`]: 3, [`${evil}_t0_250`]: 4 };
    const events: Event[] = [
      started({ device: evil, model: evil }),
      metric(1, values),
      metric(2, values),
      { event: 'evaluation', step: 2, values: { [evil]: 1, judge: 3 } },
      { event: 'warning', message: evil },
      { event: 'sample_sheet', step: 2, paths: [evil] },
      { event: 'error', code: 'DISK', message: evil, details: {}, exit_code: 4 },
    ];
    for (const task of ['grpo', 'train', evil]) {
      writeRun(folder, {
        task,
        settings: { [evil]: evil, algorithm: evil, seed: evil },
        events,
        resumed: [{ changed: { [evil]: evil } }, {}],
      });
      const page = await pageOf([folder]);
      expect(page).not.toContain('<img src=x');
      expect(page.match(/<script>/g)).toHaveLength(1);
      expect(page).toContain('onerror=alert(1)&#62;');
    }
  });

  test('values that are none, events that are odd, lines that cannot be read', async () => {
    const folder = temporaryFolder();
    const odd = [
      { event: 'metric' },
      { event: 'metric', step: 'x', values: 3 },
      { event: 'metric', step: 1, values: null },
      {
        event: 'metric',
        step: 2,
        total: 'many',
        seconds: 'long',
        values: { loss: 'low', accuracy: null, margin: 1e308 },
      },
      { event: 'metric', step: 3, total: 4, seconds: -5, values: { loss: 1, margin: -1e308, __proto__: 3 } },
      { event: 'evaluation', step: 1e9, values: { loss: 0 } },
      { event: 'started', steps: {}, facts: [1] },
      { event: 'sample_sheet', step: 1, paths: 'no list' },
      { event: 'sample_sheet', step: 1, paths: ['../../../../etc/passwd'] },
      { event: 'warning' },
      { event: 'something new', step: 3 },
    ];
    writeRun(folder, run([]));
    writeFileSync(
      join(folder, 'metrics.jsonl'),
      `${odd.map((one) => JSON.stringify(one)).join('\n')}\n{torn\n[]\n{"half`,
    );
    const page = await pageOf([folder]);
    expect(page).toContain('2 lines of metrics.jsonl cannot be read');
    expect(page).toContain('unfinished');
    expect(page).not.toContain('root:');
  });
});

describe('runs in every state', () => {
  test('not begun, at work, stopped, failed, taken up again', async () => {
    const folder = temporaryFolder();
    const made = (name: string, events: Event[], more: Partial<FakeRun> = {}) =>
      writeRun(join(folder, name), { ...run(events, { name }), ...more });
    const steps = [metric(1, { loss: 3 }), metric(2, { loss: 2 })];
    const end = (code: string, message: string): Event => ({
      event: 'error',
      code,
      message,
      details: {},
      exit_code: 1,
    });
    const folders = [
      made('empty', []),
      made('begun', [started()]),
      made('at-work', [started(), ...steps]),
      made('stopped', [started(), ...steps, end('CANCELLED', 'stopped after step 2 of 10\ngo on with: x')]),
      made('failed', [started(), ...steps, end('NOT_FINITE', '[train] step 3: loss is NaN')]),
      made(
        'again',
        [started(), ...steps, started(), metric(3, { loss: 1 }), { event: 'done', seconds: 9, facts: {} }],
        {
          resumed: [{ time: '2026-02-03T04:05:06Z', step: 2, changed: { steps: [2, 10] } }],
        },
      ),
    ];
    rmSync(join(folder, 'empty', 'metrics.jsonl'));
    const { stdout } = await runDrm(['report', ...folders, '--out', join(folder, 'all.html')]);
    const states = stdout
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ {2,}/).slice(0, 4));
    expect(states).toEqual([
      ['empty', 'train', 'unfinished', '0/?'],
      ['begun', 'train', 'unfinished', '0/10'],
      ['at-work', 'train', 'unfinished', '2/10'],
      ['stopped', 'train', 'stopped', '2/10'],
      ['failed', 'train', 'failed', '2/10'],
      ['again', 'train', 'done', '3/10'],
    ]);
    const page = readFileSync(join(folder, 'all.html'), 'utf8');
    checkPage(page);
    expect(page).toContain(
      'still at work, or ended without a word, after step 2 of 10; last heard of at 2026-01-02 03:0',
    );
    expect(page).toContain('[train] step 3: loss is NaN');
    expect(page).toContain('taken up again after step 2 (2026-02-03 04:05 UTC) with steps 2 → 10');
    expect(await pageOf([folders[0] as string])).toContain('No run has reported a step yet.');
  });

  test.each([
    ['missing', [], 'found no such file; check the folder'],
    ['broken', [['config.json', '{"task":']], 'expected the config.json of a run of drm (Unexpected'],
    [
      'foreign',
      [['config.json', '{"model_type": "clip"}']],
      'expected the config.json of a run of drm (task: expected a text, found nothing)',
    ],
    ['parent', [['a/config.json', '{}']], 'found a folder of runs; name them, such as drm report'],
  ])('%s: an error in words', async (name, files, sentence) => {
    const folder = join(temporaryFolder(), name);
    for (const [path, text] of files as [string, string][]) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    const { code, stderr } = await runDrm(['report', folder]);
    expect(code).toBe(3);
    expect(stderr).toContain(sentence);
    expect(stderr).not.toContain('    at ');
  });

  test("a name that is no page's does not take a file's place", async () => {
    const folder = writeRun(join(temporaryFolder(), 'run'), rewardRun({ steps: 20 }));
    const before = readFileSync(join(folder, 'metrics.jsonl'), 'utf8');
    const { code, stderr } = await runDrm(['report', folder, '--out', join(folder, 'metrics.jsonl')]);
    expect(code).toBe(2);
    expect(stderr).toContain('expected a folder that is there or a name ending in .html');
    expect(readFileSync(join(folder, 'metrics.jsonl'), 'utf8')).toBe(before);
    expect((await runDrm(['report'])).code).toBe(2);
  });

  test('a run named twice is shown once; equal last names get more of their paths', async () => {
    const folder = temporaryFolder();
    const one = writeRun(join(folder, 'a', 'run'), rewardRun({ steps: 20 }));
    const two = writeRun(join(folder, 'b', 'run'), rewardRun({ steps: 20, learning_rate: 1 }));
    expect((await readRuns([one, two, join(one, '.')])).map(({ name }) => name)).toEqual(['a/run', 'b/run']);
    expect(namesOf(['x/y', 'y', 'z'])).toEqual(['x/y', 'y', 'z']);
  });
});

test('images: bounded in all, only those of samples/, only real ones', async () => {
  const folder = join(temporaryFolder(), 'run');
  const sheets = Array.from(
    { length: 12 },
    (_, i): Event => ({ event: 'sample_sheet', step: i, paths: [`x/samples/${i}/sheet.png`] }),
  );
  const outside: Event = { event: 'sample_sheet', step: 12, paths: ['../../secret.png'] };
  writeRun(folder, run([started(), metric(1, { loss: 1 }), ...sheets, outside]));
  await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } })
    .png()
    .toFile(join(folder, '..', 'secret.png'));
  const noise = Buffer.from(Uint8Array.from({ length: 1600 * 1600 * 3 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24));
  for (let step = 0; step < 12; step++) {
    mkdirSync(join(folder, 'samples', String(step)), { recursive: true });
    const file = join(folder, 'samples', String(step), 'sheet.png');
    if (step === 0) writeFileSync(file, '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    else
      await sharp(noise, { raw: { width: 1600, height: 1600, channels: 3 } })
        .png({ compressionLevel: 0 })
        .toFile(file);
  }
  expect(statSync(join(folder, 'samples', '5', 'sheet.png')).size).toBeGreaterThan(7e6);
  const page = await pageOf([folder]);
  expect(page).toContain('8 of 13 sheets; all are in samples/');
  expect(page).toContain('2 cannot be shown, such as that of step 0: it is svg');
  expect(page.match(/<img /g)).toHaveLength(6);
  expect(page.length).toBeLessThan(9e6);
  expect(page.length).toBeGreaterThan(1e5);
});
