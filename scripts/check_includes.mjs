// Checks which folders of csrc know which: each may include those above it in the list below, and itself, so that there is
// no cycle; the binding includes only what has no torch header in it.
//   node scripts/check_includes.mjs
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** From the bottom up. */
const ROOMS = [
  'common', // failures, settings, files: knows no tensor
  'tensor_io', // weight files and configs
  'random', // counter-based randomness
  'cuda', // our kernels behind tensors
  'nn', // leaves of models, attention, fused operations
  'runtime', // devices and what libtorch can do
  'text', // CLIP and T5
  'vae',
  'models', // the interface of base models, and a folder a base
  'lora', // adapters: files, names, application
  'flow', // schedules, steps, branching, selection, the walk
  'scorers', // judges of finished images
  'reward', // the diffusion reward model
  'rl', // advantages, losses, rollouts
  'optim', // AdamW, averages, loss scale
  'parallel', // processes that train together
  'train', // objectives and the trainer
  'api', // what the binding calls
];
/** What the binding may know besides api: plain data and objects without a torch header. */
const FOR_THE_BINDING = ['api', 'common', 'parallel', 'rl', 'runtime', 'scorers', 'tensor_io', 'text', 'train', 'lora'];

const files = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h|cu|cuh)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));

const problems = [];
function check(folder, may) {
  for (const file of files(join(root, folder))) {
    const lines = readFileSync(file, 'utf8').split('\n');
    for (const [i, line] of lines.entries()) {
      const included = /^#include "([^"]+)"/.exec(line)?.[1];
      const room = included?.includes('/') ? included.split('/')[0] : undefined;
      if (room === undefined || room === '..' || !ROOMS.includes(room)) continue;
      const complaint = may(file, room);
      if (complaint) problems.push(`${relative(root, file)}:${i + 1}: ${complaint}, found ${included}`);
    }
  }
}

check('csrc', (file, room) => {
  const own = relative(join(root, 'csrc'), dirname(file)).split('/')[0];
  if (!ROOMS.includes(own)) return `expected a folder that scripts/check_includes.mjs lists, found ${own}`;
  return (
    ROOMS.indexOf(room) > ROOMS.indexOf(own) &&
    `${own} may include only ${ROOMS.slice(0, ROOMS.indexOf(own) + 1).join(', ')}`
  );
});
check(
  'binding/src',
  (_, room) => !FOR_THE_BINDING.includes(room) && `binding/src may include only ${FOR_THE_BINDING.join(', ')}`,
);

for (const problem of problems) console.log(problem);
console.log(`includes: ${problems.length} problems`);
process.exitCode = problems.length > 0 ? 1 : 0;
