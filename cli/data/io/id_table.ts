// Image ids by the million: a table from text to a running number, 50 to 60 bytes an id where a Map takes 150.

/** FNV-1a, then mixed, since a table of a power of two uses the low bits only. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

export class IdTable {
  #text: Buffer = Buffer.allocUnsafe(1 << 12);
  #ends = new Uint32Array(1 << 8);
  /** Number + 1 of the id in this slot, 0 for none; at most half full. */
  #slots = new Uint32Array(1 << 9);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The id's number: that of its first mention. */
  add(id: string): number {
    const bytes = Buffer.from(id);
    const slot = this.#find(bytes);
    const known = this.#slots[slot] as number;
    if (known > 0) return known - 1;
    const start = this.#start(this.#length);
    if (start + bytes.length > 0xffffffff) throw new RangeError('[data] expected less than 4 GiB of image ids');
    if (start + bytes.length > this.#text.length) {
      const grown = Buffer.allocUnsafe(Math.max(2 * this.#text.length, start + bytes.length));
      this.#text.copy(grown, 0, 0, start);
      this.#text = grown;
    }
    this.#text.set(bytes, start);
    if (this.#length === this.#ends.length) {
      const grown = new Uint32Array(2 * this.#ends.length);
      grown.set(this.#ends);
      this.#ends = grown;
    }
    this.#ends[this.#length] = start + bytes.length;
    this.#slots[slot] = ++this.#length;
    if (2 * this.#length > this.#slots.length) this.#rehash();
    return this.#length - 1;
  }

  /** The id's number, or -1. */
  find(id: string): number {
    return (this.#slots[this.#find(Buffer.from(id))] as number) - 1;
  }

  text(number: number): string {
    return this.#bytes(number).toString('utf8');
  }

  #start(number: number): number {
    return number === 0 ? 0 : (this.#ends[number - 1] as number);
  }

  #bytes(number: number): Buffer {
    return this.#text.subarray(this.#start(number), this.#ends[number]);
  }

  /** The slot that holds the id, or the empty one where it belongs. */
  #find(bytes: Buffer): number {
    const mask = this.#slots.length - 1;
    let slot = hashOf(bytes) & mask;
    for (;;) {
      const found = this.#slots[slot] as number;
      if (found === 0 || this.#bytes(found - 1).equals(bytes)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #rehash(): void {
    this.#slots = new Uint32Array(2 * this.#slots.length);
    const mask = this.#slots.length - 1;
    for (let number = 0; number < this.#length; number++) {
      let slot = hashOf(this.#bytes(number)) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = number + 1;
    }
  }
}
