// The TypeScript tests, by vitest.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir, root } from '../setup/paths.mjs';
import { capture, counts } from './section.mjs';

export async function testNode() {
  const report = join(buildDir, 'vitest.json');
  rmSync(report, { force: true });
  const { code } = await capture(
    process.execPath,
    [
      join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { show: true },
  );
  let result;
  try {
    result = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    console.log(`  FAIL  vitest ended with code ${code} and without a report`);
    return counts(0, 1);
  }
  // A file that cannot be imported has no tests that could fail.
  const broken = result.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = result.numFailedTests + broken;
  return counts(
    result.numPassedTests,
    code !== 0 && failed === 0 ? 1 : failed,
    result.numPendingTests + result.numTodoTests,
  );
}
