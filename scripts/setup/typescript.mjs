// TypeScript to dist/, by tsc.
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { openLog, run } from './exec.mjs';
import { root } from './paths.mjs';
import { filesUnder, Stamp } from './stamp.mjs';

const dist = join(root, 'dist');
const isSource = (name) => /\.tsx?$/.test(name);

/** tsc leaves the output of deleted sources behind, and a stale module can hide a broken import. */
function removeOrphans() {
  for (const file of filesUnder(dist, (name) => /\.js(\.map)?$/.test(name))) {
    const source = join(root, relative(dist, file)).replace(/\.js(\.map)?$/, '');
    if (!existsSync(`${source}.ts`) && !existsSync(`${source}.tsx`)) rmSync(file);
  }
}

export async function buildTypeScript(say) {
  const sources = ['cli', 'binding', 'test'].flatMap((dir) => filesUnder(join(root, dir), isSource));
  const stamp = new Stamp('typescript');
  const config = [join(root, 'tsconfig.json'), join(root, 'package-lock.json')];
  stamp.look([...sources, ...config], {});
  const main = join(dist, 'cli', 'main.js');
  if (stamp.fresh() && existsSync(dist)) return;
  say('typescript: compiling …');
  const log = openLog('typescript');
  if (!existsSync(dist)) rmSync(join(root, 'build', 'tsbuildinfo'), { force: true }); // it would say "nothing to do"
  await run(
    process.execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(root, 'tsconfig.json')],
    {
      log,
      advice: 'the lines above name file and line of each type error.',
    },
  );
  log.stream.end();
  removeOrphans();
  if (existsSync(main)) chmodSync(main, 0o755); // npm's bin link runs it as a program
  stamp.save(existsSync(main) ? [main] : []);
}
