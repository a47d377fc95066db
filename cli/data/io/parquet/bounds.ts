// What a damaged or hostile Parquet file says of itself, checked before a decoder believes it: decoders allocate by counts
// and loop over them. All of these take time by the bytes that are there, and throw a plain sentence.

/** Of a row group, whose small columns are read whole. Writers make a million at most, most make far fewer. */
export const MOST_ROWS = 1 << 21;
/** Readers reserve what a run of the writer's blocks may pass its end by. */
const BLOCK = 512;

const MOST_STRUCTS = 1 << 20;
const DEEPEST = 32;

/**
 * Thrift's compact protocol from a place on: every count and length is within the bytes, structs are neither many nor
 * deep. Returns where it ends, or undefined when the bytes end before.
 */
export function checkThrift(bytes: Uint8Array, from = 0): number | undefined {
  let at = from;
  let structs = 0;
  class Cut extends Error {}
  const byte = (): number => {
    if (at >= bytes.length) throw new Cut();
    return bytes[at++] as number;
  };
  const varint = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      if (shift > 63) throw new Error('a number in its header has no end');
      const part = byte();
      value += (part & 127) * 2 ** shift;
      if (part < 128) return value;
    }
  };
  const skip = (length: number) => {
    if (length > bytes.length - at) throw new Cut();
    at += length;
  };
  const element = (type: number, depth: number): void => {
    if (type === 3) skip(1);
    else if (type >= 4 && type <= 6) varint();
    else if (type === 7) skip(8);
    else if (type === 8) skip(varint());
    else if (type === 9) list(depth);
    else if (type === 12) struct(depth);
    else if (type !== 1 && type !== 2) throw new Error(`its header has a field of type ${type}`);
  };
  const list = (depth: number): void => {
    const head = byte();
    const count = head >> 4 === 15 ? varint() : head >> 4;
    if (count > bytes.length - at) throw new Cut(); // an element has a byte at least
    const type = head & 15;
    for (let i = 0; i < count; i++) element(type === 1 || type === 2 ? 3 : type, depth + 1);
  };
  const struct = (depth: number): void => {
    if (++structs > MOST_STRUCTS || depth > DEEPEST) throw new Error('its header is too large or too deep');
    for (let head = byte(); (head & 15) !== 0; head = byte()) {
      if (head >> 4 === 0) varint(); // the field's number
      element(head & 15, depth + 1);
    }
  };
  try {
    struct(0);
    return at;
  } catch (error) {
    if (error instanceof Cut) return undefined;
    throw error;
  }
}

/** The hybrid of runs and packed bits: it does not give more than `count` values, as far as it reaches. */
export function checkRuns(bytes: Uint8Array, width: number, count: number): void {
  if (!(width >= 0 && width <= 32)) throw new Error(`values of ${width} bits`);
  let left = count;
  for (let at = 0; left > 0 && at < bytes.length; ) {
    let head = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift > 28 || at >= bytes.length) throw new Error('a run of values has no length');
      const part = bytes[at++] as number;
      head += (part & 127) * 2 ** shift;
      if (part < 128) break;
    }
    const isPacked = head % 2 === 1;
    const run = Math.floor(head / 2) * (isPacked ? 8 : 1);
    if (run > (isPacked ? left + BLOCK : left)) throw new Error(`a run of ${run} values where ${left} are left`);
    left -= run;
    at += isPacked ? (run / 8) * width : (width + 7) >> 3;
  }
}

/** The header of blocks of differences: their sizes are a writer's. Returns how many values it says there are. */
export function checkDelta(bytes: Uint8Array): number {
  let at = 0;
  const [block = 0, parts = 0, count = 0] = [0, 0, 0].map(() => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const part = bytes[at++];
      if (part === undefined || shift > 28) throw new Error('differences without a header');
      value += (part & 127) * 2 ** shift;
      if (part < 128) return value;
    }
  });
  if (block > 1 << 20 || parts < 1 || parts > 1 << 10) throw new Error('differences in blocks of no possible size');
  return count;
}
