// How a case's comparisons are judged and printed.

export interface Comparison {
  tensor: string;
  /** Largest absolute difference, or its root mean square; null when it is no number (NaN), absent when not computed. */
  error?: number | null;
  /** Tolerance; 0 asks for equality. */
  atol?: number;
  note?: string;
}

const ratio = (c: Comparison): number => {
  if (c.error === undefined || c.error === null || Number.isNaN(c.error)) return Number.POSITIVE_INFINITY;
  if (c.error === 0) return 0;
  return c.atol ? c.error / c.atol : Number.POSITIVE_INFINITY;
};

/** Prints one line for the case, and one for each of its first failures. True when all are within tolerance. */
export function report(name: string, comparisons: Comparison[]): boolean {
  let worst: Comparison | undefined;
  for (const c of comparisons) if (!worst || ratio(c) > ratio(worst)) worst = c;
  const bad = comparisons.filter((c) => !(ratio(c) <= 1));
  const ok = comparisons.length > 0 && bad.length === 0;
  const figure = worst ? `worst error/tolerance ${ratio(worst).toFixed(3)} (${worst.tensor})` : 'nothing was compared';
  console.log(
    `  ${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(20)} ${String(comparisons.length).padStart(4)} comparisons, ${figure}`,
  );
  for (const c of bad.slice(0, 8))
    console.log(
      `          ${c.tensor}: error ${c.error ?? 'none'}, tolerance ${c.atol ?? '-'}${c.note ? `; ${c.note}` : ''}`,
    );
  if (bad.length > 8) console.log(`          and ${bad.length - 8} more`);
  return ok;
}
