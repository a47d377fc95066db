// The C++ tests, by CTest. Each program ends with `N passed, N failed`; one that does not has crashed.
import { existsSync } from 'node:fs';
import { coreBuildDir } from '../setup/paths.mjs';
import { capture, counts, lastCounts } from './section.mjs';

/** { name: its output } from `ctest --verbose`, where each line begins with the test's number. */
function outputsByTest(output) {
  const names = new Map([...output.matchAll(/^ +Start +(\d+): (\S+)$/gm)].map((match) => [match[1], match[2]]));
  const texts = new Map([...names.values()].map((name) => [name, '']));
  for (const [, number, line] of output.matchAll(/^(\d+): (.*)$/gm)) {
    const name = names.get(number);
    // ctest itself says some things in the same form
    if (name && !/^(Test command|Working Directory|Test timeout|Environment variables)/.test(line)) {
      texts.set(name, `${texts.get(name)}${line}\n`);
    }
  }
  return texts;
}

export async function testCore() {
  const { code, output } = await capture('ctest', ['--test-dir', coreBuildDir, '--verbose', '--timeout', '900']);
  const texts = outputsByTest(output);
  let [passed, failed] = [0, 0];
  for (const [name, text] of texts) {
    const result = lastCounts(text);
    const outcome = new RegExp(`Test +#\\d+: ${name} \\.+ *(\\*{3})?(\\S+)`).exec(output);
    const crashed = !result || (outcome?.[1] && result.failed === 0);
    passed += result?.passed ?? 0;
    failed += (result?.failed ?? 0) + (crashed ? 1 : 0);
    const ok = !crashed && result.failed === 0;
    const told = result
      ? `${result.passed} passed, ${result.failed} failed`
      : `ended without a result: ${outcome?.[2]}`;
    console.log(`  ${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(24)} ${told}`);
    if (!ok) console.log(text.replace(/^/gm, '        '));
  }
  if (texts.size === 0 || (code !== 0 && failed === 0)) {
    console.log(output);
    console.log(
      existsSync(coreBuildDir) ? '  FAIL  ctest' : '  FAIL  build/core is missing: run `npm run setup -- --tests`',
    );
    failed += 1;
  }
  return counts(passed, failed);
}
