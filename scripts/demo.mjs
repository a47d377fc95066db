// `npm run demo`: a picture from a prompt through the real command line, on the small pipeline of the test fixtures.
import { spawnSync } from 'node:child_process';
import { join, relative } from 'node:path';
import { runMain } from './setup/errors.mjs';
import { root } from './setup/paths.mjs';

const model = join(root, 'test', 'golden', 'pipeline');
const out = join(root, 'out', 'demo');
const prompt = 'a lighthouse at dusk, oil on canvas';

await runMain(() => {
  const shown = ['drm', 'sample', '--model', relative(root, model), '--prompt', JSON.stringify(prompt)];
  const sizes = ['--height', '64', '--width', '96', '--steps', '8', '--n', '4', '--grid'];
  console.error(
    'This is a small Stable Diffusion 3.5 with RANDOM weights, from the test fixtures. It proves the whole path',
  );
  console.error('(tokenizers, text encoders, MMDiT, VAE, PNG), not a taste: the pictures are patterns of noise.\n');
  console.error(`$ ${[...shown, ...sizes, '--out', relative(root, out)].join(' ')}`);
  const args = ['sample', '--model', model, '--prompt', prompt, ...sizes, '--out', out];
  const result = spawnSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...args], { stdio: 'inherit' });
  if (result.status !== 0) return result.status ?? 1;
  console.error(`\nThe pictures and their sheet are in ${out}.`);
  console.error('Next:');
  console.error('  npx drm doctor                                      what this machine can do');
  console.error('  npx drm pull stabilityai/stable-diffusion-3.5-medium   the real model (needs HF_TOKEN)');
  console.error('  npx drm sample --model stabilityai/stable-diffusion-3.5-medium --prompt "…"');
  return 0;
});
