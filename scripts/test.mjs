// Every test there is; the last line is `N passed, N failed` (and how many were skipped, if any).
//   node scripts/test.mjs [lint] [tidy] [core] [golden] [cuda] [node]     some sections only
import { runMain, SetupError } from './setup/errors.mjs';
import { testCore } from './test/core.mjs';
import { testCuda } from './test/cuda.mjs';
import { testGolden } from './test/golden.mjs';
import { testLint } from './test/lint.mjs';
import { testNode } from './test/node.mjs';
import { testTidy } from './test/tidy.mjs';

// Test programs run side by side; OpenMP's threads, which spin while they wait for each other, would then mostly wait for
// a core that another one spins on.
process.env.OMP_WAIT_POLICY ??= 'passive';

const SECTIONS = {
  lint: ['Lint', testLint],
  tidy: ['clang-tidy', testTidy],
  core: ['C++ core (CTest)', testCore],
  golden: ['Golden cases (the reference’s numbers)', testGolden],
  cuda: ['The CUDA build compiles', testCuda],
  node: ['Scripts, binding and command line (vitest)', testNode],
};

await runMain(async () => {
  const asked = process.argv.slice(2);
  const unknown = asked.find((name) => !(name in SECTIONS));
  if (unknown) throw new SetupError(`[test] unknown section ${unknown}; known: ${Object.keys(SECTIONS).join(', ')}`, 2);
  const results = [];
  for (const [name, [title, run]] of Object.entries(SECTIONS)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    console.log(`\n== ${title}`);
    const started = Date.now();
    const result = await run();
    results.push({ title, ...result, seconds: (Date.now() - started) / 1000 });
  }
  console.log('\n== Summary');
  for (const { title, passed, failed, skipped, seconds } of results) {
    const numbers = `${passed} passed, ${failed} failed${skipped ? `, ${skipped} SKIPPED` : ''}`;
    console.log(`  ${failed ? 'FAIL' : 'ok  '}  ${title.padEnd(44)} ${numbers} in ${Math.round(seconds)} s`);
  }
  const sum = (field) => results.reduce((total, result) => total + result[field], 0);
  const skipped = sum('skipped');
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${skipped ? `, ${skipped} skipped` : ''}`);
  return sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
});
