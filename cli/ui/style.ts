// What views know of the terminal.
export interface Style {
  color: boolean;
  /** Columns of the terminal. */
  width: number;
  /** Its lines. */
  height: number;
}
