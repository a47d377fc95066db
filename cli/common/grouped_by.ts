/** Values whose places have equal keys together, in their order; groups in that of their first. */
export function groupedBy<Value, Key>(values: readonly Value[], keyAt: (at: number) => Key): Value[][] {
  const groups = new Map<Key, Value[]>();
  for (const [at, value] of values.entries()) {
    const key = keyAt(at);
    const known = groups.get(key);
    if (known) known.push(value);
    else groups.set(key, [value]);
  }
  return [...groups.values()];
}
