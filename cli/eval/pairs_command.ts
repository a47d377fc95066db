// `drm eval pairs`: how often rewards prefer the picture that people preferred.
import { basename, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { setThreads } from '../../binding/index.js';
import type { Context } from '../command.js';
import { epochOrder } from '../data/order.js';
import { PairSet } from '../data/pair_set.js';
import { prepareFolder, writeAtomically } from '../files.js';
import { commandLine, wholeOption } from '../options.js';
import { loadRewards } from '../rewards/load.js';
import type { Reward, Viewing } from '../rewards/reward.js';
import { VERSION } from '../version.js';
import { accuracyPlot } from './accuracy_plot.js';
import type { Estimate } from './bootstrap.js';
import { accuracy, type Column, difference, FACETS, type Facet, ownFigures, split } from './pair_accuracy.js';
import { PairScores } from './pair_scores.js';
import { DEFINITIONS, type Figure } from './protocols.js';
import { askedProtocols, evaluateScores } from './scores_command.js';
import { percent, table, wrapped } from './table.js';

/** What is said of one reward at one timestep. */
interface Row {
  reward: string;
  timestep: number;
  /** How its scores came about. */
  viewing: string;
  overall: Figure;
  /** More often right than the first reward at this timestep, on the same pairs; a share. */
  ahead_of_first?: Estimate;
  by: Partial<Record<Facet, Record<string, Figure>>>;
  /** By source, by the source's own protocol. */
  own: Record<string, Figure[]>;
}

interface Results {
  drm: string;
  data: string;
  pairs: number;
  pictures: number;
  bad_pictures: number;
  rows: Row[];
}

/** "0,250,500" */
export function timestepsOption(text: unknown): number[] {
  const timesteps = String(text ?? '0')
    .split(',')
    .map(Number);
  if (timesteps.some((timestep) => !(timestep >= 0 && timestep <= 1000)) || String(text).trim() === '')
    throw new DrmError('USAGE', `--timesteps ${text}: expected numbers from 0 to 1000, such as 0,250,500,750`);
  return [...new Set(timesteps)].sort((a, b) => a - b);
}

/** The end of a path says more than its beginning. */
const short = (name: string, longest: number): string =>
  name.length <= longest ? name : `…${name.slice(name.length - longest + 1)}`;

const NAME = 24;
/** Of figures, side by side in 80 columns. */
const ABREAST = 4;

const chunks = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));

function overallTable(rows: readonly Row[]): string {
  const timesteps = [...new Set(rows.map(({ timestep }) => timestep))].sort((a, b) => a - b);
  const rewards = [...new Set(rows.map(({ reward }) => reward))];
  return chunks(timesteps, ABREAST)
    .map((some) =>
      table(
        ['reward', ...some.map((timestep) => `t = ${timestep}`)],
        rewards.map((name) => [
          short(name, NAME),
          ...some.map((timestep) => {
            const row = rows.find((one) => one.reward === name && one.timestep === timestep);
            return row ? percent(row.overall.accuracy) : '-';
          }),
        ]),
      ),
    )
    .join('\n\n');
}

/** One reward: its timesteps side by side. Several: the rewards, each at its first timestep. */
function facetTable(facet: Facet, rows: readonly Row[]): string | undefined {
  const rewards = [...new Set(rows.map(({ reward }) => reward))];
  const first = rewards.map((name) => rows.find(({ reward }) => reward === name) as Row);
  const columns = rewards.length === 1 ? rows : first;
  const parts = Object.keys(columns[0]?.by[facet] ?? {});
  if (parts.length === 0) return undefined;
  const title = (row: Row) => (rewards.length === 1 ? `t = ${row.timestep}` : short(row.reward, 14));
  return chunks(columns, ABREAST)
    .map((some) =>
      table(
        [`by ${facet}`, 'pairs', ...some.map(title)],
        parts.map((part) => {
          const figures = some.map((row) => row.by[facet]?.[part] as Figure);
          return [short(part, NAME), String(figures[0]?.of ?? 0), ...figures.map(({ accuracy: a }) => percent(a))];
        }),
      ),
    )
    .join('\n\n');
}

/** Kinds down, grades across; of each reward at its first timestep. */
function gradeTables(rows: readonly Row[]): string[] {
  const first = [...new Set(rows.map(({ reward }) => reward))].map((name) =>
    rows.find(({ reward }) => reward === name),
  );
  return first.flatMap((row) => {
    const cells = Object.entries(row?.by['kind and grade'] ?? {}).map(([name, figure]) => {
      const [, kind = '', grade = ''] = /^(.*), grade (.*)$/s.exec(name) ?? [];
      return { kind, grade, figure };
    });
    if (!row || cells.length === 0) return [];
    const kinds = [...new Set(cells.map(({ kind }) => kind))];
    const grades = [...new Set(cells.map(({ grade }) => grade))].sort();
    const of = (kind: string, grade: string) => {
      const found = cells.find((cell) => cell.kind === kind && cell.grade === grade);
      return found ? (100 * found.figure.accuracy.mean).toFixed(1) : '-';
    };
    const head = [`${short(row.reward, NAME)}, t = ${row.timestep}`, ...grades.map((grade) => `grade ${grade}`)];
    return [
      table(
        head,
        kinds.map((kind) => [kind, ...grades.map((grade) => of(kind, grade))]),
      ),
    ];
  });
}

function ownTable(rows: readonly Row[]): string | undefined {
  const lines = rows.flatMap((row) =>
    Object.entries(row.own).flatMap(([source, figures]) =>
      figures.map((figure) => [
        source,
        figure.protocol,
        short(row.reward, NAME),
        String(row.timestep),
        percent(figure.accuracy),
      ]),
    ),
  );
  return lines.length > 0 ? table(['set', 'protocol', 'reward', 't', 'accuracy %'], lines, 3) : undefined;
}

function aheadTable(rows: readonly Row[]): string | undefined {
  const first = rows[0]?.reward ?? '';
  const lines = rows.flatMap(({ reward, timestep, ahead_of_first: ahead }) =>
    ahead ? [[short(reward, NAME), String(timestep), percent(ahead), signs(ahead)]] : [],
  );
  return lines.length > 0 ? table([`against ${short(first, NAME)}`, 't', 'points', '95 % interval'], lines) : undefined;
}

const signed = (share: number) => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)}`;
const signs = ({ low, high }: Estimate) => `${signed(low)} to ${signed(high)}`;

function report({ data, bad_pictures: bad, rows }: Results): string {
  const overall = rows[0]?.overall;
  const left = [
    overall && overall.tied > 0 ? `${overall.tied} ties` : '',
    overall && overall.failed > 0 ? `${overall.failed} pairs with one of ${bad} bad pictures` : '',
  ].filter((text) => text !== '');
  const words = [
    `accuracy in %, ± half the 95 % interval (bootstrap over prompts), of ${overall?.of ?? 0} pairs of ${data}${left.length > 0 ? `; left out: ${left.join(', ')}` : ''}`,
  ];
  const protocols = new Set(rows.flatMap(({ own }) => Object.values(own).flatMap((all) => all.map((f) => f.protocol))));
  const notes = [
    `strict: ${DEFINITIONS.strict}`,
    ...[...protocols].map((name) => `${name}: ${DEFINITIONS[name]}`),
    ...new Set(rows.map(({ reward, viewing }) => `${short(reward, NAME)}, ${viewing}`)),
  ];
  const tables = [
    overallTable(rows),
    ...(['source', 'kind', 'grade'] as const).map((facet) => facetTable(facet, rows)),
    ...gradeTables(rows),
    ownTable(rows),
    aheadTable(rows),
  ].filter((text) => text !== undefined);
  return [...words.map((line) => wrapped(line)), tables.join('\n\n'), '', ...notes.map((line) => wrapped(line))].join(
    '\n',
  );
}

function rowsOf(scores: PairScores, columns: readonly (Column & { viewing: string })[], context: Context): Row[] {
  const asked = askedProtocols(context.options);
  const sources = split(scores.pairs, 'source') ?? new Map([[scores.pairs[0]?.source ?? '', scores.pairs]]);
  const facets = (Object.keys(FACETS) as Facet[]).map((facet) => ({ facet, parts: split(scores.pairs, facet) }));
  const [first] = columns;
  return columns.map((column): Row => {
    const base = columns.find(({ reward, timestep }) => reward === first?.reward && timestep === column.timestep);
    const by: Row['by'] = {};
    for (const { facet, parts } of facets)
      if (parts) by[facet] = Object.fromEntries([...parts].map(([part, pairs]) => [part, accuracy(pairs, column)]));
    const own = [...sources].map(([source, pairs]) => [source, ownFigures(source, pairs, column, asked)] as const);
    return {
      reward: column.reward,
      timestep: column.timestep,
      viewing: column.viewing,
      overall: accuracy(scores.pairs, column),
      ...(base && base.reward !== column.reward && { ahead_of_first: difference(scores.pairs, column, base) }),
      by,
      own: Object.fromEntries(own.filter(([, figures]) => figures.length > 0)),
    };
  });
}

export async function evaluatePairs(context: Context): Promise<void> {
  const { options, global, events, signal } = context;
  if (options.scores !== undefined) return evaluateScores(context);
  const started = performance.now();
  const folder = options.data as string | undefined;
  const names = (options.reward as string[] | undefined) ?? [];
  if (folder === undefined)
    throw new DrmError(
      'USAGE',
      'eval pairs: expected preference pairs; give --data DIR (see `drm data prepare`), or --scores FILE',
    );
  if (names.length === 0) throw new DrmError('USAGE', 'eval pairs: expected a reward; give --reward tiny');
  askedProtocols(options);
  const timesteps = timestepsOption(options.timesteps);
  const draws = wholeOption(options, 'draws', 1) ?? 1;
  const seed = wholeOption(options, 'seed', 0) ?? 0;
  const most = wholeOption(options, 'maxPairs', 1);
  const viewing: Viewing = { timesteps, draws, seed, posteriorSample: options.posteriorSample === true };
  const out = global.out ?? 'out/eval-pairs';
  await prepareFolder(out);
  if (global.threads !== undefined) setThreads(global.threads);
  const splits = options.split as string[] | undefined;
  const set = await PairSet.open(folder, splits === undefined ? {} : { split: splits });
  let rewards: Reward[] = [];
  try {
    rewards = await loadRewards(names, {
      device: global.device,
      dtype: global.dtype,
      model: options.model as string | undefined,
      signal,
      onWarning: once((message) => events.emit({ event: 'warning', message })),
      onProgress: (p) => events.emit({ event: 'progress', id: 'load', label: 'loading', unit: 'B', ...p }),
    });
    const which =
      most !== undefined && most < set.length
        ? epochOrder(seed, 0, set.length).slice(0, most).sort()
        : Array.from({ length: set.length }, (_, i) => i);
    events.emit({
      event: 'started',
      version: 1,
      command: 'eval pairs',
      facts: {
        data: folder,
        pairs: which.length,
        rewards: rewards.map(({ name }) => name).join(', '),
        timesteps: timesteps.join(', '),
        draws,
      },
    });
    const scores = await PairScores.open(set, which, signal);
    const columns = await scoreAll(scores, rewards, viewing, out, context);
    const rows = rowsOf(scores, columns, context);
    const results: Results = {
      drm: VERSION,
      data: folder,
      pairs: which.length,
      pictures: scores.count,
      bad_pictures: scores.bad.size,
      rows,
    };
    await writeAtomically(join(out, 'accuracy.json'), `${JSON.stringify(results, null, 2)}\n`);
    events.emit({ event: 'result', text: report(results), data: results });
    if (timesteps.length > 1) {
      const path = join(out, 'accuracy.svg');
      const lines = rewards.map(({ name }) => ({
        name,
        points: rows.flatMap(({ reward, timestep, overall }) =>
          reward === name ? [{ timestep, accuracy: overall.accuracy }] : [],
        ),
      }));
      await writeAtomically(
        path,
        accuracyPlot(lines, `Pairwise accuracy on ${basename(folder)}, ${which.length} pairs`),
      );
      events.emit({ event: 'image', path, width: 0, height: 0 });
    }
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { pairs: which.length, bad_pictures: scores.bad.size, results: join(out, 'accuracy.json') },
    });
  } finally {
    for (const reward of rewards) reward.dispose();
    await set.close();
  }
}

/** A message for each chunk of a million pictures would say nothing more. */
function once(emit: (message: string) => void): (message: string) => void {
  const said = new Set<string>();
  return (message) => {
    const kind = message.replace(/\d+/g, '#');
    if (!said.has(kind)) emit(message);
    said.add(kind);
  };
}

const NAMED_BAD = 5;

async function scoreAll(
  scores: PairScores,
  rewards: readonly Reward[],
  viewing: Viewing,
  out: string,
  { events, signal }: Context,
): Promise<(Column & { viewing: string })[]> {
  const columns: (Column & { viewing: string })[] = [];
  for (const reward of rewards) {
    const timesteps = reward.noisy ? viewing.timesteps : viewing.timesteps.filter((timestep) => timestep === 0);
    if (timesteps.length < viewing.timesteps.length)
      events.emit({ event: 'warning', message: `${reward.name} scores clean pictures only: timestep 0` });
    if (timesteps.length === 0) continue;
    const possible = { ...viewing, timesteps };
    const began = performance.now();
    let named = 0;
    const tables = await scores
      .score(reward, possible, out, {
        signal,
        onScores: (step, total) =>
          events.emit({
            event: 'progress',
            id: `score ${reward.name}`,
            label: `scoring by ${short(reward.name, NAME)}`,
            step,
            total,
            unit: 'score',
            seconds: (performance.now() - began) / 1000,
          }),
        onBad: (message) => {
          if (named++ < NAMED_BAD) events.emit({ event: 'warning', message });
        },
      })
      .catch((error: unknown) => {
        if (!(error instanceof DrmError) || error.code !== 'CANCELLED') throw error;
        throw new DrmError('CANCELLED', `stopped: ${error.message}; go on with: ${commandLine(process.argv.slice(2))}`);
      });
    const definitions = reward.definitions(possible);
    for (const [i, timestep] of timesteps.entries())
      columns.push({
        reward: reward.name,
        timestep,
        viewing: definitions[i] as string,
        scores: tables[i] as Float64Array,
      });
  }
  if (columns.length === 0)
    throw new DrmError('USAGE', `--timesteps: none of the rewards scores noisy latents; let 0 be among them`);
  return columns;
}
