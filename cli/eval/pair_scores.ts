// Scores of the pictures of preference pairs, by one reward after the other, each picture once a prompt and timestep.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { PairSet } from '../data/pair_set.js';
import { decodePicture } from '../data/picture.js';
import { Drop } from '../data/source.js';
import { slug } from '../image/write.js';
import type { Judged, Reward, Viewing } from '../rewards/reward.js';
import { ScoreLog } from './score_log.js';

/** Pictures decoded, and given to a reward, at a time. */
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

/** A picture under a prompt. */
interface Item {
  key: string;
  picture: number;
  /** Some pair that has it, to read the prompt from. */
  pair: number;
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** The same file gets the same noise wherever it is scored. */
export const noiseKey = (bytes: Uint8Array): number =>
  createHash('sha256').update(bytes).digest().readUInt32BE(0) >>> 1;

export interface Watch {
  signal: AbortSignal;
  onScores?: (done: number, total: number) => void;
  onBad?: (message: string) => void;
}

/** The pairs of a set that are judged, and every picture that must be scored for them. */
export class PairScores {
  readonly pairs: EvalPair[] = [];
  readonly #items: Item[] = [];
  readonly #index = new Map<string, number>();
  /** Pictures that could not be read, and why. */
  readonly bad = new Map<string, string>();

  private constructor(private readonly set: PairSet) {}

  static async open(set: PairSet, which: Iterable<number>, signal: AbortSignal): Promise<PairScores> {
    const scores = new PairScores(set);
    for (const pair of which) {
      signal.throwIfAborted();
      const record = await set.record(pair);
      const { source, prompt } = record;
      const item = (picture: number) => {
        const key = digest(`${source}\n${set.pictureId(picture)}\n${prompt}`);
        const known = scores.#index.get(key);
        if (known !== undefined) return known;
        scores.#index.set(key, scores.#items.length);
        return scores.#items.push({ key, picture, pair }) - 1;
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

  /** Pictures under prompts. */
  get count(): number {
    return this.#items.length;
  }

  /**
   * Scores by timestep and item, NaN where a picture is bad. What an earlier run with the same weights and viewing left
   * in `folder` is not scored again. Rejects with CANCELLED when stopped; all that was scored is in the file.
   */
  async score(reward: Reward, viewing: Viewing, folder: string, watch: Watch): Promise<Float64Array[]> {
    const { timesteps } = viewing;
    const tables = new Map(timesteps.map((timestep) => [timestep, new Float64Array(this.count).fill(Number.NaN)]));
    const lacks = (item: number, timestep: number) => Number.isNaN(tables.get(timestep)?.[item]);
    let done = 0;
    const take = (item: number, timestep: number, score: number) => {
      const table = tables.get(timestep);
      if (table && lacks(item, timestep)) {
        table[item] = score;
        done += 1;
      }
    };
    const log = await openLog(folder, this.set, reward, viewing, ({ key, timestep, score }) => {
      const item = this.#index.get(key);
      if (item !== undefined) take(item, timestep, score);
    });
    const total = this.count * timesteps.length;
    watch.onScores?.(done, total);
    const missing = this.#items.flatMap((_, i) => (timesteps.some((timestep) => lacks(i, timestep)) ? [i] : []));
    try {
      let next = this.#read(missing.slice(0, CHUNK), watch);
      for (let begin = 0; begin < missing.length; begin += CHUNK) {
        watch.signal.throwIfAborted();
        const ready = await next;
        next = this.#read(missing.slice(begin + CHUNK, begin + 2 * CHUNK), watch); // while these are scored
        next.catch(() => {});
        done += (missing.slice(begin, begin + CHUNK).length - ready.length) * timesteps.length; // bad ones are done with
        const asked = timesteps.filter((timestep) => ready.some(({ item }) => lacks(item, timestep)));
        if (asked.length === 0) continue;
        const judged = ready.map((one) => one.judged);
        const found = await reward.score(judged, { ...viewing, timesteps: asked }, { signal: watch.signal });
        const fresh = asked.flatMap((timestep, row) =>
          ready.flatMap(({ item }, at) => {
            if (!lacks(item, timestep)) return [];
            const score = found[row]?.[at] as number;
            const { key, picture } = this.#items[item] as Item;
            take(item, timestep, score);
            return [{ key, picture: this.set.pictureId(picture), timestep, score }];
          }),
        );
        await log.append(fresh);
        watch.onScores?.(done, total);
      }
    } catch (error) {
      if (watch.signal.aborted)
        throw new DrmError('CANCELLED', `${done} of ${total} scores of ${reward.name} are in ${log.path}`);
      throw error;
    } finally {
      await log.close();
    }
    return timesteps.map((timestep) => tables.get(timestep) as Float64Array);
  }

  async #read(items: readonly number[], { onBad }: Watch): Promise<{ item: number; judged: Judged }[]> {
    const read = await Promise.all(
      items.map(async (item) => {
        const { picture, pair } = this.#items[item] as Item;
        const bytes = await this.set.picture(picture);
        const decoded = await decodePicture(bytes);
        if (decoded instanceof Drop) {
          const name = this.set.pictureId(picture);
          if (!this.bad.has(name)) onBad?.(`${name}: ${decoded.reason}, left out: ${decoded.detail}`);
          this.bad.set(name, decoded.reason);
          return undefined;
        }
        const { prompt } = await this.set.record(pair);
        return { item, judged: { picture: decoded, prompt, key: noiseKey(bytes) } };
      }),
    );
    return read.filter((one) => one !== undefined);
  }
}

/** Other weights, sets, draws or seeds are other scores, and have a file of their own. */
function openLog(
  folder: string,
  { manifest }: PairSet,
  reward: Reward,
  { draws, seed, posteriorSample }: Viewing,
  known: Parameters<typeof ScoreLog.open>[2],
): Promise<ScoreLog> {
  const data = digest(JSON.stringify(manifest.settings)); // the same names may stand for smaller copies
  const what = { reward: reward.name, weights: reward.weights, data, draws, seed, posterior_sample: posteriorSample };
  const name = `scores-${slug(reward.name).slice(-24)}-${digest(JSON.stringify({ ...what, reward: '' })).slice(0, 8)}.jsonl`;
  return ScoreLog.open(join(folder, name), what, known);
}
