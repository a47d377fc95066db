// The chain: what is run and what is not, after success, failure, Ctrl-C and changed settings.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ChainFolder } from '../../cli/reproduce/folder.js';
import type { Step } from '../../cli/reproduce/step.js';
import { temporaryFolder } from '../run_drm.js';
import { FakeChain, fakeStep } from './fake_chain.js';

const states = (chain: FakeChain, steps: readonly Step[]) => steps.map((step) => chain.folder.look(step).state);
const resultsOf = ({ folder }: FakeChain, step: Step) => folder.resultsOf(step, folder.look(step).stamp ?? '');

test('each step is run once, after what it needs and with its results', async () => {
  const chain = new FakeChain();
  const data = fakeStep('data');
  const steps = [data, fakeStep('train', { needs: [data] })];
  expect(states(chain, steps)).toEqual(['runs', 'waits']);
  const events = await chain.run(steps);
  expect(states(chain, steps)).toEqual(['done', 'done']);
  expect(chain.calls().map(([mode, ...rest]) => [mode, rest.slice(0, 2)])).toEqual([
    ['good', ['--out', resultsOf(chain, data)]],
    ['good', ['--data', resultsOf(chain, data)]],
  ]);
  expect(chain.calls()[0]).toContain('--json');
  const said = events.flatMap((event) => (event.event === 'info' ? [event.message] : []));
  expect(said).toHaveLength(4);
  expect(said[0]).toMatch(/^step 1\/2 data begins: about 51 s, all that is left 2 min$/);
  expect(said[1]).toMatch(/^step 1\/2 data done in /);
  expect(events.find(({ event }) => event === 'progress')).toMatchObject({
    id: 'data',
    label: '1/2 data: working',
    step: 1,
  });
  expect(readFileSync(join(chain.out, 'logs/data.log'), 'utf8')).toMatch(
    /\$ drm good --out .*\ngood: device cpu\na table\n/,
  );

  await chain.run(steps);
  expect(chain.calls()).toHaveLength(2);
});

test('a changed command line is run anew in a folder of its own, and so is all that rests on it', async () => {
  const chain = new FakeChain();
  const make = (more: string[]) => {
    const data = fakeStep('data', { more });
    return [data, fakeStep('train', { needs: [data] }), fakeStep('other')];
  };
  await chain.run(make(['--size', '1']));
  const before = readdirSync(join(chain.out, 'results'));
  const changed = make(['--size', '2']);
  expect(states(chain, changed)).toEqual(['anew', 'changes', 'done']);
  await chain.run(changed);
  expect(chain.calls()).toHaveLength(5);
  const after = readdirSync(join(chain.out, 'results'));
  expect(after).toEqual(expect.arrayContaining(before));
  expect(after).toHaveLength(5);
});

test('what rests on a step that was done again is done again', async () => {
  const chain = new FakeChain();
  const data = fakeStep('data');
  const steps = [data, fakeStep('train', { needs: [data] })];
  await chain.run(steps);
  const first = resultsOf(chain, steps[1] as Step);
  rmSync(join(chain.out, 'steps/data.json'));
  expect(states(chain, steps)).toEqual(['resumes', 'changes']);
  await chain.run(steps);
  expect(states(chain, steps)).toEqual(['done', 'done']);
  expect(resultsOf(chain, steps[1] as Step)).not.toBe(first);
});

test('results that were removed are made again', async () => {
  const chain = new FakeChain();
  const steps = [fakeStep('data')];
  await chain.run(steps);
  rmSync(resultsOf(chain, steps[0] as Step), { recursive: true });
  expect(states(chain, steps)).toEqual(['anew']);
  await chain.run(steps);
  expect(chain.calls()).toHaveLength(2);
});

test('a failure names the step, its last words and what to type; nothing after it is run', async () => {
  const chain = new FakeChain();
  const steps = [fakeStep('data', { mode: 'fails-once' }), fakeStep('other')];
  const failed = await chain.run(steps).catch((error: unknown) => error);
  const log = join(chain.out, 'logs/data.log');
  expect(failed).toMatchObject({ code: 'BAD_FILE', details: { step: 'data', log, exit_code: '3' } });
  const { message } = failed as Error;
  expect(message).toContain('step data: expected it to end well, found exit code 3: [fake] a.json: expected a file');
  expect(message).toContain(`the end of ${log}:`);
  expect(message).toContain('  | drm: [fake] a.json: expected a file, found none; write one');
  expect(message).toMatch(/by hand: drm fails-once --out \S+ --threads 1\n/);
  expect(message).toContain('go on with: drm reproduce all');
  expect(states(chain, steps)).toEqual(['resumes', 'runs']);

  await chain.run(steps);
  expect(states(chain, steps)).toEqual(['done', 'done']);
  expect(JSON.parse(readFileSync(join(chain.out, 'steps/data.json'), 'utf8'))).toMatchObject({ resumed: true });
});

test.each([
  ['dies', 'it was ended by SIGKILL (by the system, for lack of memory?)', 'ENVIRONMENT'],
  ['leaves-nothing', 'it ended well, and left no ', 'ENVIRONMENT'],
])('a command that %s is no success', async (mode, words, code) => {
  const chain = new FakeChain();
  const steps = [fakeStep('data', { mode })];
  await expect(chain.run(steps)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
  expect(states(chain, steps)).toEqual(['resumes']);
});

test('Ctrl-C stops the command once, and the same line goes on with --resume', async () => {
  const chain = new FakeChain();
  const steps = [fakeStep('data', { mode: 'long' }), fakeStep('other')];
  const abort = new AbortController();
  const stopped = chain.run(steps, {
    signal: abort.signal,
    onEvent: ({ event }) => {
      if (event === 'progress') setTimeout(() => abort.abort(), 300); // it has begun to listen by then
    },
  });
  await expect(stopped).rejects.toMatchObject({
    code: 'CANCELLED',
    message: 'stopped in step 1/2 data; the same command goes on from there: drm reproduce all',
  });
  expect(readFileSync(join(resultsOf(chain, steps[0] as Step), 'asked'), 'utf8')).toBe('1');
  expect(existsSync(join(chain.out, 'steps/data.json'))).toBe(false);

  await chain.run(steps);
  expect(chain.calls().map((call) => call.includes('--resume'))).toEqual([false, true, false]);
  expect(readFileSync(join(chain.out, 'logs/data.log'), 'utf8').match(/^\$ /gm)).toHaveLength(2);
});

test('a folder is for one config, and for one process', async () => {
  const chain = new FakeChain();
  await chain.run([fakeStep('data')]);
  expect(() => chain.folder.check('reproduce/tiny')).toThrow(
    `[reproduce] ${chain.out}: expected a new or empty folder, or one of reproduce/tiny, found that of fake; name another with --out`,
  );
  const lock = await chain.folder.claim('fake');
  await expect(chain.run([])).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining(`process ${process.pid}`),
  });
  await lock.release();
});

test('a folder of something else is left alone', () => {
  const out = temporaryFolder();
  writeFileSync(join(out, 'thesis.tex'), '');
  expect(() => new ChainFolder(out, '', []).check('fake')).toThrow('found thesis.tex');
  expect(() => new ChainFolder(join(out, 'thesis.tex'), '', []).check('fake')).toThrow('found a file');
});

test('a damaged record is named', async () => {
  const chain = new FakeChain();
  const steps = [fakeStep('data')];
  await chain.run(steps);
  const file = join(chain.out, 'steps/data.json');
  writeFileSync(file, '{"id": 3}');
  expect(() => chain.folder.look(steps[0] as Step)).toThrow(`${file}: id: expected a text, found 3; remove it`);
});
