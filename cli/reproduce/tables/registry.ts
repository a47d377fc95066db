// The tables and figures there are, in the order of the page: a line each. Help and completion load none of them.
import type { Table } from './table.js';

interface Entry {
  /** As it is asked for. */
  name: string;
  load(): Promise<Table>;
}

export const TABLES: readonly Entry[] = [
  { name: 'table1', load: async () => (await import('./table1.js')).table1 },
  { name: 'table2', load: async () => (await import('./table2.js')).table2 },
  { name: 'table3', load: async () => (await import('./table3.js')).table3 },
  { name: 'table4', load: async () => (await import('./table4.js')).table4 },
  { name: 'figure2', load: async () => (await import('./figure2.js')).figure2 },
  { name: 'figure7', load: async () => (await import('./figure7.js')).figure7 },
];

export const ALL = 'all';

export interface NamedTable extends Table {
  name: string;
}

/** Those of these names, each once; ALL is every one. */
export const tablesNamed = (names: readonly string[]): Promise<NamedTable[]> =>
  Promise.all(
    TABLES.filter(({ name }) => names.includes(ALL) || names.includes(name)).map(async ({ name, load }) => ({
      name,
      ...(await load()),
    })),
  );
