// Scores of the images of preference pairs, by one reward after the other, each image once a prompt and timestep.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { Drop } from '../data/io/drop.js';
import { decodeImage } from '../data/io/image.js';
import type { PairSet } from '../data/prepared/pair_set.js';
import { type Image, slug } from '../image/write.js';
import { Team } from '../parallel/team.js';
import { type Level, levelText } from '../rewards/levels.js';
import type { Judged, Reward, Viewing } from '../rewards/reward.js';
import { KeptImages } from './kept_images.js';
import { type ScoreLine, ScoreLog } from './score_log.js';

/** Images decoded, and given to a reward, at a time. */
const CHUNK = 32;

/** What accuracy is counted from; its prompt stays on disk. */
export interface EvalPair {
  chosen: number;
  rejected: number;
  tie: boolean;
  source: string;
  kind?: string;
  grade?: number;
  /** Pairs that are resampled together: of one ranking, or of one prompt. */
  group: string;
  /** In the ranking. */
  ranks?: [number, number];
}

/** An image under a prompt. */
interface Item {
  key: string;
  image: number;
  /** Some pair that has it, to read the prompt from. */
  pair: number;
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** The same file gets the same noise wherever it is scored. */
export const noiseKey = (bytes: Uint8Array): number =>
  createHash('sha256').update(bytes).digest().readUInt32BE(0) >>> 1;

export interface ScoringOptions {
  signal: AbortSignal;
  /** Of the processes that share the images: all must come here. */
  team?: Team;
  /** What other rewards have decoded, or will see. */
  kept?: KeptImages;
  onScores?: (done: number, total: number) => void;
  onBad?: (message: string) => void;
  /** Of other processes. */
  onWarning?: (message: string) => void;
}

/** Item, row of the level, score. */
type Fresh = [number, number, number];
/** Name, reason, and the sentence about it. */
type Bad = [string, string, string];

/** What processes tell each other of some images. */
interface Said {
  fresh: Fresh[];
  bad: Bad[];
  warnings: string[];
}

/** The pairs of a set that are judged, and every image that must be scored for them. */
export class PairScores {
  readonly pairs: EvalPair[] = [];
  readonly #items: Item[] = [];
  readonly #index = new Map<string, number>();
  /** Images that could not be read, and why. */
  readonly bad = new Map<string, string>();

  private constructor(private readonly set: PairSet) {}

  static async open(set: PairSet, which: Iterable<number>, signal: AbortSignal): Promise<PairScores> {
    const scores = new PairScores(set);
    for (const pair of which) {
      signal.throwIfAborted();
      const record = await set.record(pair);
      const { source, prompt } = record;
      const item = (image: number) => {
        const key = digest(`${source}\n${set.imageId(image)}\n${prompt}`);
        const known = scores.#index.get(key);
        if (known !== undefined) return known;
        scores.#index.set(key, scores.#items.length);
        return scores.#items.push({ key, image, pair }) - 1;
      };
      scores.pairs.push({
        chosen: item(record.chosen),
        rejected: item(record.rejected),
        tie: record.tie === true,
        source,
        ...(record.kind !== undefined && { kind: record.kind }),
        ...(record.grade !== undefined && { grade: record.grade }),
        ...(record.ranks !== undefined && { ranks: record.ranks }),
        group: `${source}\n${record.group ?? digest(prompt)}`,
      });
    }
    return scores;
  }

  /** Whether pairs of rankings are among them. */
  get ranked(): boolean {
    return this.pairs.some(({ ranks }) => ranks);
  }

  /** Tells these images and pairs from others. */
  get digest(): string {
    return digest(`${this.#items.map(({ key }) => key).join()} ${this.pairs.length}`);
  }

  /** Images under prompts. */
  get count(): number {
    return this.#items.length;
  }

  /**
   * Scores by level and item, NaN where an image is bad. What an earlier run with the same weights and viewing left in
   * `folder` is not scored again. Of several processes each scores its part, and the first one, which writes the file,
   * has the scores; the others' tables are not whole. Rejects with CANCELLED when stopped; all that was scored is in the
   * file.
   */
  async score(reward: Reward, viewing: Viewing, folder: string, options: ScoringOptions): Promise<Float64Array[]> {
    const { levels } = viewing;
    const { signal, team = Team.solo, kept = new KeptImages(1) } = options;
    const tables = levels.map(() => new Float64Array(this.count).fill(Number.NaN));
    const rowOf = new Map(levels.map(({ timestep }, row) => [timestep, row]));
    const lacks = (item: number, row: number) => Number.isNaN(tables[row]?.[item]);
    let done = 0;
    const take = (item: number, row: number, score: number) => {
      const table = tables[row];
      if (!table || !lacks(item, row)) return false;
      table[item] = score;
      done += 1;
      return true;
    };
    const log = team.first
      ? await openLog(folder, this.set, reward, viewing, ({ key, timestep, score }) => {
          const item = this.#index.get(key);
          if (item !== undefined && Number.isFinite(score)) take(item, rowOf.get(timestep) ?? -1, score);
        })
      : undefined;
    const total = this.count * levels.length;
    try {
      options.onScores?.(done, total);
      const missing = await this.#missing(tables, team);
      const own = team.part(missing);
      const rounds = Math.ceil(Math.ceil(missing.length / team.size) / CHUNK); // as many in each process
      const chunk = (round: number) => this.#read(own.slice(round * CHUNK, (round + 1) * CHUNK), kept);
      let next = chunk(0);
      for (let round = 0; round < rounds; round++) {
        signal.throwIfAborted();
        const { ready, bad } = await next;
        next = chunk(round + 1); // while these are scored
        next.catch(() => {});
        const rows = levels.flatMap((_, row) => (ready.some(({ item }) => lacks(item, row)) ? [row] : []));
        const asked = rows.map((row) => levels[row] as Level);
        const judged = ready.map((one) => one.judged);
        const found = rows.length > 0 ? await reward.score(judged, { ...viewing, levels: asked }, { signal }) : [];
        const fresh = rows.flatMap((row, at) =>
          ready.flatMap(({ item }, i): Fresh[] =>
            lacks(item, row) ? [[item, row, finite(found[at]?.[i], reward, asked[at] as Level)]] : [],
          ),
        );
        const said = await team.exchange<Said>({ fresh, bad, warnings: team.takeWarnings() });
        if (!log) continue;
        for (const [rank, { bad: unread, warnings }] of said.entries()) {
          for (const [name, reason, message] of unread) this.#tellBad(name, reason, message, options);
          done += unread.length * levels.length; // they are done with
          if (rank > 0) for (const message of warnings) options.onWarning?.(message);
        }
        const lines = said.flatMap((one) => one.fresh.filter(([item, row, score]) => take(item, row, score)));
        await log.append(lines.map(([item, row, score]) => this.#line(item, levels[row] as Level, score)));
        options.onScores?.(done, total);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new DrmError(
        'CANCELLED',
        log ? `${done} of ${total} scores of ${reward.name} are in ${log.path}` : 'stopped',
      );
    } finally {
      await log?.close();
    }
    return tables;
  }

  /** Items that lack a score. The first process knows which; the others learn it, and mark all others as known. */
  async #missing(tables: Float64Array[], team: Team): Promise<number[]> {
    const lacking = await team.fromFirst(async () =>
      tables.map((table) => Array.from(table.keys()).filter((item) => Number.isNaN(table[item]))),
    );
    if (!team.first)
      for (const [row, table] of tables.entries()) {
        table.fill(0);
        for (const item of lacking[row] ?? []) table[item] = Number.NaN;
      }
    return [...new Set(lacking.flat())].sort((a, b) => a - b);
  }

  #line(item: number, { timestep }: Level, score: number): ScoreLine {
    const { key, image } = this.#items[item] as Item;
    return { key, image: this.set.imageId(image), timestep, score };
  }

  #tellBad(name: string, reason: string, message: string, { onBad }: ScoringOptions): void {
    if (!this.bad.has(name)) onBad?.(message);
    this.bad.set(name, reason);
  }

  async #read(
    items: readonly number[],
    kept: KeptImages,
  ): Promise<{ ready: { item: number; judged: Judged }[]; bad: Bad[] }> {
    const bad: Bad[] = [];
    const read = await Promise.all(
      items.map(async (item) => {
        const { image: number, pair } = this.#items[item] as Item;
        const seen = await kept.get(`${this.set.folder} ${number}`, () => this.#open(number));
        if (!('pixels' in seen)) {
          const name = this.set.imageId(number);
          bad.push([name, seen.reason, `${name}: ${seen.reason}, left out: ${seen.detail}`]);
          return undefined;
        }
        const { noise: key, ...image } = seen;
        const { prompt } = await this.set.record(pair);
        return { item, judged: { image, prompt, key } };
      }),
    );
    return { ready: read.filter((one) => one !== undefined), bad };
  }

  async #open(number: number): Promise<(Image & { noise: number }) | Drop> {
    const bytes = await this.set.image(number);
    const decoded = await decodeImage(bytes);
    if (decoded instanceof Drop) return decoded;
    const { pixels, width, height } = decoded;
    return { pixels, width, height, noise: noiseKey(bytes) };
  }
}

/** A score that is none would be a wrong pair without a word. Throws DrmError NOT_FINITE. */
function finite(score: number | undefined, { name }: Reward, level: Level): number {
  if (score !== undefined && Number.isFinite(score)) return score;
  throw new DrmError(
    'NOT_FINITE',
    `[eval] ${name} at ${levelText(level)}: expected a finite score, found ${score}; its weights are damaged, or try --dtype fp32`,
  );
}

/** Other weights, sets, draws, seeds, sizes or noise are other scores, and have a file of their own. */
function openLog(
  folder: string,
  { manifest }: PairSet,
  reward: Reward,
  { draws, seed, posteriorSample, addNoise, size }: Viewing,
  known: Parameters<typeof ScoreLog.open>[2],
): Promise<ScoreLog> {
  const data = digest(JSON.stringify(manifest.settings)); // the same names may stand for smaller copies
  const what = {
    ...{ reward: reward.name, weights: reward.weights, data, draws, seed, posterior_sample: posteriorSample },
    ...(!addNoise && { add_noise: false }),
    ...(size !== undefined && { size }),
  };
  const name = `scores-${slug(reward.name).slice(-24)}-${digest(JSON.stringify({ ...what, reward: '' })).slice(0, 8)}.jsonl`;
  return ScoreLog.open(join(folder, name), what, known);
}
