// Compares this program with golden cases written by the Python libraries.
//
//   [DRM_GOLDEN=DIR] npm run test:golden [-- --case NAME]... [--ci]
//
// Every folder under the root is a case: one line each with the worst ratio error / tolerance, and a last line
// "N passed, N failed". A folder of an unknown kind, or of a kind that is not built yet, counts as failed; --ci runs
// the kinds that are built and names the others.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkNative } from './native.js';
import { checkPipelineThroughCommand } from './pipeline_command.js';
import type { Comparison } from './report.js';
import { report } from './report.js';
import { checkTokenizers } from './tokenizers.js';

const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

type Check = (folder: string, root: string) => Promise<Comparison[]>;

const checks: Record<string, Check> = {
  mmdit: checkNative,
  mmdit_sd35_naming: checkNative,
  vae: checkNative,
  clip_l: checkNative,
  clip_g: checkNative,
  t5: checkNative,
  scheduler: checkNative,
  lora: checkNative,
  optim: checkNative,
  tokenizers: checkTokenizers,
  tokenizers_real: checkTokenizers,
  pipeline: async (folder, root) => [
    ...(await checkNative(folder, root)),
    ...(await checkPipelineThroughCommand(folder)),
  ],
};

/** Kinds whose code comes with later parts of the program. */
const notBuiltYet = new Set([
  'drm',
  'bt_loss',
  'branch_select',
  'sde_step',
  'grpo',
  'grpo_adv',
  'grpo_loss',
  'step_grpo',
  'ema',
  'scorers',
]);

/** What a case folder says it is; its name where it does not say. */
function kindOf(folder: string): string {
  for (const file of ['case.json', 'config.json']) {
    const path = join(folder, file);
    if (!existsSync(path)) continue;
    try {
      const kind = (JSON.parse(readFileSync(path, 'utf8')) as { case?: unknown }).case;
      if (typeof kind === 'string') return kind;
    } catch {
      // a broken file is reported by the check itself
    }
  }
  return basename(folder);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { case: { type: 'string', multiple: true }, ci: { type: 'boolean', default: false } },
  });
  const root = resolve(process.env.DRM_GOLDEN ?? join(repository, 'test/golden'));
  if (!existsSync(root)) {
    console.error(`[golden] ${root}: expected a folder of golden cases, found nothing; set DRM_GOLDEN`);
    return 3;
  }
  const folders = readdirSync(root)
    .filter((name) => statSync(join(root, name)).isDirectory())
    .sort();
  let passed = 0;
  let failed = 0;
  for (const name of folders) {
    const folder = join(root, name);
    const kind = kindOf(folder);
    if (values.case && !values.case.includes(name) && !values.case.includes(kind)) continue;
    const check = checks[kind];
    if (!check) {
      const why = notBuiltYet.has(kind) ? 'not built yet' : 'unknown case';
      if (values.ci && notBuiltYet.has(kind)) {
        console.log(`  --    ${name.padEnd(20)} ${why}, not counted in CI`);
        continue;
      }
      console.log(`  FAIL  ${name.padEnd(20)} ${why}`);
      failed += 1;
      continue;
    }
    let ok = false;
    try {
      ok = report(name, await check(folder, root));
    } catch (error) {
      console.log(`  FAIL  ${name.padEnd(20)} ${error instanceof Error ? error.message : String(error)}`);
    }
    if (ok) passed += 1;
    else failed += 1;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 || passed === 0 ? 1 : 0;
}

process.exitCode = await main();
