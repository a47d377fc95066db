// The base's own images of some captions, drawn in one go.
import type { Picture } from '../../image/write.js';
import { encodeLossless } from '../io/picture.js';
import type { PairPicture } from '../prepared/pair.js';
import type { Painter, Wish } from './painter.js';
import { recipeName } from './prefs_recipes.js';

export interface DrawnPicture extends PairPicture {
  pixels(): Promise<Picture>;
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
