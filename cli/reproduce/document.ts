// What tables and figures show, in parts that become Markdown and HTML alike.

/** A figure of the paper that is not known. */
export const UNKNOWN = '—';
/** A step that has not been run. */
export const NOT_RUN = 'not run';

export type Block =
  | { kind: 'text'; text: string }
  | { kind: 'table'; head: readonly string[]; rows: readonly (readonly string[])[] }
  /** Of the HTML page alone: a chart, whose figures a table beside it has. */
  | { kind: 'chart'; html: string };

export const say = (text: string): Block => ({ kind: 'text', text });
export const tabulate = (head: readonly string[], rows: readonly (readonly string[])[]): Block => ({
  ...{ kind: 'table', head, rows },
});
export const draw = (html: string): Block => ({ kind: 'chart', html });

/** One table or figure of the paper, as it came out here. */
export interface Shown {
  name: string;
  title: string;
  blocks: Block[];
  /** Command lines that made it, and when and on what. */
  commands: string[];
  made: string;
}
