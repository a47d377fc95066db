// The command as users type it: the smallest chain there is, and what it says of mistakes.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runDrm, temporaryFolder } from '../run_drm.js';

const out = join(temporaryFolder(), 'out');
const SMALL = [
  ...['reproduce', 'table4', '--out', out, '--threads', '1', '--set', 'reward=tiny', '--set', 'held_out=2'],
  ...['--set', 'k=[1,2]', '--set', 'images=1', '--set', 'sample_set=["steps=2"]'],
];

test('table 4 from the command line to the page; again, nothing is run; with other settings, all of it anew', async () => {
  const first = await runDrm(SMALL);
  expect(first).toMatchObject({ code: 0, stdout: `${join(out, 'reproduction.html')}\n` });
  const said = first.stderr.trimEnd().split('\n');
  expect(said[0]).toBe(`reproduce: config reproduce/tiny · out ${out} · steps 1 · done 0`);
  expect(said[1]).toMatch(/^step 1\/1 images-stepwise begins: about \S+ s, all that is left \S+ s$/);
  expect(said[2]).toMatch(/^step 1\/1 images-stepwise done in /);
  expect(said[3]).toMatch(/^done in .*: steps 1 · run 1 · page /);
  expect(said).toHaveLength(4); // in a pipe a line at the beginning and one at the end
  const page = readFileSync(join(out, 'reproduction.md'), 'utf8');
  expect(page).toMatch(
    /^\| 2 \| -?\d+\.\d{4} ±\d+\.\d{4} \| 0\.\d{4} ±0\.\d{4} \| — \| \d+\.\d\d \| 1\.08 \| 9\.02 \| 0\.661 \| 5\.63 \|$/m,
  );

  // The command that the page names does the same by itself.
  const [, line = ''] = /^drm (eval images .*)$/m.exec(page) ?? [];
  const alone = await runDrm(line.split(' '));
  expect(alone.code).toBe(0);
  expect(alone.stderr).toContain('images 4');

  const again = await runDrm(SMALL);
  expect(again.stderr).not.toContain('begins');
  expect(again.stderr).toContain('steps 1 · run 0');

  const plan = await runDrm([...SMALL, '--set', 'sample_set=["steps=3"]', '--plan', '--json']);
  expect(plan.code).toBe(0);
  expect(JSON.parse(plan.stdout)).toMatchObject({
    event: 'result',
    data: { config: 'reproduce/tiny', missing: [], steps: [{ id: 'images-stepwise', state: 'anew' }] },
  });
});

test('a folder of another config is refused, and nothing is written', async () => {
  const other = await runDrm(['reproduce', 'table4', '--quick', '--out', out, '--plan']);
  expect(other.code).toBe(3);
  expect(other.stderr).toContain('one of reproduce/tiny-quick, found that of reproduce/tiny; name another with --out');
});

test('an unknown table is a usage error that names those there are', async () => {
  const { code, stderr } = await runDrm(['reproduce', 'table5']);
  expect(code).toBe(2);
  expect(stderr).toContain('table1, table2, table3, table4, figure2, figure7, all');
});

test('all that is missing is said before anything is run', async () => {
  const elsewhere = join(temporaryFolder(), 'out');
  const env = { HF_HOME: join(elsewhere, 'none'), DRM_SCORERS: join(elsewhere, 'none') };
  const asked = ['reproduce', 'table4', '--config', 'reproduce/sd35-medium', '--out', elsewhere];
  const { code, stderr } = await runDrm(asked, { env });
  expect(code).toBe(4);
  for (const name of [
    'HPDv3/pickapic.json',
    'flow_grpo/dataset/pickscore',
    'drm pull stabilityai/',
    'drm pull hpsv3',
    'lpips',
  ])
    expect(stderr).toContain(name);
  expect(stderr).not.toContain('HPDv2'); // of another table
  expect(existsSync(elsewhere)).toBe(false);

  const plan = await runDrm([...asked, '--plan'], { env });
  expect(plan.code).toBe(0);
  expect(plan.stdout).toMatch(/^2 train-drm-512 +would run +the config +/m);
  expect(plan.stdout).toContain('missing on this machine, before it can run (');
});
