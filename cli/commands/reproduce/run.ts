// `drm reproduce`: the steps of the tables asked for, those that are missing run, one page at the end.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { GlobalOptions } from '../../common/command.js';
import { secondsSince } from '../../common/events.js';
import { writeAtomically } from '../../common/files.js';
import { commandLine } from '../../common/options.js';
import type { Shown } from '../../reproduce/document.js';
import { runChain } from '../../reproduce/engine.js';
import { Estimator } from '../../reproduce/estimate.js';
import { ChainFolder } from '../../reproduce/folder.js';
import { type HeldOutPrompts, heldOutPrompts, unknownPrompts, writePrompts } from '../../reproduce/held_out.js';
import { expectInputs, missingInputs } from '../../reproduce/inputs.js';
import { pageMarkdown, pageOfChain } from '../../reproduce/page.js';
import { planOf, planText } from '../../reproduce/plan.js';
import { plannedSeconds } from '../../reproduce/planned.js';
import { Results } from '../../reproduce/results.js';
import { type Asked, askedSettings, defaultOut } from '../../reproduce/settings.js';
import { inOrder, type Step } from '../../reproduce/step.js';
import { type Chain, chainOf } from '../../reproduce/steps.js';
import { type NamedTable, tablesNamed } from '../../reproduce/tables/registry.js';
import { onTerminal } from '../../ui/renderers.js';
import type { ReproduceContext } from './options.js';

/** Words that a result depends on, and those that only say how it is computed. */
function globalWords({ device, dtype, threads }: GlobalOptions) {
  return {
    shared: [...(device === 'auto' ? [] : ['--device', device]), ...(dtype === undefined ? [] : ['--dtype', dtype])],
    words: threads === undefined ? [] : ['--threads', String(threads)],
  };
}

/** Everything about a chain but how far it is. */
interface Prepared extends Asked {
  chain: Chain;
  tables: readonly NamedTable[];
  steps: Step[];
  prompts: HeldOutPrompts;
  folder: ChainFolder;
  words: string[];
  /** What the prompts lack; undefined where they are known. */
  lack: string | undefined;
}

async function prepared({ args, options, global }: ReproduceContext): Promise<Prepared> {
  const asked = askedSettings(global, options.quick);
  const tables = await tablesNamed(args[0]);
  let lack: string | undefined;
  const prompts = await heldOutPrompts(asked.settings).catch((error: unknown) => {
    if (!(error instanceof DrmError)) throw error;
    lack = error.message;
    return unknownPrompts(asked.settings);
  });
  const out = global.out ?? defaultOut(asked.config);
  const { shared, words } = globalWords(global);
  const folder = new ChainFolder(out, join(out, prompts.name), shared);
  folder.check(asked.config);
  const chain = chainOf(asked.settings, prompts.count);
  const steps = inOrder(tables.flatMap((table) => table.steps(chain)));
  return { ...asked, chain, tables, steps, prompts, folder, words, lack };
}

/** The program of this process: node, its own options, main.js. */
const ownProgram = (): string[] => [process.execPath, ...process.execArgv, process.argv[1] as string];

/** What the steps that are not done lack. */
async function lacking({ steps, folder, settings, lack }: Prepared): Promise<string[]> {
  const left = steps.filter((step) => folder.look(step).state !== 'done');
  const missing = await missingInputs(left, settings);
  const needsPrompts = left.some((step) => step.words({ folder: () => '', prompts: '\0' }).includes('\0'));
  const isTold = settings.prompts !== '' && missing.some((one) => one.startsWith(`${settings.prompts}: `));
  return needsPrompts && lack !== undefined && !isTold ? [...new Set([...missing, lack])] : missing;
}

export async function reproduce(context: ReproduceContext): Promise<void> {
  const made = await prepared(context);
  const missing = await lacking(made);
  if (context.options.plan) return showPlan(made, missing, context);
  expectInputs(missing);
  await runAll(made, context);
}

async function showPlan(made: Prepared, missing: string[], { events, signal }: ReproduceContext): Promise<void> {
  const { steps, folder, settings, config, words } = made;
  const planned = await plannedSeconds(steps, folder, { program: ownProgram(), words, signal });
  const plan = planOf(steps, folder, new Estimator(settings.costs, planned).learn(steps, folder));
  const text = await planText(plan, { config, out: folder.path, costsFrom: settings.costs_from, missing });
  events.emit({ event: 'result', text, data: { config, out: folder.path, steps: plan, missing } });
}

async function runAll(made: Prepared, { global, events, signal }: ReproduceContext): Promise<void> {
  const { steps, folder, config, settings, words, prompts } = made;
  const began = performance.now();
  const lock = await folder.claim(config);
  const again = commandLine(process.argv.slice(2));
  try {
    if (prompts.text !== '') await writePrompts(folder.path, prompts);
    const done = steps.filter((step) => folder.look(step).state === 'done').length;
    events.emit({
      event: 'started',
      version: 1,
      command: 'reproduce',
      facts: { config, out: folder.path, steps: steps.length, done },
    });
    const live = global.json || (!global.quiet && onTerminal());
    const engine = { folder, program: ownProgram(), words, events, signal, live, again };
    try {
      await runChain(steps, new Estimator(settings.costs), engine);
    } finally {
      // What is there by then has its page, too.
      await writePages(made, again);
    }
    const page = join(folder.path, 'reproduction.html');
    events.emit({ event: 'result', text: page, data: { page, out: folder.path } });
    events.emit({
      event: 'done',
      seconds: secondsSince(began),
      facts: { steps: steps.length, run: steps.length - done, page },
    });
  } finally {
    await lock.release();
  }
}

async function writePages({ chain, tables, folder, config, settings }: Prepared, command: string): Promise<void> {
  const results = new Results(folder);
  const shown: Shown[] = [];
  for (const { name, title, steps, show } of tables) {
    const made = steps(chain);
    const blocks = await show(chain, results);
    shown.push({ name, title, blocks, commands: results.commands(made), made: results.made(made) });
  }
  const { costs: _, costs_from: __, inputs: ___, ...own } = settings; // those say nothing of the results
  const facts = { config, model: settings.model, command, settings: JSON.stringify(own, null, 2) };
  await writeAtomically(join(folder.path, 'reproduction.md'), pageMarkdown(facts, shown));
  await writeAtomically(join(folder.path, 'reproduction.html'), pageOfChain(facts, shown));
}
