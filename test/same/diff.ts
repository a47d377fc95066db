// A unified diff of two texts, for people; short texts of a few thousand lines are what it is for.

const CONTEXT = 1;

interface Line {
  mark: ' ' | '-' | '+';
  text: string;
}

/** Lines of both, by their longest common subsequence; above `limit` cells what lies between equal ends is told apart whole. */
function aligned(before: readonly string[], after: readonly string[], limit = 4e6): Line[] {
  let from = 0;
  while (from < before.length && from < after.length && before[from] === after[from]) from += 1;
  let [a, b] = [before.length, after.length];
  while (a > from && b > from && before[a - 1] === after[b - 1]) [a, b] = [a - 1, b - 1];
  const same = (lines: readonly string[]): Line[] => lines.map((text) => ({ mark: ' ', text }));
  const middle = changed(before.slice(from, a), after.slice(from, b), limit);
  return [...same(before.slice(0, from)), ...middle, ...same(before.slice(a))];
}

function changed(before: readonly string[], after: readonly string[], limit: number): Line[] {
  const gone = before.map((text): Line => ({ mark: '-', text }));
  const come = after.map((text): Line => ({ mark: '+', text }));
  if (before.length * after.length > limit) return [...gone, ...come];
  const width = after.length + 1;
  const longest = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      longest[i * width + j] =
        before[i] === after[j]
          ? 1 + (longest[(i + 1) * width + j + 1] as number)
          : Math.max(longest[(i + 1) * width + j] as number, longest[i * width + j + 1] as number);
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < before.length && j < after.length) {
    if (before[i] === after[j]) {
      lines.push({ mark: ' ', text: before[i] as string });
      [i, j] = [i + 1, j + 1];
    } else if ((longest[(i + 1) * width + j] as number) >= (longest[i * width + j + 1] as number))
      lines.push(gone[i++] as Line);
    else lines.push(come[j++] as Line);
  }
  return [...lines, ...gone.slice(i), ...come.slice(j)];
}

/** Long lines are cut about the place where the two first differ, so that it is seen. */
const cut = (text: string, width: number): string => (text.length > width ? `${text.slice(0, width - 1)}…` : text);

/** Two lines that stand for each other, from shortly before they differ. */
function cutPair(before: string, after: string, width: number): [string, string] {
  let at = 0;
  while (at < before.length && before[at] === after[at]) at += 1;
  const from = at > width / 2 ? at - Math.floor(width / 4) : 0;
  const part = (text: string) => (from > 0 ? `…${cut(text.slice(from), width - 1)}` : cut(text, width));
  return [part(before), part(after)];
}

/** Every line cut; a block of lines that are gone and as many that have come are cut in pairs. */
function shortened(all: readonly Line[], width: number): string[] {
  const texts = all.map(({ text }) => cut(text, width));
  for (let from = 0; from < all.length; from++) {
    if (all[from]?.mark !== '-') continue;
    let middle = from;
    while (all[middle]?.mark === '-') middle += 1;
    for (let i = from; i < middle && all[middle + i - from]?.mark === '+'; i++) {
      const [before, after] = [all[i], all[middle + i - from]] as [Line, Line];
      [texts[i], texts[middle + i - from]] = cutPair(before.text, after.text, width);
    }
    from = middle - 1;
  }
  return texts;
}

/** Hunks with a line of context, at most so many lines, none longer than `width`. */
export function unifiedDiff(before: string, after: string, { lines: most = 24, width = 160 } = {}): string[] {
  const all = aligned(before.split('\n'), after.split('\n'));
  const texts = shortened(all, width);
  const shown: string[] = [];
  let last = -2;
  let left = 0;
  for (const [i, { mark }] of all.entries()) {
    const near = all.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some((line) => line.mark !== ' ');
    if (!near) continue;
    if (shown.length >= most) {
      if (mark !== ' ') left += 1;
      continue;
    }
    if (i !== last + 1) shown.push(`@@ line ${i + 1} @@`);
    shown.push(`${mark}${texts[i]}`);
    last = i;
  }
  if (left > 0) shown.push(`(${left} more lines differ)`);
  return shown;
}
