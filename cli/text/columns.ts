// Columns that text takes in a terminal: emoji and CJK letters take two, combining marks none. What is aligned, cut or wrapped
// for a terminal counts these and never `length`.
import stringWidth from 'string-width';

const segmenter = new Intl.Segmenter();
const lettersOf = (text: string): string[] => Array.from(segmenter.segment(text), ({ segment }) => segment);

export const widthOf = (text: string): number => stringWidth(text);

const blanks = (text: string, width: number): string => ' '.repeat(Math.max(0, width - widthOf(text)));

export const padEnd = (text: string, width: number): string => text + blanks(text, width);

export const padStart = (text: string, width: number): string => blanks(text, width) + text;

/** As many of the letters, in their order, as fit into `width` columns. */
function fitting(letters: readonly string[], width: number): string[] {
  let used = 0;
  const end = letters.findIndex((letter) => {
    used += widthOf(letter);
    return used > width;
  });
  return letters.slice(0, end < 0 ? undefined : end);
}

/** The beginning, at most `width` columns of it. */
export const firstColumns = (text: string, width: number): string => fitting(lettersOf(text), width).join('');

/** "A photo of a…": a text whose beginning tells it from others. */
export const cutEnd = (text: string, width: number): string =>
  widthOf(text) <= width ? text : `${firstColumns(text, width - 1)}…`;

/** "…of-00002.safetensors": a name whose end tells it from others. */
export const cutStart = (text: string, width: number): string =>
  widthOf(text) <= width
    ? text
    : `…${fitting(lettersOf(text).reverse(), width - 1)
        .reverse()
        .join('')}`;
