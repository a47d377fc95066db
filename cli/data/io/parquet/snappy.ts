// Snappy's raw format as a stream: https://github.com/google/snappy/blob/main/format_description.txt. An image column may
// be one page of hundreds of megabytes, which is therefore never held whole.

/** How far back a copy may reach. Writers work in blocks of 64 KiB and never reach over one. */
const WINDOW = 1 << 16;
const BLOCK = 1 << 20;

export async function* unsnappy(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let out = new Uint8Array(WINDOW + BLOCK);
  let at = 0; // where the next byte goes
  let given = 0; // what was given out already
  let left = Number.NaN; // bytes that are still to come, once the length is known
  let literal = 0; // bytes of the literal at hand that are still to come
  let pending: Uint8Array = new Uint8Array(0); // the start of an element that the chunk's end cut
  const turn = (): Uint8Array => {
    const full = out.subarray(given, at);
    const next = new Uint8Array(WINDOW + BLOCK);
    next.set(out.subarray(at - WINDOW, at));
    out = next;
    at = given = WINDOW;
    return full;
  };
  for await (const chunk of chunks) {
    const input = pending.length > 0 ? Buffer.concat([pending, chunk]) : chunk;
    pending = new Uint8Array(0);
    let from = 0;
    if (Number.isNaN(left)) {
      let length = 0;
      let shift = 0;
      let isWhole = false;
      while (from < input.length && !isWhole) {
        const byte = input[from++] as number;
        length += (byte & 127) * 2 ** shift;
        shift += 7;
        isWhole = byte < 128;
      }
      if (!isWhole) {
        pending = input;
        continue;
      }
      left = length;
    }
    while (from < input.length) {
      if (at === out.length) yield turn();
      if (literal > 0) {
        const count = Math.min(literal, input.length - from, out.length - at);
        out.set(input.subarray(from, from + count), at);
        from += count;
        at += count;
        literal -= count;
        continue;
      }
      const tag = input[from] as number;
      const kind = tag & 3;
      const wide = tag >> 2;
      const extra = kind === 0 ? Math.max(0, wide - 59) : kind === 3 ? 4 : kind;
      if (from + 1 + extra > input.length) {
        pending = input.subarray(from);
        break;
      }
      let number = 0;
      for (let i = extra; i >= 1; i--) number = number * 256 + (input[from + i] as number);
      from += 1 + extra;
      if (kind === 0) {
        literal = (wide < 60 ? wide : number) + 1;
        left -= literal;
      } else {
        let count = kind === 1 ? (wide & 7) + 4 : wide + 1;
        const offset = kind === 1 ? ((wide >> 3) << 8) + number : number;
        left -= count;
        if (offset === 0 || offset > WINDOW || offset > at)
          throw new Error(`Snappy data copies from ${offset} bytes before, which is not there`);
        while (count > 0) {
          if (at === out.length) yield turn();
          const part = Math.min(count, offset, out.length - at);
          out.copyWithin(at, at - offset, at - offset + part);
          at += part;
          count -= part;
        }
      }
      if (left < 0) throw new Error('Snappy data is longer than it says');
    }
  }
  if (left !== 0 || literal > 0 || pending.length > 0) throw new Error('Snappy data is shorter than it says');
  if (at > given) yield out.subarray(given, at);
}
