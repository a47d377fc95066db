// The program around the commands.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { registry } from '../../cli/commands/registry.js';
import { type CommandGroup, isGroup } from '../../cli/common/command.js';
import type { Option } from '../../cli/common/option.js';
import { flagOf, nameOf } from '../../cli/common/options.js';
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
    if (command && isGroup(command))
      for (const one of command.subcommands) expect(stdout).toContain(`\n  ${one.name} `);
    else expect(stdout).toContain('--json');
  },
);

test.each(['eval', 'data', 'lora'])('each command of %s has a help of its own flags alone', async (name) => {
  const group = (await registry.find((entry) => entry.name === name)?.load()) as CommandGroup;
  const flags = (options: readonly Option[] = []) => options.map((option) => flagOf(nameOf(option)));
  const all = new Set(group.subcommands.flatMap(({ options }) => flags(options)));
  for (const one of group.subcommands) {
    expect(one.examples.length).toBeGreaterThanOrEqual(2);
    const { stdout } = await runDrm([name, one.name, '--help']);
    const own = flags(one.options);
    const shown = [...stdout.matchAll(/^ {2}(?:-\w, )?(--(?:no-)?[\w-]+)/gm)].map((found) =>
      found[1]?.replace('--no-', '--'),
    );
    for (const flag of all) expect(shown.includes(flag), `${one.name} ${flag}`).toBe(own.includes(flag));
    for (const { group: heading } of one.options ?? []) if (heading) expect(stdout).toContain(`\n${heading}\n`);
    for (const { command } of one.examples) expect(stdout).toContain(command);
  }
});

test('help COMMAND is the help of the command', async () => {
  expect((await runDrm(['help', 'eval', 'pairs'])).stdout).toContain('--timesteps');
  const unknown = await runDrm(['help', 'sampl']);
  expect(unknown.stdout + unknown.stderr).toContain('sample images from prompts');
});

test("another command's flag is refused with that command's name, and all that lacks is said at once", async () => {
  const foreign = await runDrm(['eval', 'retrieval', '--timesteps', '0']);
  expect(foreign.code).toBe(2);
  expect(foreign.stderr).toContain('It is one of drm eval pairs.');
  const bare = await runDrm(['lora', 'convert', 'a.safetensors']);
  expect(bare.code).toBe(2);
  for (const flag of ['--to', '--out']) expect(bare.stderr).toContain(flag);
  const pairs = await runDrm(['eval', 'pairs']);
  for (const flag of ['--data', '--scores', '--reward']) expect(pairs.stderr).toContain(flag);
});

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
      "--size",
      "--height",
      "--width",
      "--seed",
      "--n",
      "--sde",
      "--k",
      "--reward",
      "--noise-level",
      "--select",
      "--score-from",
      "--score-until",
      "--trace",
      "--format",
      "--grid",
      "--preview",
      "--init-latents",
      "--save-latents",
      "--skip-layers",
      "--skip-layer-scale",
      "--skip-layer-start",
      "--skip-layer-stop",
      "--batch",
      "--free-encoders",
      "--tile",
      "--t5-length",
      "--no-t5",
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
  expect(complete('drm', 'eval', '')).toEqual(['images', 'pairs', 'retrieval']);
  expect(complete('drm', 'eval', 'pairs', '--timest')).toEqual(['--timesteps']);
  expect(complete('drm', 'eval', 'images', '--timest')).toEqual(['']);
  expect(complete('drm', 'data', 'prepare', 'emoji-')).toEqual(['emoji-prefs']);
  expect(complete('drm', 'data', 'tokenizer', 'x', '--pad', '')).toEqual(['<|endoftext|>', '!']);
  expect(complete('drm', 'train', '--config', 'train/ti')).toEqual(['train/tiny']);
  expect(complete('drm', 'sample', '--set', 'guid')).toEqual(['guidance=']);
  expect(complete('drm', 'score', '--reward', 'pick')).toEqual(['pickscore']);
});

test('zsh and fish completion name every command, and values as these shells read them', async () => {
  for (const shell of ['zsh', 'fish']) {
    const { stdout } = await runDrm(['completion', shell]);
    for (const { name } of registry) expect(stdout).toContain(name);
    for (const value of ['retrieval', 'pickscore', 'train/tiny', 'guidance=']) expect(stdout).toContain(value);
    const file = join(temporaryFolder(), 'drm');
    writeFileSync(file, stdout);
    const parsed = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    if (parsed.error) console.warn(`${shell} is not here: its completion was not tried`);
    else expect(parsed.stderr).toBe('');
  }
  const { stdout } = await runDrm(['completion', 'fish']);
  expect(stdout).toContain(
    String.raw`-l pad -d 'what fills a prompt up; CLIP-G pads with ! (default: <|endoftext|>)' -r -f -a '\'<|endoftext|>\' \'!\''`,
  );
});

test('fish completes subcommands and values', async ({ skip }) => {
  const { stdout: script } = await runDrm(['completion', 'fish']);
  const complete = (line: string) => {
    const { stdout, error } = spawnSync('fish', ['-c', `${script}\ncomplete -C '${line}'`], { encoding: 'utf8' });
    if (error) skip('fish is not here');
    return stdout
      .trim()
      .split('\n')
      .map((one) => one.split('\t', 1)[0]);
  };
  expect(complete('drm lora ')).toEqual(['convert', 'inspect', 'merge']);
  expect(complete('drm data tokenizer x --pad ')).toEqual(['!', '<|endoftext|>']);
  expect(complete('drm grpo --config grpo/tiny-d')).toEqual(['grpo/tiny-demo']);
});

test('list says what there is, and where', async () => {
  const { stdout: all } = await runDrm(['list'], { cwd: temporaryFolder() });
  for (const word of ['models/tiny', 'drm pull', 'pickscore[:PATH]', 'grpo/tiny-step', 'runs: no runs'])
    expect(all).toContain(word);
  const { stdout: scorers } = await runDrm(['list', 'scorers', '--json']);
  const { data } = JSON.parse(scorers);
  expect(data.scorers.map(({ name }: { name: string }) => name)).toContain('judge');
  expect(data.scorers.map(({ name }: { name: string }) => name)).not.toContain('drm');
});

test('list runs names each run, how far it came and how it ended', async () => {
  const folder = temporaryFolder();
  const run = join(folder, 'seeds', 'one');
  mkdirSync(run, { recursive: true });
  const config = { task: 'train', drm: '0', created: '', settings: { model: 'tiny' }, settings_hash: '', resumed: [] };
  writeFileSync(join(run, 'config.json'), JSON.stringify(config));
  const { stdout } = await runDrm(['list', 'runs', folder]);
  expect(stdout).toMatch(new RegExp(`^${run} +train +tiny +0 +unfinished$`, 'm'));
});
