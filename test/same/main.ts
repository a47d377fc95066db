// `npm run test:same -- --record [FILE]` keeps what the product does, case by case, on this machine; `npm run test:same`
// [--against FILE] does all of it again and says what differs. `--only PATTERN` takes some cases, `--drm MAIN_JS` the
// program of another checkout. The last line is `N same, M different`. Only the command line is used, so that everything
// beneath it can be moved about.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CASES, type Case } from './cases.js';
import { helpTexts } from './help.js';
import { here, writeInputs } from './inputs.js';
import { machineDifferences, machineOf } from './machine.js';
import { normalText } from './normal.js';
import { type Behaviour, compare, type Entries, entryName, entryOf, readRecord, writeRecord } from './record.js';
import { Product, runNode } from './run.js';

const DEFAULT = join(here, 'build/same/record.json');
const USAGE = 'usage: npm run test:same -- [--record [FILE] | --against FILE] [--only PATTERN] [--drm PATH/TO/main.js]';

class Usage extends Error {}

interface Options {
  /** Write a record to this file. */
  record: string | undefined;
  against: string;
  only: RegExp;
  main: string;
}

function optionsOf(argv: string[]): Options {
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        record: { type: 'boolean', default: false },
        against: { type: 'string' },
        only: { type: 'string', default: '' },
        drm: { type: 'string', default: join(here, 'dist/cli/main.js') },
      },
    });
    if (positionals.length > (values.record ? 1 : 0)) throw new Error(`found ${positionals.join(' ')}`);
    if (values.record && values.against !== undefined) throw new Error('--record and --against at once');
    const main = resolve(values.drm);
    if (!existsSync(main)) throw new Error(`--drm ${values.drm}: no such file; npm run build:ts`);
    return {
      record: values.record ? resolve(positionals[0] ?? DEFAULT) : undefined,
      against: resolve(values.against ?? DEFAULT),
      only: new RegExp(values.only),
      main,
    };
  } catch (error) {
    throw new Usage(`${(error as Error).message}\n${USAGE}`);
  }
}

/** The cases that are asked for, and those that they stand on, in the table's order but after what they need. */
function chosen(only: RegExp): Case[] {
  const byName = new Map(CASES.map((one) => [one.name, one]));
  const order = new Set<Case>();
  const add = (one: Case): void => {
    if (order.has(one)) return;
    for (const name of one.needs) {
      const needed = byName.get(name);
      if (!needed) throw new Error(`case ${one.name} needs ${name}, which is no case`);
      add(needed);
    }
    order.add(one);
  };
  for (const one of CASES) if (only.test(one.name)) add(one);
  return [...order];
}

/** Worst ratio of each golden case, as their runner prints them. */
async function goldenText(product: Product): Promise<string> {
  const { stdout } = await runNode([join(product.root, 'dist/test/parity/run.js')], product.root);
  return normalText(stdout, product.places);
}

interface Observed {
  entries: Entries;
  skipped: Record<string, string>;
  /** Cases that did not end as they should. */
  failed: string[];
}

async function observe(product: Product, only: RegExp): Promise<Observed> {
  const seen: Observed = { entries: {}, skipped: {}, failed: [] };
  const keep = (name: string, parts: Record<string, string>): void => {
    for (const [part, text] of Object.entries(parts)) seen.entries[entryName(name, part)] = entryOf(text);
  };
  if (only.test('help')) keep('help', await helpTexts((argv) => product.run(argv)));
  if (only.test('golden')) {
    if (existsSync(join(product.root, 'build/core/drm_parity'))) keep('golden', { ratios: await goldenText(product) });
    else seen.skipped.golden = 'build/core/drm_parity is not built (npm run setup -- --tests)';
  }
  for (const one of chosen(only)) {
    const began = performance.now();
    try {
      keep(one.name, await product.observe(one));
      console.error(`${one.name}  ${((performance.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      seen.failed.push(one.name);
      console.error(`FAIL ${one.name}: ${(error as Error).message}`);
    }
  }
  return seen;
}

function commitOf(root: string): string {
  const git = (...args: string[]) => spawnSync('git', ['-C', root, ...args], { encoding: 'utf8' }).stdout?.trim() ?? '';
  const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ', with changes';
  return `${git('rev-parse', 'HEAD') || 'unknown'}${changed}`;
}

function saySkipped(skipped: Record<string, string>): void {
  for (const [name, why] of Object.entries(skipped)) console.log(`SKIPPED ${name}: ${why}`);
}

async function record(file: string, product: Product, only: RegExp): Promise<number> {
  const machine = await machineOf(product);
  const { entries, skipped, failed } = await observe(product, only);
  saySkipped(skipped);
  if (failed.length > 0) {
    console.log(`${failed.length} cases did not end as they should: ${failed.join(', ')}; nothing is recorded`);
    return 1;
  }
  const behaviour: Behaviour = { format: 'drm-same 1', commit: commitOf(product.root), machine, entries, skipped };
  writeRecord(file, behaviour);
  console.log(`${Object.keys(entries).length} recorded in ${file}`);
  return 0;
}

async function check(file: string, product: Product, only: RegExp): Promise<number> {
  const before = readRecord(file);
  const differences = machineDifferences(before.machine, await machineOf(product));
  if (differences.length > 0)
    throw new Usage(`${file} is of another machine or build, whose bits do not compare: ${differences.join('; ')}`);
  console.error(`against ${before.commit}`);
  const { entries, skipped, failed } = await observe(product, only);
  const missed = new Set([...Object.keys(skipped), ...Object.keys(before.skipped)]);
  const { same, different } = compare(before.entries, entries, (name) => only.test(name) && !missed.has(name));
  for (const { name, lines } of different)
    console.log([`DIFFERENT ${name}`, ...lines.map((line) => `  ${line}`)].join('\n'));
  saySkipped(Object.fromEntries(Object.entries({ ...before.skipped, ...skipped }).filter(([name]) => only.test(name))));
  if (failed.length > 0) console.log(`did not end as they should: ${failed.join(', ')}`);
  console.log(`${same} same, ${different.length} different`);
  return different.length > 0 || failed.length > 0 ? 1 : 0;
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options.record === undefined) readRecord(options.against); // before anything is run
  const work = mkdtempSync(join(tmpdir(), 'drm-same-'));
  try {
    await writeInputs(work);
    const product = new Product(options.main, work);
    return options.record === undefined
      ? await check(options.against, product, options.only)
      : await record(options.record, product, options.only);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

process.exitCode = await main().catch((error: Error) => {
  console.error(`[same] ${error.message}`);
  return 2;
});
