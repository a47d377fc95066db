// What reads the sources alone: rules of TypeScript, directions between rooms on both sides, formatting. A few seconds.
import { join, relative } from 'node:path';
import { root } from '../setup/paths.mjs';
import { filesUnder } from '../setup/stamp.mjs';
import { capture, counts } from './section.mjs';

const packaged = (name) => join(root, 'node_modules', '.bin', name);
const script = (name) => join(root, 'scripts', name);

const bindingFiles = filesUnder(join(root, 'binding'), (name) => name.endsWith('.ts')).map((file) =>
  relative(root, file),
);

const CHECKS = [
  ['biome', packaged('biome'), ['check', '--error-on-warnings', '.']],
  ['dependency-cruiser', packaged('depcruise'), ['--config', '.dependency-cruiser.mjs', 'cli', ...bindingFiles]],
  ['includes', process.execPath, [script('check_includes.mjs')]],
  ['clang-format', process.execPath, [script('clang-format.mjs'), '--check']],
];

export async function testLint() {
  let failed = 0;
  for (const [name, command, args] of CHECKS) {
    const { code, output } = await capture(command, args);
    console.log(`  ${code === 0 ? 'ok  ' : 'FAIL'}  ${name}`);
    if (code === 0) continue;
    failed += 1;
    console.log(output.trimEnd().replace(/^/gm, '        '));
  }
  return counts(CHECKS.length - failed, failed);
}
