// Scores on disk while they are being made: one line each, so that a large evaluation that is stopped goes on where it was.
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { DrmError } from '../../binding/error.js';
import { diskError } from '../common/files.js';
import { parseJson } from '../common/json.js';
import { number, objectOf, optional, text } from '../common/shape.js';

export interface ScoreLine {
  /** Of image and prompt. */
  key: string;
  /** The data set's name of the image, for other readers of the file. */
  image: string;
  timestep: number;
  score: number;
}

/** A score of null was none, and is made again. */
const LINE = objectOf<Omit<ScoreLine, 'score'> & { score: number | undefined }>({
  key: text,
  image: text,
  timestep: number,
  score: optional(number),
});

export class ScoreLog {
  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private size: number,
  ) {}

  /** Gives each whole line of an earlier run to `known`. `head` says what the scores are, for other readers. */
  static async open(path: string, head: object, known: (line: ScoreLine) => void): Promise<ScoreLog> {
    let file: FileHandle | undefined;
    try {
      const size = existsSync(path) ? await wholeLines(path, known) : 0;
      file = await open(path, 'a');
      await file.truncate(size); // what a killed process left of its last line
      const log = new ScoreLog(path, file, size);
      if (size === 0) await log.#write([head]);
      return log;
    } catch (error) {
      await file?.close();
      throw diskError(path, error);
    }
  }

  /** Rejects with DrmError DISK; the file then ends with the last whole line. */
  async append(lines: readonly ScoreLine[]): Promise<void> {
    if (lines.length > 0) await this.#write(lines);
  }

  async #write(lines: readonly object[]): Promise<void> {
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    try {
      await this.file.appendFile(bytes);
      this.size += bytes.length;
    } catch (error) {
      await this.file.truncate(this.size).catch(() => {}); // the next run cuts it
      throw diskError(this.path, error);
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** Bytes up to the end of the last whole line. */
async function wholeLines(path: string, known: (line: ScoreLine) => void): Promise<number> {
  const input = createReadStream(path);
  let size = 0;
  let number = 0;
  let bytes = 0;
  input.on('data', (part) => {
    const at = (part as Buffer).lastIndexOf(10);
    if (at >= 0) size = bytes + at + 1;
    bytes += part.length;
  });
  const lines: { text: string; number: number }[] = [];
  const take = ({ text, number: at }: { text: string; number: number }) => {
    try {
      const value = parseJson(text);
      if (at === 1) return;
      const { score, ...line } = LINE(value, '');
      if (score !== undefined) known({ ...line, score });
    } catch (error) {
      throw new DrmError(
        'BAD_FILE',
        `[eval] ${path}, line ${at}: expected a score as JSON (${(error as Error).message}); delete the file, and its scores are made again`,
        { file: path, line: String(at) },
      );
    }
  };
  // The last line may be torn: each is taken when another follows, or when the file's last byte ends it.
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    const before = lines.pop();
    if (before) take(before);
    number += 1;
    lines.push({ text, number });
  }
  const last = lines.pop();
  if (last && size === bytes) take(last);
  return size;
}
