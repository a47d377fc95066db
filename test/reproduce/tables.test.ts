// The page, from results as a small run has left them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Shown } from '../../cli/reproduce/document.js';
import { ChainFolder } from '../../cli/reproduce/folder.js';
import { pageMarkdown, pageOfChain } from '../../cli/reproduce/page.js';
import { Results } from '../../cli/reproduce/results.js';
import { askedSettings } from '../../cli/reproduce/settings.js';
import { inOrder, type Step } from '../../cli/reproduce/step.js';
import { chainOf, policy, training } from '../../cli/reproduce/steps.js';
import { tablesNamed } from '../../cli/reproduce/tables/registry.js';
import { policyRun, rewardRun, writeRun } from '../report/fake_runs.js';
import { temporaryFolder } from '../run_drm.js';

const TABLES = await tablesNamed(['all']);

const interval = (mean: number) => ({ mean, low: mean - 0.02, high: mean + 0.02, n: 8 });

const accuracy = (means: readonly (readonly [number, number])[]) => ({
  pairs: 53,
  rows: means.map(([timestep, mean]) => ({
    ...{ timestep, sigma: timestep / 1000, own: {}, by: {} },
    overall: { protocol: 'strict', accuracy: interval(mean), of: 53 },
  })),
});

const images = (rows: readonly { k: number; mean: number; seconds?: number; diversity?: number }[]) => ({
  rows: rows.map(({ k, mean, seconds, diversity }) => ({
    setting: `k=${k}`,
    settings: { k, steps: 28, guidance: 3 },
    images: 64,
    ...(seconds !== undefined && { seconds_per_image: seconds }),
    verdicts: [
      {
        ...{ scorer: 'judge', unit: 'cosine', score: interval(mean) },
        ...(diversity !== undefined && { diversity: interval(diversity) }),
      },
    ],
  })),
});

const SET = [
  'seeds=[1,2]',
  'trainings={"full":{"label":"all weights","config":"train/tiny","set":[],"paper":"drm-512"},"random":{"label":"random","config":"train/tiny","set":["init=random"]}}',
  'policies={"flow":{"label":"Flow-GRPO","config":"grpo/tiny-flow","set":[]},"step":{"label":"Step-GRPO, K = 6","config":"grpo/tiny-step","set":[]}}',
  'timesteps=[0,250,500]',
  'scorers=["judge"]',
];

class Recorded {
  readonly out = temporaryFolder();
  readonly folder = new ChainFolder(this.out, join(this.out, 'prompts.jsonl'), []);
  readonly chain = chainOf(askedSettings({ config: 'reproduce/tiny', set: SET }, true).settings, 32);
  readonly steps = inOrder(TABLES.flatMap((table) => table.steps(this.chain)));

  /** Results and record of a step, those of what it needs first. */
  async done(step: Step, write: (results: string) => void): Promise<void> {
    mkdirSync(join(this.out, 'steps'), { recursive: true });
    const { stamp } = this.folder.look(step);
    if (stamp === undefined) throw new Error(`${step.id}: not everything that it needs is done`);
    const results = this.folder.resultsOf(step, stamp);
    mkdirSync(results, { recursive: true });
    write(results);
    await this.folder.record(step, {
      ...{ stamp, argv: this.folder.argvOf(step, { stamp }), began: '2026-11-29T08:00:00.000Z', seconds: 60 },
      ...{ resumed: false, bytes: 1, device: 'cpu', machine: 'a machine' },
    });
  }

  async doneAll(but: RegExp): Promise<void> {
    for (const step of this.steps)
      if (!but.test(step.id)) await this.done(step, (results) => this.#write(step, results));
  }

  #write(step: Step, results: string): void {
    const json = (value: unknown) => writeFileSync(join(results, step.result), JSON.stringify(value));
    if (step.kind === 'prepare') json({});
    else if (step.id.startsWith('pairs-noisy'))
      json(
        accuracy([
          [0, 0.75],
          [250, 0.7],
          [500, 0.6],
        ]),
      );
    else if (step.id.startsWith('pairs-curve')) json(accuracy([0, 200, 400, 600, 800].map((t) => [t, 0.8 - t / 4000])));
    else if (step.kind === 'pairs') json(accuracy([[0, step.id.includes('full') ? 0.75 : 0.55]]));
    else if (step.id === 'images-stepwise')
      json(images([1, 2, 4].map((k) => ({ k, mean: 0.7 + k / 100, seconds: k / 10, diversity: 0.05 }))));
    else if (step.kind === 'images') {
      const mean = step.id === 'images-base' ? 0.71 : step.id.endsWith('-2') ? 0.74 : 0.72;
      json(images([{ k: 1, mean }]));
      mkdirSync(join(results, 'judged'), { recursive: true });
      const score = [[mean - 0.2], [mean + 0.2]]; // prompts differ by more than policies do
      writeFileSync(
        join(results, 'judged/judge.json'),
        JSON.stringify({ scorer: 'judge', key: '', judgement: { score } }),
      );
    } else {
      const algorithm = step.id.includes('flow') ? 'flow' : 'step';
      const seed = Number(step.id.at(-1));
      writeRun(results, step.kind === 'policy' ? policyRun({ algorithm, seed }) : rewardRun({ steps: 60 }));
      mkdirSync(join(results, 'model'));
    }
  }

  async page(): Promise<{ markdown: string; html: string }> {
    const results = new Results(this.folder);
    const shown: Shown[] = [];
    for (const { name, title, steps, show } of TABLES) {
      const own = steps(this.chain);
      const blocks = await show(this.chain, results);
      shown.push({ name, title, blocks, commands: results.commands(own), made: results.made(own) });
    }
    const facts = {
      config: 'reproduce/tiny-quick',
      model: 'tiny',
      command: 'drm reproduce all --quick',
      settings: '{"k": 1}',
    };
    return { markdown: pageMarkdown(facts, shown), html: pageOfChain(facts, shown) };
  }
}

/** The cells of the rows that begin so. */
const rowsOf = (markdown: string, first: string): string[][] =>
  markdown
    .split('\n')
    .filter((line) => line.startsWith(`| ${first} |`))
    .map((line) => line.slice(2, -2).split(' | '));

test('our figures stand beside the paper’s, with intervals, and what is lacking is said', async () => {
  const recorded = new Recorded();
  await recorded.doneAll(/^(pairs-judge|images-policy-step-2)/);
  const { markdown } = await recorded.page();
  const [table1] = rowsOf(markdown, 'all weights');
  expect(table1).toEqual(['all weights', '75.0 ±2.0', '64.1', '73.4', '82.2', '74.0']);
  expect(rowsOf(markdown, 'judge')).toEqual([['judge', 'not run', '—', '—', '—', '—']]);
  expect(rowsOf(markdown, "the paper's hpsv3")).toEqual([
    ["the paper's hpsv3", 'not run', '66.8', '72.8', '85.4', '76.9'],
  ]);
  expect(rowsOf(markdown, '250')).toEqual([['250', '70.0 ±2.0', '—']]);
  expect(rowsOf(markdown, '500')).toEqual([['500', '60.0 ±2.0', '73.0']]);
  expect(rowsOf(markdown, 'tiny')).toEqual([['tiny', '0.7100 ±0.0200', '', '1.01', '16.76', '8.95']]);
  expect(rowsOf(markdown, 'Flow-GRPO')[0]).toEqual([
    'Flow-GRPO',
    '0.7300 ± 0.0141 (2 of 2 seeds)',
    '+0.0200 ±0.0000',
    '—',
    '—',
    '—',
  ]);
  expect(rowsOf(markdown, 'Step-GRPO, K = 6')[0]).toEqual([
    'Step-GRPO, K = 6',
    '0.7200 (1 of 2 seeds)',
    '+0.0100 ±0.0000',
    '—',
    '—',
    '—',
  ]);
  expect(rowsOf(markdown, '4')).toEqual([
    ['4', '0.7400 ±0.0200', '0.0500 ±0.0200', '0.40', '1.14', '9.32', '0.663', '7.75'],
  ]);
  expect(rowsOf(markdown, '6')).toEqual([['6', 'not run', 'not run', 'not run', '1.15', '9.49', '0.662', '9.83']]);
  expect(rowsOf(markdown, '800')).toEqual([['800', '60.0 ±2.0']]);
  expect(markdown).toContain('Made on 2026-11-29 with drm 0.1.0 on a machine, in ');
  expect(markdown).toMatch(/^drm train --config train\/tiny .*--data \S+ --out \S+$/m);
  expect(markdown).toMatch(/^\| reward after updates \| 0 \|/m);
  expect(rowsOf(markdown, 'Flow-GRPO (2 seeds)')[0]?.[1]).toMatch(/^\S+ \(\S+ to \S+\)$/);
});

test('the HTML page has the charts, and needs nothing else', async () => {
  const recorded = new Recorded();
  await recorded.doneAll(/^$/);
  const { html } = await recorded.page();
  expect(html).not.toMatch(/(src|href)="(?!#|data:)/);
  for (const { name, title } of TABLES) expect(html).toContain(`<section id="${name}"><h2>${title}</h2>`);
  expect(html).toContain('<h2>Settings</h2><pre class="scroll"><code>{&#34;k&#34;: 1}</code></pre>');
  expect(html).toContain('<b>Accuracy by timestep</b>');
  expect(html).toContain('<b>Reward, held out</b>');
  expect(html).toMatch(/<ul class="legend".*Flow-GRPO \(2 seeds\)<\/li>.*Step-GRPO, K = 6 \(2 seeds\)<\/li><\/ul>/);
  expect(html.match(/<details><summary>the commands that made it/g)).toHaveLength(TABLES.length);
});

test('without any result the page says so, and lays no figure of ours beside the paper’s', async () => {
  const { markdown } = await new Recorded().page();
  expect(rowsOf(markdown, 'all weights')[0]?.slice(0, 2)).toEqual(['all weights', 'not run']);
  expect(markdown).not.toContain('±2');
  expect(markdown).not.toMatch(/Made on|NaN|undefined/);
});

test('a result that is no result is named', async () => {
  const recorded = new Recorded();
  const [data] = recorded.steps as [Step];
  await recorded.done(data, (results) => writeFileSync(join(results, data.result), '{}'));
  const full = training(recorded.chain, 'full');
  await recorded.done(full, (results) => mkdirSync(join(results, full.result)));
  const pairs = TABLES[0]?.steps(recorded.chain)[0] as Step;
  let file = '';
  await recorded.done(pairs, (results) => {
    file = join(results, pairs.result);
    writeFileSync(file, '{"rows": 5}');
  });
  expect(policy(recorded.chain, 'flow', 1).needs.map(({ id }) => id)).toEqual(['train-full']);
  await expect(recorded.page()).rejects.toMatchObject({ code: 'BAD_FILE', message: expect.stringContaining(file) });
});
