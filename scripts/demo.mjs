// `npm run demo`: a sheet of images from the embedded model, what its reward model makes of the same seeds, and a short
// training of the model by that reward, through the real command line.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
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

function drm(...args) {
  console.error(`$ drm ${args.map((a) => (/[^\w./,-]/.test(a) ? JSON.stringify(a) : a)).join(' ')}`);
  const program = [join(root, 'dist', 'cli', 'main.js'), ...args];
  return spawnSync(process.execPath, program, { stdio: 'inherit', cwd: root }).status ?? 1;
}

/** Two sheets side by side. */
async function besideEachOther(left, right, path) {
  const { default: sharp } = await import('sharp'); // after `npm install`, which came before
  const sheets = await Promise.all(
    [left, right].map((file) => sharp(file).png().toBuffer({ resolveWithObject: true })),
  );
  const gap = 24;
  const width = sheets[0].info.width + gap + sheets[1].info.width;
  const height = Math.max(...sheets.map(({ info }) => info.height));
  await sharp({ create: { width, height, channels: 3, background: '#ffffff' } })
    .composite([
      { input: sheets[0].data, left: 0, top: 0 },
      { input: sheets[1].data, left: sheets[0].info.width + gap, top: 0 },
    ])
    .png()
    .toFile(path);
}

/** The same seeds once plainly and once with the reward model choosing among six candidates a step, and the judge's view. */
async function chosenByTheReward() {
  console.error(
    '\nThe same prompts and seeds, plainly (k = 1) and with a reward model choosing among 6 candidates a step:',
  );
  const folder = join(out, 'chosen');
  const asked = ['--prompts', here(promptFile), '--n', '4', '--k', '1,6', '--reward', 'tiny', '--scorer', 'judge'];
  const status = drm('eval', 'images', ...asked, '--grid', '--out', here(folder));
  if (status !== 0) return status;
  const both = join(out, 'k1-and-k6.png');
  await besideEachOther(join(folder, 'k-1', 'grid.png'), join(folder, 'k-6', 'grid.png'), both);
  console.error(`\nBoth sheets, k = 1 on the left: ${both}`);
  console.error('The judge above is a CLIP of its own; its score is higher where it finds the prompt in the image.');
  console.error('On this small model the two are level so far; docs/embedded-model.md says why.');
  return 0;
}

/** 20 updates by Step-GRPO; images of the same prompts and seeds before and after them, and the report. */
async function trainedByTheReward() {
  console.error('\nThe model itself, trained by that reward: 20 updates of Step-GRPO on an adapter (LoRA).');
  console.error(
    'Each update samples 6 candidates at every denoising step of 8 prompts and learns which the reward prefers.',
  );
  const run = join(out, 'step-grpo');
  rmSync(run, { recursive: true, force: true });
  const status = drm('grpo', '--step', '--config', 'grpo/tiny-demo', '--out', here(run));
  if (status !== 0) return status;
  const sheets = [0, 20].map((step) => join(run, 'samples', String(step), 'sheet.png'));
  const both = join(out, 'before-and-after.png');
  await besideEachOther(...sheets, both);
  const reported = drm('report', here(run));
  if (reported !== 0) return reported;
  console.error(`\nHeld-out prompts before (left) and after: ${both}`);
  console.error(`Curves, settings and images: ${join(run, 'report.html')}`);
  console.error(
    'Twenty updates move the reward, and little else. Whether images become better is what the judge, which has',
  );
  console.error('no part in the training, is there to say: docs/reproduction.md has long runs.');
  return 0;
}

function next(lines) {
  console.error('\nNext:');
  const width = Math.max(...lines.map(([command]) => command.length));
  for (const [command, does] of lines) console.error(`  ${command.padEnd(width)}  ${does}`.trimEnd());
}

/** Four images of each prompt. Steps and guidance are what the model's drm.json says. */
async function demo() {
  mkdirSync(out, { recursive: true });
  writeFileSync(promptFile, `${ROWS.map(([prompt]) => prompt).join('\n')}\n`);
  const seeds = ['--seed', '0', '--n', '4', '--grid'];
  const status = drm('sample', '--prompts', here(promptFile), ...seeds, '--out', here(out));
  if (status !== 0) return status;
  console.error(`\nThe sheet: ${join(out, 'grid.png')}`);
  console.error('Four images a row, each of its own seed. From the top:');
  for (const [prompt, shows] of ROWS) console.error(`  ${prompt.padEnd(25)} ${shows}`.trimEnd());
  const traced = 'npx drm sample --prompt "green apple" --k 6 --reward tiny --trace';
  const chosen = await chosenByTheReward();
  if (chosen !== 0) return chosen;
  const trained = await trainedByTheReward();
  if (trained !== 0) return trained;
  next([
    [traced, "every step's candidates and scores, as a sheet"],
    ['npx drm sample --prompt "octopus, noto style" --n 8 --grid', 'a thing of your own; "octopus" alone is fine, too'],
    ['npx drm sample --prompt octopus --guidance 1 --n 8 --grid', 'the same without guidance: see what it is for'],
    [
      'npx drm sample --lora out/demo/step-grpo/model --prompt "red apple" --n 8 --grid',
      'with the adapter; ADAPTER:0.5 is half of it',
    ],
    ['npx drm grpo --step --config grpo/tiny-step --out runs/step', 'a longer training; --plan says what it takes'],
    ['npx drm pretrain --help', 'how this model was made; docs/embedded-model.md has every command'],
    ['npx drm doctor', 'what this machine can do'],
    ['npx drm pull stabilityai/stable-diffusion-3.5-medium', 'the large model of the same kind (needs HF_TOKEN)'],
  ]);
  return 0;
}

await runMain(() => demo());
