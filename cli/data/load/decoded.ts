// Images of a set as the training sees them: decoded once where all of them fit into memory, bad ones told of and left out.
import { Semaphore } from './prefetcher.js';

/** Decoded originals are large: so many images are at work at once, whatever the batch. Also keeps libuv's threads busy. */
const AT_ONCE = 8;

/** What is wrong with an image. */
export interface Fault {
  /** What it is said of, once. */
  about: string;
  message: string;
  /** The file that holds it cannot be read, which may be over in a moment; its bytes were never seen. */
  shardFault?: boolean;
}

export interface DecodedOptions {
  /** Images of the set. */
  count: number;
  /** Bytes of each when decoded. */
  bytes: number;
  decode: (image: number) => Promise<Uint8Array | Fault>;
  /** A set whose decoded images fit into so many bytes is decoded once and kept. */
  keepBytes?: number;
  /** Told once for each bad image. */
  onWarning?: (message: string) => void;
}

export class DecodedImages {
  readonly #gate = new Semaphore(AT_ONCE);
  readonly #options: DecodedOptions;
  readonly #bad = new Map<number, Fault>();
  readonly #told = new Set<string>();
  /** All decoded images of a small set; undefined for a large one. */
  #kept: Uint8Array | undefined;
  #isKept: Uint8Array = new Uint8Array(0);
  #closed = false;

  constructor(options: DecodedOptions) {
    this.#options = options;
    const bytes = options.count * options.bytes;
    if (bytes <= (options.keepBytes ?? 1 << 30)) {
      this.#kept = new Uint8Array(bytes); // the system gives pages as they are written
      this.#isKept = new Uint8Array(options.count);
    }
  }

  /** Images found bad so far. */
  get badCount(): number {
    return this.#bad.size;
  }

  faultOf(image: number): Fault | undefined {
    return this.#bad.get(image);
  }

  /** The image's pixels, not to be written to; undefined when it is bad. */
  async get(image: number): Promise<Uint8Array | undefined> {
    const { bytes, decode, onWarning } = this.#options;
    const kept = this.#kept?.subarray(image * bytes, (image + 1) * bytes);
    if (kept && this.#isKept[image]) return kept;
    if (this.#bad.has(image)) return undefined;
    const pixels = await this.#gate.run(async () => (this.#closed ? undefined : decode(image)));
    if (pixels === undefined) return undefined;
    if (!(pixels instanceof Uint8Array)) {
      this.#bad.set(image, pixels);
      if (!this.#told.has(pixels.about)) onWarning?.(`${pixels.message}; left out from now on`);
      this.#told.add(pixels.about);
      return undefined;
    }
    if (!kept || this.#closed) return pixels;
    kept.set(pixels);
    this.#isKept[image] = 1;
    return kept;
  }

  /** Decodes nothing more and gives the memory back. */
  close(): void {
    this.#closed = true;
    this.#kept = undefined;
    this.#isKept = new Uint8Array(0);
  }
}
