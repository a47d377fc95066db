// AVIF files say how the image is to be turned or mirrored, and the decoder does so. Pillow does not.

/** The boxes of ISO 14496-12 on the way to the properties of images, with the bytes before their children. */
const PATH: readonly [name: string, before: number][] = [
  ['meta', 12],
  ['iprp', 8],
  ['ipco', 8],
];

function* boxesIn(file: Buffer, from: number, to: number): Generator<{ name: string; at: number; end: number }> {
  for (let at = from; at + 8 <= to; ) {
    const size = file.readUInt32BE(at);
    const end = size === 0 ? to : at + size;
    if (size === 1 || (size !== 0 && size < 8) || end > to) return; // of 64 bits: pixels, which come last
    yield { name: file.toString('latin1', at + 4, at + 8), at, end };
    at = end;
  }
}

/** The file with its images as they are stored: neither turned (`irot`) nor mirrored (`imir`). */
export function uprightAvif(bytes: Uint8Array): Uint8Array {
  const file = Buffer.from(bytes);
  let place = { at: 0, end: file.length, before: 0 };
  for (const [name, before] of PATH) {
    const box = [...boxesIn(file, place.at + place.before, place.end)].find((found) => found.name === name);
    if (!box) return bytes;
    place = { ...box, before };
  }
  let isTurned = false;
  for (const { name, at } of boxesIn(file, place.at + place.before, place.end)) {
    if (name !== 'irot' && name !== 'imir') continue;
    isTurned = true;
    // A rotation by nothing stands for both: it is as long, and every decoder knows it.
    file.write('irot', at + 4, 'latin1');
    file[at + 8] = 0;
  }
  return isTurned ? file : bytes;
}
