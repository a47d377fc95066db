// The latents of every image that a reward model's training reads, encoded before its first step.
import type { Trainer } from '../../../binding/index.js';
import { progressOf } from '../../common/events.js';
import { squaresOf } from '../../data/load/pair_loader.js';
import type { TaskContext } from '../run.js';
import { type PairPart, recordsOf } from './pairs.js';

/** Images encoded at once. */
const atOnce = (size: number) => Math.max(1, Math.min(32, Math.floor(2 ** 22 / size ** 2)));

/** Encodes every image of these parts; returns the bad ones of each set. */
export async function cacheLatents(
  trainer: Trainer,
  parts: PairPart[],
  size: number,
  warn: (message: string) => void,
  { events, signal }: TaskContext,
): Promise<Map<PairPart['set'], Set<number>>> {
  const tell = progressOf(events, { id: 'latents', label: 'encoding images', unit: 'image' });
  const wanted = new Map<PairPart['set'], { firstImage: number; images: Set<number> }>();
  for (const part of parts) {
    const { firstImage, images } = wanted.get(part.set) ?? { firstImage: part.firstImage, images: new Set() };
    for await (const { chosen, rejected } of recordsOf(part)) images.add(chosen).add(rejected);
    wanted.set(part.set, { firstImage, images });
  }
  const total = [...wanted.values()].reduce((sum, { images }) => sum + images.size, 0);
  const bad = new Map<PairPart['set'], Set<number>>();
  let done = 0;
  for (const [set, { firstImage, images }] of wanted) {
    const squares = squaresOf(set, { size, keepBytes: 0, onWarning: warn });
    const badHere = new Set<number>();
    bad.set(set, badHere);
    const list = [...images].sort((a, b) => a - b);
    const length = atOnce(size);
    const decode = (from: number) =>
      Promise.all(list.slice(from, from + length).map(async (image) => ({ image, pixels: await squares.get(image) })));
    let ahead = decode(0);
    for (let from = 0; from < list.length; from += length) {
      const decoded = await ahead;
      ahead = decode(from + length); // while these are encoded
      ahead.catch(() => {}); // heard of at the next turn
      const good = decoded.filter(({ pixels }) => pixels !== undefined);
      for (const { image, pixels } of decoded) if (pixels === undefined) badHere.add(image);
      if (good.length > 0) {
        const pixels = new Uint8Array(good.length * size ** 2 * 3);
        for (const [row, square] of good.entries()) pixels.set(square.pixels as Uint8Array, row * size ** 2 * 3);
        const numbers = good.map(({ image }) => image + firstImage);
        await trainer.cacheLatents({ samples: [], images: numbers, pixels, height: size, width: size }, { signal });
      }
      done += decoded.length;
      tell(done, total);
    }
    squares.close();
  }
  return bad;
}
