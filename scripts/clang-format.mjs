// Formats all C++ and CUDA sources; with --check only says which files are not formatted, exit code 1.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runMain, SetupError } from './setup/errors.mjs';
import { root } from './setup/paths.mjs';
import { filesUnder } from './setup/stamp.mjs';

const FOLDERS = ['csrc', 'binding/src', 'test/csrc', 'test/parity'];

await runMain(() => {
  const args = process.argv.slice(2);
  const check = args.includes('--check');
  if (args.some((arg) => arg !== '--check')) throw new SetupError('[clang-format] expected no option but --check', 2);
  const packaged = join(root, 'node_modules', '.bin', 'clang-format');
  const formatter = existsSync(packaged) ? packaged : 'clang-format';
  const files = FOLDERS.flatMap((folder) => filesUnder(join(root, folder), (name) => /\.(cc|h|cu|cuh)$/.test(name)));
  const mode = check ? ['--dry-run', '--Werror', '--ferror-limit=1'] : ['-i'];
  const result = spawnSync(formatter, [...mode, ...files], { stdio: 'inherit', cwd: root });
  if (result.error)
    throw new SetupError(`[clang-format] ${formatter}: ${result.error.message}; run \`npm run setup\` first.`);
  if (result.status === 0) {
    console.error(`clang-format: ${files.length} files ${check ? 'are formatted' : 'formatted'}`);
    return 0;
  }
  if (check) console.error('clang-format: run `npm run format`');
  return 1;
});
