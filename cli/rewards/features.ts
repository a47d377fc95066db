// Arithmetic on unit vectors that one reward gave to images and captions.
import type { Features } from '../../binding/types.js';

/** Row i of `a` times row j of `b`. */
export function cosine(a: Features, i: number, b: Features, j: number): number {
  let sum = 0;
  const x = i * a.width;
  const y = j * b.width;
  for (let k = 0; k < a.width; k++) sum += (a.values[x + k] as number) * (b.values[y + k] as number);
  return sum;
}

export function joined(parts: readonly Features[], width: number): Features {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const values = new Float32Array(rows * width);
  let at = 0;
  for (const part of parts) {
    values.set(part.values, at);
    at += part.values.length;
  }
  return { values, rows, width };
}

export const rowsOf = (features: Features, rows: readonly number[]): Features => ({
  values: joined(
    rows.map((row) => ({
      values: features.values.subarray(row * features.width, (row + 1) * features.width),
      rows: 1,
      width: features.width,
    })),
    features.width,
  ).values,
  rows: rows.length,
  width: features.width,
});

/**
 * For each query the rank, from 1, of its target among all targets. A target that is exactly as near as the right one
 * counts as nearer: a reward that cannot tell them apart has not found it.
 */
export function ranks(queries: Features, targets: Features, rightOf: (query: number) => number): number[] {
  return Array.from({ length: queries.rows }, (_, query) => {
    const right = rightOf(query);
    const nearness = cosine(queries, query, targets, right);
    let rank = 1;
    for (let target = 0; target < targets.rows; target++)
      if (target !== right && cosine(queries, query, targets, target) >= nearness) rank += 1;
    return rank;
  });
}
