const LEVELS = '▁▂▃▄▅▆▇█';

/** Numbers as so many groups of neighbours, each by its mean; those that are not finite do not count. */
export function resample(values: readonly number[], groups: number): number[] {
  if (values.length <= groups) return [...values];
  return Array.from({ length: groups }, (_, i) => {
    const from = Math.floor((i * values.length) / groups);
    const to = Math.floor(((i + 1) * values.length) / groups);
    const group = values.slice(from, to).filter(Number.isFinite);
    return group.length > 0 ? group.reduce((sum, value) => sum + value, 0) / group.length : Number.NaN;
  });
}

/** One character a value, from the lowest to the highest of them; a gap where a value is not finite. */
export function sparkline(values: readonly number[]): string {
  const finite = values.filter(Number.isFinite);
  const low = Math.min(...finite);
  const range = Math.max(...finite) - low;
  return values
    .map((value) => {
      if (!Number.isFinite(value)) return ' ';
      const level = range > 0 ? Math.round(((value - low) / range) * (LEVELS.length - 1)) : 0;
      return LEVELS[level];
    })
    .join('');
}
