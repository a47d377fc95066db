// The first frame of a GIF as Pillow's palette mode has it: transparency is an index whose colour counts like any other,
// and what the frame does not cover has that colour, or the first one. Decoders make both black.

export interface FirstFrame {
  /** The GIF without transparency, and with a palette of greys when it had none. */
  bytes: Buffer;
  left: number;
  top: number;
  width: number;
  height: number;
  /** Red, green and blue of what the frame does not cover. */
  around: readonly [number, number, number];
}

const GREYS = Buffer.from(Array.from({ length: 768 }, (_, i) => Math.floor(i / 3)));

/** Undefined when the blocks do not lead to a frame: the decoder will say why. */
export function firstFrameOf(gif: Uint8Array): FirstFrame | undefined {
  let bytes = Buffer.from(gif);
  let at = 13;
  if (bytes.length < at) return undefined;
  const paletteAt = (flags: number, from: number) => ({ from, length: flags & 0x80 ? 3 << ((flags & 7) + 1) : 0 });
  let palette = paletteAt(bytes[10] as number, at);
  at += palette.length;
  let transparent: number | undefined;
  while (at < bytes.length) {
    const block = bytes[at];
    if (block === 0x21) {
      const isControl = bytes[at + 1] === 0xf9 && bytes[at + 2] === 4;
      if (isControl && (bytes[at + 3] as number) & 1) {
        transparent = bytes[at + 6];
        bytes[at + 3] = (bytes[at + 3] as number) & 0xfe;
      }
      for (at += 2; (bytes[at] ?? 0) > 0; ) at += 1 + (bytes[at] as number);
      at += 1;
    } else if (block === 0x2c && at + 10 <= bytes.length) {
      const [left, top, width, height] = [1, 3, 5, 7].map((field) => bytes.readUInt16LE(at + field)) as [
        number,
        number,
        number,
        number,
      ];
      const local = paletteAt(bytes[at + 9] as number, at + 10);
      if (local.length > 0) palette = local;
      if (palette.length === 0) {
        bytes[10] = 0xf7;
        bytes = Buffer.concat([bytes.subarray(0, 13), GREYS, bytes.subarray(13)]);
        palette = { from: 13, length: GREYS.length };
      }
      const index = 3 * (transparent ?? 0);
      const colour = index + 3 <= palette.length ? bytes.subarray(palette.from + index, palette.from + index + 3) : [];
      const [red = 0, green = 0, blue = 0] = colour;
      return { bytes, left, top, width, height, around: [red, green, blue] };
    } else if (block === 0) at += 1;
    else return undefined;
  }
  return undefined;
}

/** Gives the colour to what the frame does not cover, in place. */
export function fillAround({ left, top, width, height, around }: FirstFrame, pixels: Uint8Array, wide: number): void {
  if (left === 0 && top === 0 && width >= wide && 3 * wide * height >= pixels.length) return;
  for (let i = 0, at = 0; at < pixels.length; i++, at += 3) {
    const x = (i % wide) - left;
    const y = Math.floor(i / wide) - top;
    if (x < 0 || x >= width || y < 0 || y >= height) pixels.set(around, at);
  }
}
