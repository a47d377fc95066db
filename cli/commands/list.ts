import { join } from 'node:path';
import { defineCommand } from '../common/command.js';

const KINDS = ['models', 'rewards', 'scorers', 'configs', 'runs'] as const;
type Kind = (typeof KINDS)[number];

/** What is printed, and what --json prints. */
interface Listing {
  text: string;
  data: object[];
}

export const command = defineCommand({
  name: 'list',
  summary: 'what there is, and where: models, rewards, scorers, configs, runs',
  examples: [
    { command: 'drm list', does: 'all of it, with the runs in runs/' },
    { command: 'drm list scorers', does: 'what --scorer takes, and what `drm pull` would have to fetch' },
    { command: 'drm list runs experiments', does: 'the runs in that folder: what each is, how far it came' },
  ],
  arguments: [
    { name: '[what]', description: 'only these', choices: KINDS },
    { name: '[folder]', description: 'where runs are; runs when it is not given' },
  ],
  async run({ args: [what, folder = 'runs'], events }) {
    const make: Record<Kind, () => Promise<Listing>> = {
      models,
      rewards: () => rewards(false),
      scorers: () => rewards(true),
      configs: async () => (await import('./configs_table.js')).configsTable(),
      runs: () => runs(folder),
    };
    // All that --scorer takes is a reward, too.
    const kinds = what === undefined ? KINDS.filter((kind) => kind !== 'scorers') : [what];
    for (const [i, kind] of kinds.entries()) {
      const { text, data } = await make[kind]();
      events.emit({ event: 'result', text: `${i > 0 ? '\n' : ''}${text}`, data: { kind, [kind]: data } });
    }
  },
});

async function models(): Promise<Listing> {
  const { namedModels } = await import('../hub/resolve.js');
  const { table } = await import('../ui/table.js');
  const data = namedModels();
  const where = ({ id, folder }: (typeof data)[number]) => folder ?? `not here: drm pull ${id}`;
  return {
    text: table(
      ['model', 'where'],
      data.map((model) => [model.name, where(model)]),
      2,
    ),
    data,
  };
}

async function rewards(ofImages: boolean): Promise<Listing> {
  const { knownRewards } = await import('../rewards/registry.js');
  const { table } = await import('../ui/table.js');
  const data = knownRewards().filter(({ sees }) => !ofImages || sees === 'images');
  const rows = data.map(({ name, form, about, sees, here }) => [
    form,
    ...(ofImages ? [] : [sees]),
    here === false ? `drm pull ${name}` : here ? 'here' : 'yours',
    about,
  ]);
  const head = ofImages ? ['scorer', 'where', 'what'] : ['reward', 'sees', 'where', 'what'];
  return { text: table(head, rows, 4), data };
}

/** Runs of runs, as a folder of experiments has them, are found, too. */
async function runs(folder: string): Promise<Listing> {
  const { readRun, runsIn } = await import('../report/read.js');
  const { table } = await import('../ui/table.js');
  const { readdir } = await import('node:fs/promises');
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found = await runsIn(folder);
  for (const entry of entries) if (entry.isDirectory()) found.push(...(await runsIn(join(folder, entry.name))));
  const data = [];
  for (const path of found.sort()) {
    const run = await readRun(path, path).catch(() => undefined); // another program's config.json
    if (!run) continue;
    const { config, at, total, end } = run;
    data.push({
      run: path,
      task: config.task,
      model: String(config.settings.model ?? ''),
      step: at.step,
      total,
      ...end,
    });
  }
  if (data.length === 0) return { text: `${folder}: no runs; drm train, grpo and pretrain make some`, data };
  const rows = data.map(({ run, task, model, step, total, state }) => [
    ...[run, task, model, total > 0 ? `${step}/${total}` : String(step), state],
  ]);
  return { text: table(['run', 'task', 'model', 'step', 'state'], rows, 5), data };
}
