// The golden cases: this program's numbers against the reference's.
import { join } from 'node:path';
import { root } from '../setup/paths.mjs';
import { capture, counts, lastCounts } from './section.mjs';

export async function testGolden() {
  const runner = join(root, 'dist', 'test', 'parity', 'run.js');
  const { code, output } = await capture(process.execPath, [runner], { show: true });
  const result = lastCounts(output);
  if (!result) {
    console.log(`  FAIL  the runner ended with code ${code} and without a result`);
    return counts(0, 1);
  }
  return counts(result.passed, code !== 0 && result.failed === 0 ? 1 : result.failed);
}
