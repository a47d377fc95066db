/** Every distinct text once. */
export class Texts {
  readonly all: string[];
  readonly #rows: Map<string, number>;

  /** `first`: texts that have the first rows. */
  constructor(first: readonly string[] = []) {
    this.all = [...first];
    this.#rows = new Map(first.map((text, row) => [text, row]));
  }

  /** The text's row, a new one where it has none yet. */
  row(text: string): number {
    let row = this.#rows.get(text);
    if (row === undefined) {
      row = this.all.push(text) - 1;
      this.#rows.set(text, row);
    }
    return row;
  }
}
