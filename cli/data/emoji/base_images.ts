// Images of captions: the base's own of some captions, drawn in one go, and the real ones.
import { DrmError } from '../../../binding/error.js';
import type { Image } from '../../image/write.js';
import { Drop } from '../io/drop.js';
import { decodeImage, encodeLossless } from '../io/image.js';
import type { PairImage } from '../prepared/pair.js';
import { drawEmoji, type EmojiImage } from './emoji.js';
import type { Painter, Wish } from './painter.js';
import { recipeName } from './prefs_recipes.js';

export interface DrawnImage extends PairImage {
  pixels(): Promise<Image>;
}

/** The caption's real image, drawn when it is wanted. */
export function realImage(emoji: EmojiImage, size: number): DrawnImage {
  const read = () => drawEmoji(emoji, size);
  const pixels = async () => {
    const decoded = await decodeImage(await read());
    if (decoded instanceof Drop) throw new DrmError('INTERNAL', `[data] ${emoji.key}: ${decoded.detail}`);
    return decoded;
  };
  return { id: emoji.key, read, pixels };
}

/** Images of the base, painted together when the first of them is wanted. */
export class BaseImages {
  readonly #wishes = new Map<string, Wish>();
  #painted: Promise<Map<string, Image>> | undefined;

  constructor(
    private readonly paint: Painter,
    private readonly names: readonly string[],
  ) {}

  /** All must be wished for before the first is read. */
  wish(wish: Wish): DrawnImage {
    const id = `${wish.prompt} / ${recipeName(wish, this.names)}, seed ${wish.seed}`;
    this.#wishes.set(id, wish);
    const pixels = async () => (await this.#all()).get(id) as Image;
    return { id, pixels, read: async () => encodeLossless(await pixels()) };
  }

  #all(): Promise<Map<string, Image>> {
    this.#painted ??= this.paint([...this.#wishes.values()]).then(
      (images) => new Map([...this.#wishes.keys()].map((id, i) => [id, images[i] as Image])),
    );
    return this.#painted;
  }
}
