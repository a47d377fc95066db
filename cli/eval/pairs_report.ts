// What `drm eval pairs` found, as people read it: tables and what their words mean.
import { sigmaText, timestepText } from '../rewards/levels.js';
import { cutStart } from '../text/columns.js';
import { percent, table, wrapped } from '../ui/table.js';
import type { Estimate } from './bootstrap.js';
import type { Facet } from './pair_accuracy.js';
import { mainFigure, type Row, type SetResults } from './pair_rows.js';
import { DEFINITIONS, type Figure } from './protocols.js';
import { VIEWING_PROTOCOLS } from './viewing.js';

/** The end of a path says more than its beginning. */
export const short = cutStart;

export const NAME = 24;
/** Of figures, side by side in 80 columns. */
const ABREAST = 4;

const chunks = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));

const distinct = <T>(all: readonly T[]): T[] => [...new Set(all)];
const rewardsOf = (rows: readonly Row[]): string[] => distinct(rows.map(({ reward }) => reward));

/** A title of two lines: the timestep, and its noise level below. */
const levelHead = (row: Row): [string, string] => [`t = ${timestepText(row)}`, sigmaText(row)];

function overallTable(rows: readonly Row[]): string {
  const timesteps = distinct(rows.map(({ timestep }) => timestep)).sort((a, b) => a - b);
  return chunks(timesteps, ABREAST)
    .map((some) => {
      const heads = some.map((t) => levelHead(rows.find(({ timestep }) => timestep === t) as Row));
      return table(
        ['reward', ...heads.map(([title]) => title)],
        [
          ['', ...heads.map(([, sigma]) => sigma)],
          ...rewardsOf(rows).map((name) => [
            short(name, NAME),
            ...some.map((timestep) => {
              const row = rows.find((one) => one.reward === name && one.timestep === timestep);
              return row ? percent(row.overall.accuracy) : '-';
            }),
          ]),
        ],
      );
    })
    .join('\n\n');
}

/** Each reward at its first level. */
const firstRows = (rows: readonly Row[]): Row[] =>
  rewardsOf(rows).map((name) => rows.find(({ reward }) => reward === name) as Row);

/** One reward: its levels side by side. Several: the rewards, each at its first level. */
function facetTable(facet: Facet, rows: readonly Row[]): string | undefined {
  const alone = rewardsOf(rows).length === 1;
  const columns = alone ? rows : firstRows(rows);
  const parts = Object.keys(columns[0]?.by[facet] ?? {});
  if (parts.length === 0) return undefined;
  return chunks(columns, ABREAST)
    .map((some) => {
      const heads = some.map((row): [string, string] =>
        alone ? levelHead(row) : [short(row.reward, 14), levelHead(row).join(', ')],
      );
      return table(
        [`by ${facet}`, 'pairs', ...heads.map(([title]) => title)],
        [
          ['', '', ...heads.map(([, below]) => below)],
          ...parts.map((part) => {
            const figures = some.map((row) => row.by[facet]?.[part] as Figure);
            return [short(part, NAME), String(figures[0]?.of ?? 0), ...figures.map(({ accuracy: a }) => percent(a))];
          }),
        ],
      );
    })
    .join('\n\n');
}

/** Kinds down, grades across; of each reward at its first level. */
function gradeTables(rows: readonly Row[]): string[] {
  return firstRows(rows).flatMap((row) => {
    const cells = Object.entries(row.by['kind and grade'] ?? {}).map(([name, figure]) => {
      const [, kind = '', grade = ''] = /^(.*), grade (.*)$/s.exec(name) ?? [];
      return { kind, grade, figure };
    });
    if (cells.length === 0) return [];
    const kinds = distinct(cells.map(({ kind }) => kind));
    const grades = distinct(cells.map(({ grade }) => grade)).sort();
    const of = (kind: string, grade: string) => {
      const found = cells.find((cell) => cell.kind === kind && cell.grade === grade);
      return found ? (100 * found.figure.accuracy.mean).toFixed(1) : '-';
    };
    const head = [
      `${short(row.reward, NAME)}, ${levelHead(row).join(', ')}`,
      ...grades.map((grade) => `grade ${grade}`),
    ];
    return [
      table(
        head,
        kinds.map((kind) => [kind, ...grades.map((grade) => of(kind, grade))]),
      ),
    ];
  });
}

const levelCells = (row: Row): string[] => [timestepText(row), sigmaText(row).slice(2)];

function ownTable(rows: readonly Row[]): string | undefined {
  const lines = rows.flatMap((row) =>
    Object.entries(row.own).flatMap(([source, figures]) =>
      figures.map((figure) => [
        short(source, 14),
        figure.protocol,
        short(row.reward, 18),
        ...levelCells(row),
        percent(figure.accuracy),
        ...(figure.threshold === undefined ? [] : [`ties <= ${figure.threshold}`]),
      ]),
    ),
  );
  return lines.length > 0
    ? table(
        [
          'set',
          'protocol',
          'reward',
          't',
          'σ',
          'accuracy %',
          ...(lines.some((l) => l.length > 6) ? ['threshold'] : []),
        ],
        lines,
        3,
      )
    : undefined;
}

function aheadTable(rows: readonly Row[]): string | undefined {
  const first = rows[0]?.reward ?? '';
  const lines = rows.flatMap((row) =>
    row.ahead_of_first
      ? [[short(row.reward, NAME), ...levelCells(row), percent(row.ahead_of_first), signs(row.ahead_of_first)]]
      : [],
  );
  return lines.length > 0
    ? table([`against ${short(first, NAME)}`, 't', 'σ', 'points', '95 % interval'], lines)
    : undefined;
}

const signed = (share: number) => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)}`;
const signs = ({ low, high }: Estimate) => `${signed(low)} to ${signed(high)}`;

/** Everything but the notes, which say the same of every set. */
function setReport({ data, bad_images: bad, rows }: SetResults): string {
  const overall = rows[0]?.overall;
  const left = [
    overall && overall.tied > 0 ? `${overall.tied} ties` : '',
    overall && overall.failed > 0 ? `${overall.failed} pairs with one of ${bad} bad images` : '',
  ].filter((text) => text !== '');
  const words = `strict accuracy in %, ± half the 95 % interval (bootstrap over prompts), of ${overall?.of ?? 0} pairs of ${data}${left.length > 0 ? `; left out: ${left.join(', ')}` : ''}`;
  const tables = [
    overallTable(rows),
    ...(['source', 'kind', 'grade'] as const).map((facet) => facetTable(facet, rows)),
    ...gradeTables(rows),
    ownTable(rows),
    aheadTable(rows),
  ].filter((text) => text !== undefined);
  return [wrapped(words), tables.join('\n\n')].join('\n');
}

/** Each reward and level a line, each set a column, by the set's own protocol. */
function setsTable(sets: readonly (SetResults & { label: string })[]): string {
  const [{ rows } = { rows: [] }] = sets;
  return chunks(sets, 3)
    .map((some) =>
      table(
        ['reward', 't', 'σ', ...some.map(({ label }) => short(label, 14))],
        [
          ['', '', '', ...some.map((set) => (set.rows[0] ? mainFigure(set.rows[0]).protocol : ''))],
          ...rows.map((row, i) => [
            short(row.reward, NAME),
            ...levelCells(row),
            ...some.map((set) => percent(mainFigure(set.rows[i] as Row).accuracy)),
          ]),
        ],
      ),
    )
    .join('\n\n');
}

/** Several sets have a table of all of them before their own. */
export function report(sets: readonly (SetResults & { label: string })[]): string {
  const rows = sets.flatMap((set) => set.rows);
  const protocols = rows.flatMap(({ own }) => Object.values(own).flatMap((all) => all.map((f) => f.protocol)));
  const viewings = distinct(rows.flatMap(({ protocol }) => (protocol ? [protocol] : [])));
  const notes = [
    ...distinct(['strict' as const, ...protocols]).map((name) => `${name}: ${DEFINITIONS[name]}`),
    ...viewings.map((name) => `${name}: ${VIEWING_PROTOCOLS[name]}`),
    ...distinct(rows.map(({ reward, viewing }) => `${short(reward, NAME)}, ${viewing}`)),
  ];
  return [
    ...(viewings.length > 0 ? [wrapped(`scored by the protocol ${viewings.join(', ')}`), ''] : []),
    ...(sets.length > 1
      ? [wrapped('accuracy in %, ± half the 95 % interval, by the protocol of each set'), setsTable(sets), '']
      : []),
    ...sets.flatMap((set) => [setReport(set), '']),
    ...notes.map((line) => wrapped(line)),
  ].join('\n');
}
