// The `precompiled_charsmap` of a tokenizer: a double-array trie from spellings to places in a list of replacements. The
// library follows its offsets without looking, so that a damaged one shows only at the texts that meet the damage.

/** What the unit of a node says: a label of one byte, whether a value hangs below, and where its children are. */
const labelOf = (unit: number) => unit & 0x800000ff;
const hasValue = (unit: number) => (unit >>> 8) & 1;
const offsetOf = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);

/** Why a charsmap is none, or undefined. */
export function charsmapFlaw(base64: unknown): string | undefined {
  if (typeof base64 !== 'string') return 'no text';
  const bytes = Buffer.from(base64, 'base64');
  const size = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length) return 'a trie that is cut off';
  const units = new Uint32Array(Uint8Array.from(bytes.subarray(4, 4 + size)).buffer); // little-endian, as all our machines
  const replacements = bytes.subarray(4 + size);
  // Each ends with a zero byte. sentencepiece writes none that no spelling has: where one is left over, the trie is damaged.
  const UNUSED = 1;
  const USED = 2;
  const starts = new Uint8Array(replacements.length);
  let unused = 0;
  for (let at = 0; at < replacements.length; at++)
    if (at === 0 || replacements[at - 1] === 0) {
      starts[at] = UNUSED;
      unused += 1;
    }
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(replacements);
  } catch {
    return 'replacements that are no UTF-8';
  }
  // Children by where their parent's lie together, as lists in two arrays: looking each byte up would take a tenth of a second.
  const first = new Int32Array(units.length).fill(-1);
  const next = new Int32Array(units.length);
  for (let at = 0; at < units.length; at++) {
    const label = labelOf(units[at] as number);
    const child = at ^ label;
    if (label < 1 || child >= units.length) continue; // negative: a value
    next[at] = first[child] as number;
    first[child] = at;
  }
  const open = [offsetOf(units[0] as number)];
  for (let children = open.pop(); children !== undefined; children = open.pop()) {
    // A text may ask for any byte there.
    if (children < 0 || (children | 0xff) >= units.length) return 'a trie that leads out of itself';
    let at = first[children] as number;
    first[children] = -1; // seen
    for (; at >= 0; at = next[at] as number) {
      const unit = units[at] as number;
      const below = at ^ offsetOf(unit);
      if (hasValue(unit)) {
        const value = (units[below] ?? 0xffffffff) & 0x7fffffff;
        if (!starts[value]) return 'a value that is no replacement';
        if (starts[value] === UNUSED) unused -= 1;
        starts[value] = USED;
      }
      open.push(below);
    }
  }
  return unused > 0 ? `${unused} replacements that nothing leads to` : undefined;
}

/** Throws a plain sentence when a normalizer of a tokenizer.json has a charsmap that is none. */
export function expectCharsmaps(normalizer: unknown): void {
  const open = [normalizer];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    const { type, precompiled_charsmap: charsmap, normalizers } = value as Record<string, unknown>;
    if (Array.isArray(normalizers)) for (const inner of normalizers) open.push(inner);
    const flaw = type === 'Precompiled' ? charsmapFlaw(charsmap) : undefined;
    if (flaw !== undefined) throw new Error(`expected a precompiled_charsmap, found ${flaw}`);
  }
}
