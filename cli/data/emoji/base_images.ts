// Images of captions: the base's own of some captions, drawn in one go, and the real ones.
import { DrmError } from '../../../binding/error.js';
import type { Picture } from '../../image/write.js';
import { Drop } from '../io/drop.js';
import { decodePicture, encodeLossless } from '../io/picture.js';
import type { PairPicture } from '../prepared/pair.js';
import { drawEmoji, type EmojiPicture } from './emoji.js';
import type { Painter, Wish } from './painter.js';
import { recipeName } from './prefs_recipes.js';

export interface DrawnPicture extends PairPicture {
  pixels(): Promise<Picture>;
}

/** The caption's real image, drawn when it is wanted. */
export function realPicture(emoji: EmojiPicture, size: number): DrawnPicture {
  const read = () => drawEmoji(emoji, size);
  const pixels = async () => {
    const decoded = await decodePicture(await read());
    if (decoded instanceof Drop) throw new DrmError('INTERNAL', `[data] ${emoji.key}: ${decoded.detail}`);
    return decoded;
  };
  return { id: emoji.key, read, pixels };
}

/** Images of the base, painted together when the first of them is wanted. */
export class BaseImages {
  readonly #wishes = new Map<string, Wish>();
  #painted: Promise<Map<string, Picture>> | undefined;

  constructor(
    private readonly paint: Painter,
    private readonly names: readonly string[],
  ) {}

  /** All must be wished for before the first is read. */
  wish(wish: Wish): DrawnPicture {
    const id = `${wish.prompt} / ${recipeName(wish, this.names)}, seed ${wish.seed}`;
    this.#wishes.set(id, wish);
    const pixels = async () => (await this.#all()).get(id) as Picture;
    return { id, pixels, read: async () => encodeLossless(await pixels()) };
  }

  #all(): Promise<Map<string, Picture>> {
    this.#painted ??= this.paint([...this.#wishes.values()]).then(
      (pictures) => new Map([...this.#wishes.keys()].map((id, i) => [id, pictures[i] as Picture])),
    );
    return this.#painted;
  }
}
