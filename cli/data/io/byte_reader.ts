// Takes exact lengths out of a stream of chunks, holding no more than was asked for and the chunk at hand.

export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Uint8Array[] = [];
  #have = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async #pull(): Promise<boolean> {
    const { value, done } = await this.#chunks.next();
    if (done) return false;
    this.#held.push(value as Uint8Array);
    this.#have += (value as Uint8Array).length;
    return true;
  }

  /** The next bytes. Throws a plain sentence when the stream ends before. */
  async take(length: number): Promise<Buffer> {
    const out = Buffer.allocUnsafeSlow(length);
    let at = 0;
    await this.#advance(length, (part) => {
      out.set(part, at);
      at += part.length;
    });
    return out;
  }

  skip(length: number): Promise<void> {
    return this.#advance(length, () => {});
  }

  async #advance(length: number, use: (part: Uint8Array) => void): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.#have === 0 && !(await this.#pull())) throw new Error(`the data ends ${left} bytes before it should`);
      const [first] = this.#held as [Uint8Array];
      const part = first.subarray(0, left);
      if (part.length === first.length) this.#held.shift();
      else this.#held[0] = first.subarray(part.length);
      this.#have -= part.length;
      left -= part.length;
      if (part.length > 0) use(part);
    }
  }

  /** Everything that is left. Throws a plain sentence when that is more than `most` bytes. */
  async rest(most: number): Promise<Buffer> {
    while (this.#have <= most && (await this.#pull()));
    if (this.#have > most) throw new Error(`expected at most ${most} bytes, found more`);
    const all = Buffer.concat(this.#held);
    this.#held = [];
    this.#have = 0;
    return all;
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
