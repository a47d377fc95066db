// What --plan says, and where its figures come from.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Estimator } from '../../cli/reproduce/estimate.js';
import { planOf, planText } from '../../cli/reproduce/plan.js';
import { plannedSeconds } from '../../cli/reproduce/planned.js';
import { repository } from '../run_drm.js';
import { COSTS, FakeChain, fakeStep } from './fake_chain.js';

const about = (out: string) => ({ config: 'fake', out, costsFrom: 'a test', missing: ['a.json: expected a file'] });

test('every step with its state, time and disk', async () => {
  const chain = new FakeChain();
  const data = fakeStep('data');
  const steps = [
    data,
    fakeStep('train', { kind: 'train', units: 300, needs: [data] }),
    fakeStep('images', { kind: 'images', units: 5 }),
  ];
  const plan = () => planOf(steps, chain.folder, new Estimator(COSTS).learn(steps, chain.folder));
  const text = (await planText(plan(), about('OUT'))).replace(/\(\S+ \S+ are free\)/, '(FREE)');
  expect(text).toMatchInlineSnapshot(`
    "step      state      by           time    disk
    1 data    would run  the config   51 s  2.0 kB
    2 train   would run  the config  5 min  5.0 kB
    3 images  would run  nothing         ?       ?

    3 of 3 steps are missing: more than 6 min, more than 7.0 kB on disk (FREE), in OUT
    the config: until a step of the kind is done; below is said how these figures came about
    nothing: unknown until a step of the kind is done
    costs of fake: a test

    missing on this machine, before it can run (1):
    - a.json: expected a file"
  `);

  await chain.run([data]);
  // As a machine of three times the config's speed would say.
  const file = join(chain.out, 'steps/data.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), seconds: 17, bytes: 4000 }));
  const more = [...steps, fakeStep('more', { units: 200 })];
  const learnt = planOf(more, chain.folder, new Estimator(COSTS).learn(more, chain.folder));
  expect(learnt.map(({ state, by, seconds }) => [state, by, seconds])).toEqual([
    ['done', 'measured here', 17],
    ['runs', 'the config', 310],
    ['runs', 'nothing', undefined],
    ['runs', 'measured here', 101 / 3],
  ]);
  expect(learnt[1]?.argv.join(' ')).toContain(`--data ${join(chain.out, 'results/data-')}`);
});

test('a policy whose reward model is there is asked for its own plan', async () => {
  const chain = new FakeChain();
  await chain.run([]);
  const steps = [fakeStep('policy-1', { kind: 'policy' }), fakeStep('policy-2', { kind: 'policy' })];
  const planned = await plannedSeconds(steps, chain.folder, {
    program: [process.execPath, join(repository, 'test/reproduce/fake_drm.mjs')],
    words: [],
    signal: new AbortController().signal,
  });
  expect([...planned]).toEqual([
    ['policy-1', 12],
    ['policy-2', 12],
  ]);
});

test('nothing missing', async () => {
  const chain = new FakeChain();
  const steps = [fakeStep('data')];
  await chain.run(steps);
  const plan = planOf(steps, chain.folder, new Estimator(COSTS).learn(steps, chain.folder));
  expect(await planText(plan, { ...about('OUT'), missing: [] })).toMatch(
    /done +took[\s\S]*nothing is missing; the page is OUT\/reproduction.html$/,
  );
});
