// The program around the commands.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { registry } from '../../cli/commands/registry.js';
import { drm, runDrm, temporaryFolder } from '../run_drm.js';

test('help lists every command', async () => {
  const { code, stdout } = await runDrm(['--help']);
  expect(code).toBe(0);
  for (const { name } of registry) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
});

test('help loads neither ink, React, sharp, ajv nor the addon', () => {
  // Node's loader says which modules it reads.
  const trace = spawnSync(process.execPath, [drm, '--help'], {
    encoding: 'utf8',
    env: { ...process.env, NODE_DEBUG: 'esm,module' },
  });
  for (const name of [
    'node_modules/ink/',
    'node_modules/react/',
    'node_modules/sharp/',
    'node_modules/ajv/',
    'drm.node',
  ])
    expect(trace.stderr).not.toContain(name);
  expect(trace.stderr).toContain('commander');
});

test.each(registry.map((entry) => entry.name))(
  '%s has a summary as registered, and two or three examples',
  async (name) => {
    const entry = registry.find((e) => e.name === name);
    const command = await entry?.load();
    expect(command?.name).toBe(name);
    expect(command?.summary).toBe(entry?.summary);
    expect(command?.examples.length).toBeGreaterThanOrEqual(2);
    const { stdout } = await runDrm([name, '--help']);
    for (const example of command?.examples ?? []) expect(stdout).toContain(example.command);
    expect(stdout).toContain('--json');
  },
);

test('unknown commands and options are usage errors with a suggestion', async () => {
  const command = await runDrm(['smaple']);
  expect(command.code).toBe(2);
  expect(command.stderr).toContain('sample');
  const option = await runDrm(['sample', '--stpes', '3']);
  expect(option.code).toBe(2);
  expect(option.stderr).toContain('--steps');
});

test('the options of sample', async () => {
  const { command } = await import('../../cli/commands/sample.js');
  expect(command.options?.map((o) => o.flags.split(' ').find((word) => word.startsWith('--')))).toMatchInlineSnapshot(`
    [
      "--model",
      "--lora",
      "--prompt",
      "--prompts",
      "--negative-prompt",
      "--from",
      "--steps",
      "--guidance",
      "--k",
      "--reward",
      "--noise-level",
      "--sde",
      "--select",
      "--score-from",
      "--score-until",
      "--trace",
      "--size",
      "--height",
      "--width",
      "--seed",
      "--n",
      "--batch",
      "--grid",
      "--preview",
      "--init-latents",
      "--save-latents",
      "--free-encoders",
      "--tile",
      "--t5-length",
      "--no-t5",
      "--skip-layers",
      "--skip-layer-scale",
      "--skip-layer-start",
      "--skip-layer-stop",
      "--components",
      "--vae",
      "--clip-l",
      "--clip-g",
      "--t5",
      "--revision",
    ]
  `);
});

test('config show says where each value comes from', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'base.json'), '{"task": "sample", "steps": 9, "guidance": 2}');
  writeFileSync(join(folder, 'my.json'), '{"extends": "base.json", "guidance": 3}');
  const { code, stdout } = await runDrm(['config', 'show', join(folder, 'my.json'), '--set', 'seed=4', '--json']);
  expect(code).toBe(0);
  const { data } = JSON.parse(stdout.trim().split('\n')[0] ?? '');
  expect(data.values).toMatchObject({ steps: 9, guidance: 3, seed: 4, n: 1 });
  expect(data.origin).toMatchObject({
    steps: join(folder, 'base.json'),
    guidance: join(folder, 'my.json'),
    seed: '--set',
    n: 'default',
  });
});

test.each([
  ['{"task": "sample", "stepz": 3}', 'stepz', 'did you mean steps?'],
  ['{"task": "sample", "steps": "many"}', 'steps', 'expected integer'],
  ['{"task": "sample", "steps": 0}', 'steps', 'expected at least 1, found 0'],
  ['{"task": "sample", "dtype": "fp8"}', 'dtype', 'auto, fp32, bf16, fp16'],
  ['{"task": "sample",', 'expected JSON', 'my.json'],
  ['[]', 'expected a JSON object', 'my.json'],
  ['{"extends": "my.json"}', 'extends itself', 'my.json'],
  ['{"steps": 3}', '"task"', 'my.json'],
])('config check refuses %s', async (text, ...parts) => {
  const file = join(temporaryFolder(), 'my.json');
  writeFileSync(file, text);
  const { code, stderr } = await runDrm(['config', 'check', file]);
  expect(code).toBe(3);
  for (const part of parts) expect(stderr).toContain(part);
});

test("drm's own configs are right", async () => {
  for (const name of ['sample/tiny', 'sample/sd35-medium-paper', 'sample/sd35-medium-slg']) {
    const { code, stderr } = await runDrm(['config', 'check', name]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }
});

test('doctor names what it looks at', async () => {
  const { stdout, code } = await runDrm(['doctor']);
  expect(code).toBe(0);
  for (const name of [
    'Node',
    'addon',
    'libtorch',
    'CPU',
    'threads',
    'attention',
    'GPU',
    'disk',
    'model cache',
    'hub token',
    'output folder',
  ])
    expect(stdout).toMatch(new RegExp(`^(ok|warn|fail)\\s+${name}`, 'm'));
});

test('doctor never shows the token', async () => {
  const { stdout, stderr } = await runDrm(['doctor', '--json'], { env: { HF_TOKEN: 'hf_verysecret' } });
  expect(stdout).toContain('present');
  expect(stdout + stderr).not.toContain('verysecret');
});

test('bash completion completes commands, flags and values', async () => {
  const { stdout: script } = await runDrm(['completion', 'bash']);
  const complete = (...words: string[]) => {
    const line = `COMP_WORDS=(${words.map((w) => `'${w}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _drm; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', `${script}\n${line}`], { encoding: 'utf8' })
      .stdout.trim()
      .split('\n');
  };
  expect(complete('drm', 'sa')).toEqual(['sample']);
  expect(complete('drm', 'sample', '--gu')).toEqual(['--guidance']);
  expect(complete('drm', 'sample', '--dtype', '')).toEqual(['fp32', 'bf16', 'fp16']);
  expect(complete('drm', 'completion', 'z')).toEqual(['zsh']);
});

test('zsh and fish completion name every command', async () => {
  for (const shell of ['zsh', 'fish']) {
    const { stdout } = await runDrm(['completion', shell]);
    for (const { name } of registry) expect(stdout).toContain(name);
  }
});
