// The tables and figures there are, in the order of the page: a line each.
import { figure2 } from './figure2.js';
import { figure7 } from './figure7.js';
import type { Table } from './table.js';
import { table1 } from './table1.js';
import { table2 } from './table2.js';
import { table3 } from './table3.js';
import { table4 } from './table4.js';

export const TABLES: readonly Table[] = [table1, table2, table3, table4, figure2, figure7];
