// What is left out of a set, and why.

/** An image file of more bytes is dropped, not read. */
export const LARGEST_FILE = 128 << 20;

/** A record that is left out: counted by reason, shown with its detail when the user asks. Not an error. */
export class Drop {
  constructor(
    /** Snake case, as in the manifest. */
    readonly reason: string,
    readonly detail: string,
  ) {}
}
