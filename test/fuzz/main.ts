// `npm run fuzz`, and the child that it runs inputs in (driver.ts).
import { existsSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DrmError } from '../../binding/error.js';
import { allTargets, type Found, fuzz, inputOf, MEMORY, type Told, targetsIn } from './driver.js';

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : `threw ${String(error)}`;

const isRight = (error: unknown): boolean => error instanceof DrmError && error.code !== 'INTERNAL';

/** Files, pipes and the like; where the system does not tell, none. */
const openFiles = (): number => (existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0);
/** What Node and libraries open once and keep. */
const LEFT_OPEN = 20;

async function childMain([
  module = '',
  name = '',
  seed = '',
  from = '',
  to = '',
  progress = '',
]: string[]): Promise<void> {
  const { target } = (await targetsIn(module)).find((one) => one.target.name === name) as Found;
  const seeds = target.seeds();
  const file = openSync(progress, 'r+');
  const tell = (told: Told) => new Promise<void>((sent) => process.send?.(told, () => sent()));
  let input = Number(from);
  process.on('disconnect', () => process.exit()); // the driver is gone
  // Errors that nobody waits for would end the product, too.
  for (const event of ['uncaughtException', 'unhandledRejection'])
    process.on(event, (error) => void tell({ input, what: `${event}: ${textOf(error)}` }));
  const files = openFiles();
  for (; input < Number(to); input++) {
    writeSync(file, String(input), 0);
    try {
      await target.run(inputOf(target, seeds, Number(seed), input));
    } catch (error) {
      if (!isRight(error)) await tell({ input, what: textOf(error) });
    }
    const memory = process.resourceUsage().maxRSS * 1024;
    if (memory > MEMORY) {
      await tell({ input, memory });
      process.exit();
    }
  }
  // Each would be closed at some time by the garbage collector, and there are only so many.
  if (openFiles() > files + LEFT_OPEN) await tell({ input: input - 1, what: `left ${openFiles() - files} files open` });
  await tell({ done: Number(to) });
  process.exit(); // whatever a target left open
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      inputs: { type: 'string', default: '10000' },
      target: { type: 'string', multiple: true },
      seed: { type: 'string', default: '0' },
      input: { type: 'string' },
      file: { type: 'string' },
      folder: { type: 'string', default: 'build/fuzz' },
      module: { type: 'string' }, // other targets, and seconds, for the driver's own test
      longest: { type: 'string', default: '10' },
    },
  });
  const all = await (values.module === undefined ? allTargets() : targetsIn(values.module));
  const unknown = values.target?.find((name) => !all.some(({ target }) => target.name === name));
  if (unknown !== undefined)
    throw new DrmError(
      'USAGE',
      `--target ${unknown}: expected one of ${all.map(({ target }) => target.name).join(', ')}`,
    );
  const targets = all.filter(({ target }) => values.target?.includes(target.name) ?? true);
  if (values.file !== undefined) {
    for (const { target } of targets)
      await Promise.resolve(target.run(readFileSync(values.file))).then(
        () => console.log(`${target.name}: read`),
        (error: unknown) => console.log(`${target.name}: ${isRight(error) ? (error as Error).message : textOf(error)}`),
      );
    return;
  }
  const seed = Number(values.seed);
  const inputs = values.input === undefined ? Math.ceil(Number(values.inputs) / targets.length) : 1;
  let count = 0;
  for (const found of targets) {
    const { name } = found.target;
    const started = Date.now();
    const { folder } = values;
    const findings = await fuzz(found, {
      seed,
      from: Number(values.input ?? 0),
      inputs,
      folder,
      longestMs: 1000 * Number(values.longest),
    });
    const seconds = (Date.now() - started) / 1000;
    console.log(
      `${name}: ${inputs} inputs, ${findings.length} findings in ${seconds.toFixed(1)} s (${Math.round(inputs / seconds)}/s)`,
    );
    for (const { input, what, file } of findings)
      console.log(
        `  FOUND ${what.replaceAll('\n', '\n    ')}\n  again: npm run fuzz -- --target ${name} --seed ${seed} --input ${input}   (${file})`,
      );
    count += findings.length;
  }
  process.exitCode = count > 0 ? 1 : 0;
}

if (process.argv[2] === '--child') await childMain(process.argv.slice(3));
else
  await main().catch((error: unknown) => {
    console.error((error as Error).message);
    process.exitCode = 2;
  });
