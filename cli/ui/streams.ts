// stdout and stderr: whatever this program says goes through here, shown and never obeyed, and a stream that takes no more
// is done without.
import { visible } from '../text/visible.js';

/** Why a stream takes no more. */
export type Loss = NodeJS.ErrnoException;

class Output {
  #loss: Loss | undefined;
  /** Told once. Nobody need listen: what is written from then on is dropped. */
  onLoss: ((loss: Loss) => void) | undefined;

  constructor(private readonly stream: NodeJS.WriteStream) {
    stream.on('error', (loss: Loss) => {
      if (this.#loss) return;
      this.#loss = loss;
      this.onLoss?.(loss);
    });
  }

  write(text: string): void {
    if (!this.#loss) this.stream.write(visible(text));
  }

  /** Whether the reader has left of its own (head has enough, the terminal is closed), and nothing is wrong. */
  wasLeft({ code }: Loss): boolean {
    return code === 'EPIPE' || code === 'ECONNRESET' || (code === 'EIO' && this.stream.isTTY);
  }
}

export const stdout = new Output(process.stdout);
export const stderr = new Output(process.stderr);
