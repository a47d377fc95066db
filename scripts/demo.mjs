// `npm run demo`: a sheet of pictures from the embedded model, through the real command line.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { runMain } from './setup/errors.mjs';
import { root } from './setup/paths.mjs';

const out = join(root, 'out', 'demo');
const promptFile = join(out, 'prompts.txt');
const here = (path) => relative(root, path);

/** A prompt and what its row shows. The splits are those of `drm data prepare emoji`. */
const ROWS = [
  ['hamster, noto style', 'one thing in the three styles that the model knows'],
  ['hamster, twemoji style', ''],
  ['hamster, fluent style', ''],
  ['rocket, twemoji style', 'other things that training saw'],
  ['sunflower, fluent style', ''],
  ['pizza, noto style', ''],
  ['green book, fluent style', 'training saw green books, but never in this style'],
  ['green apple, noto style', 'training saw red apples and green things, but no green apple'],
];

function sample(args) {
  console.error(`$ drm sample ${args.map((a) => (/[^\w./-]/.test(a) ? JSON.stringify(a) : a)).join(' ')}`);
  const program = [join(root, 'dist', 'cli', 'main.js'), 'sample', ...args];
  return spawnSync(process.execPath, program, { stdio: 'inherit', cwd: root }).status ?? 1;
}

function next(lines) {
  console.error('\nNext:');
  const width = Math.max(...lines.map(([command]) => command.length));
  for (const [command, does] of lines) console.error(`  ${command.padEnd(width)}  ${does}`.trimEnd());
}

/** Four pictures of each prompt. Steps and guidance are what the model's drm.json says. */
function demo() {
  mkdirSync(out, { recursive: true });
  writeFileSync(promptFile, `${ROWS.map(([prompt]) => prompt).join('\n')}\n`);
  const seeds = ['--seed', '0', '--n', '4', '--grid'];
  const status = sample(['--prompts', here(promptFile), ...seeds, '--out', here(out)]);
  if (status !== 0) return status;
  console.error(`\nThe sheet: ${join(out, 'grid.png')}`);
  console.error('Four pictures a row, each of its own seed. From the top:');
  for (const [prompt, shows] of ROWS) console.error(`  ${prompt.padEnd(25)} ${shows}`.trimEnd());
  next([
    ['npx drm sample --prompt "octopus, noto style" --n 8 --grid', 'a thing of your own; "octopus" alone is fine, too'],
    ['npx drm sample --prompt octopus --guidance 1 --n 8 --grid', 'the same without guidance: see what it is for'],
    ['npx drm pretrain --help', 'how this model was made; docs/embedded-model.md has every command'],
    ['npx drm doctor', 'what this machine can do'],
    ['npx drm pull stabilityai/stable-diffusion-3.5-medium', 'the large model of the same kind (needs HF_TOKEN)'],
  ]);
  return 0;
}

await runMain(() => demo());
