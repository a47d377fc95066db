// Compares this program with golden cases written by the Python libraries.
//
//   [DRM_GOLDEN=DIR] npm run test:golden [-- --case NAME]...
//
// Every folder under the root is a case: one line each with the worst ratio error / tolerance, and a last line
// "N passed, N failed". A folder of an unknown kind counts as failed.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkNative } from './native.js';
import { checkPipelineThroughCommand } from './pipeline_command.js';
import type { Comparison } from './report.js';
import { report } from './report.js';
import { checkScorers } from './scorers/index.js';
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
  drm: checkNative,
  bt_loss: checkNative,
  sde_step: checkNative,
  branch_select: checkNative,
  grpo_adv: checkNative,
  grpo_loss: checkNative,
  ema: checkNative,
  grpo: checkNative,
  step_grpo: checkNative,
  tokenizers: checkTokenizers,
  tokenizers_real: checkTokenizers,
  scorers: checkScorers,
  pipeline: async (folder, root) => [
    ...(await checkNative(folder, root)),
    ...(await checkPipelineThroughCommand(folder)),
  ],
};

/** What a case folder says it is; its name where it does not say. Throws when what it says cannot be read. */
function kindOf(folder: string): string {
  for (const file of ['case.json', 'config.json']) {
    const path = join(folder, file);
    if (!existsSync(path)) continue;
    const kind = (JSON.parse(readFileSync(path, 'utf8')) as { case?: unknown } | null)?.case;
    if (typeof kind === 'string') return kind;
  }
  return basename(folder);
}

function usage(message: string): number {
  console.error(`[golden] ${message}`);
  return 2;
}

function options() {
  return parseArgs({
    options: { case: { type: 'string', multiple: true } },
  }).values;
}

async function main(): Promise<number> {
  let values: ReturnType<typeof options>;
  try {
    values = options();
  } catch (error) {
    return usage((error as Error).message);
  }
  const root = resolve(process.env.DRM_GOLDEN ?? join(repository, 'test/golden'));
  if (!existsSync(root) || !statSync(root).isDirectory())
    return usage(
      `${root}: expected a folder of golden cases, found ${existsSync(root) ? 'a file' : 'nothing'}; set DRM_GOLDEN`,
    );
  const folders = readdirSync(root)
    .filter((name) => statSync(join(root, name)).isDirectory())
    .sort();
  let passed = 0;
  let failed = 0;
  for (const name of folders) {
    const folder = join(root, name);
    let kind: string;
    try {
      kind = kindOf(folder);
    } catch (error) {
      if (values.case && !values.case.includes(name)) continue;
      console.log(`  FAIL  ${name.padEnd(20)} case.json or config.json: expected JSON (${(error as Error).message})`);
      failed += 1;
      continue;
    }
    if (values.case && !values.case.includes(name) && !values.case.includes(kind)) continue;
    const check = checks[kind];
    if (!check) {
      console.log(`  FAIL  ${name.padEnd(20)} unknown case`);
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
  if (passed + failed === 0) console.error(`[golden] ${root}: expected folders of golden cases, found none that match`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 || passed === 0 ? 1 : 0;
}

process.exitCode = await main();
