// Markers that end libjpeg's reading, and so Pillow's, even where all of an image's lines were given out: what follows is
// no JPEG any more. The decoder here gives out the lines and does not look further. Its other warnings are harmless to
// Pillow, too: bytes between markers, restarts that are missing, lines that a scan's data was too short for.

const END = 0xd9;
const RESTART_INTERVAL = 0xdd;
const SCAN = 0xda;
/** Start of a frame (Huffman or arithmetic, sequential or progressive), of which there is one. */
const FRAMES = new Set([0xc0, 0xc1, 0xc2, 0xc9, 0xca]);

/** With a length behind them: tables, scans, lines, restart interval, applications' data, comments. */
const isSegment = (marker: number): boolean =>
  FRAMES.has(marker) ||
  marker === 0xc4 ||
  marker === 0xcc ||
  (marker >= 0xda && marker <= 0xdd) ||
  (marker >= 0xe0 && marker <= 0xef) ||
  marker === 0xfe;

/** 0 is a byte 255 of a scan's data; restarts are told of where they are not expected, and passed over. */
const isAlone = (marker: number): boolean => marker <= 1 || (marker >= 0xd0 && marker <= 0xd7);

/** Says which marker is in a place where none can be; undefined when there is none before the end. */
export function strayMarker(jpeg: Uint8Array): string | undefined {
  const bytes = Buffer.from(jpeg.buffer, jpeg.byteOffset, jpeg.length);
  let hasFrame = false;
  let restarts = false;
  let inScan = false;
  for (let at = 2; ; ) {
    at = bytes.indexOf(0xff, at);
    while (at >= 0 && bytes[at + 1] === 0xff) at += 1; // fill
    if (at < 0 || at + 3 >= bytes.length) return undefined; // that data is missing, the decoder says
    const marker = bytes[at + 1] as number;
    if (marker === END) return undefined;
    at += 2;
    // Where restarts are expected, the search for the next one passes over what is no marker of a JPEG at all.
    if (isAlone(marker) || (inScan && restarts && marker < 0xc0)) continue;
    if (!isSegment(marker) || (hasFrame && FRAMES.has(marker)))
      return `byte ${at - 2}: found a marker 0x${marker.toString(16)}, which cannot be there`;
    hasFrame ||= FRAMES.has(marker);
    inScan = marker === SCAN;
    if (marker === RESTART_INTERVAL) restarts = at + 4 <= bytes.length && bytes.readUInt16BE(at + 2) > 0;
    at += Math.max(2, bytes.readUInt16BE(at));
  }
}
