// What a training on preference pairs reads: the set, what of it is held out, batches ahead of the training.
import { DrmError } from '../../../binding/error.js';
import type { Events } from '../../common/events.js';
import { commandOf } from '../../config/resolve.js';
import { type PairBatch, PairLoader, type PairLoaderOptions, type Pairs } from '../../data/load/pair_loader.js';
import { readManifest } from '../../data/prepared/manifest.js';
import { PairSet } from '../../data/prepared/pair_set.js';
import { splitOfCaption } from '../../data/sets/user_fields.js';
import type { Team } from '../../parallel/team.js';
import { sampleOrder } from '../../random/order.js';
import type { TrainingData } from '../training_task.js';

/** Settings that say which pairs are seen, and when. */
export interface PairSettings {
  task: 'train' | 'pretrain_scorer';
  data: string;
  split: string;
  evaluate_data: string;
  evaluate_split: string;
  evaluate_every: number;
  evaluate_samples: number;
  hold_out: number;
  batch: number;
  seed: number;
  prefetch: number;
}

/** Some pairs of a set. */
export class PairPart {
  constructor(
    readonly set: Pairs,
    /** Which; all where left out. */
    private readonly indices: Uint32Array | undefined,
    /** The trainer's number of the set's first image. */
    readonly firstImage: number,
  ) {}

  get length(): number {
    return this.indices?.length ?? this.set.length;
  }

  /** The set's index of the n-th pair. */
  at(n: number): number {
    return this.indices === undefined ? n : (this.indices[n] as number);
  }

  /** The first `count` pairs. */
  first(count: number): PairPart {
    if (count >= this.length) return this;
    const indices = Uint32Array.from({ length: count }, (_, n) => this.at(n));
    return new PairPart(this.set, indices, this.firstImage);
  }

  /** Those that are no ties and whose images, by the set's own numbers, are all good. */
  async without(bad: ReadonlySet<number>): Promise<PairPart> {
    const kept: number[] = [];
    for await (const { index, chosen, rejected, tie } of recordsOf(this))
      if (!tie && !bad.has(chosen) && !bad.has(rejected)) kept.push(index);
    return new PairPart(this.set, Uint32Array.from(kept), this.firstImage);
  }
}

export interface PairParts {
  train: PairPart;
  /** Undefined where nothing is held out. */
  heldOut: PairPart | undefined;
  /** Where the held-out pairs come from. */
  note: string;
  close(): Promise<void>;
}

/** Pairs read at once: enough to keep the disk busy. */
const AT_ONCE = 256;

/** Each pair, with its index. */
export async function* recordsOf(part: PairPart) {
  for (let from = 0; from < part.length; from += AT_ONCE) {
    const indices = Array.from({ length: Math.min(AT_ONCE, part.length - from) }, (_, n) => part.at(from + n));
    const records = await Promise.all(indices.map((index) => part.set.record(index)));
    for (const [n, record] of records.entries()) yield { ...record, index: indices[n] as number };
  }
}

const namesIn = (setting: string) =>
  setting
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** Throws DrmError naming the setting at fault. */
export async function openPairs(settings: PairSettings, events: Events): Promise<PairParts> {
  const { data, evaluate_data: other, batch } = settings;
  const command = commandOf(settings.task);
  const [part] = command.split(' ');
  if (data === '')
    throw new DrmError(
      'USAGE',
      `${command}: expected prepared pairs; give --data DIR (\`drm data prepare emoji-prefs --out data/prefs\` makes some)`,
    );
  const { splits } = readManifest(data, 'pairs');
  const wanted = namesIn(settings.split);
  const missing = wanted.filter((name) => !Object.hasOwn(splits, name));
  if (missing.length > 0 || wanted.length === 0)
    throw new DrmError(
      'BAD_CONFIG',
      `[${part}] split: expected splits of ${data} (${Object.keys(splits).join(', ')}), found ${missing.join(', ') || 'none'}; choose with --set split=NAME`,
      { key: 'split', found: missing.join(', '), file: data },
    );
  const sets: PairSet[] = [];
  const open = async (folder: string, split?: string[]) => {
    const set = await PairSet.open(folder, split && { split });
    sets.push(set);
    return set;
  };
  const close = async () => {
    for (const set of sets) await set.close();
  };
  try {
    const set = await open(data, wanted);
    const parts = { ...(await holdOut(set)), close };
    if (batch > parts.train.length)
      // Draws are keyed by step and pair: one that comes twice in a step would teach nothing the second time.
      throw new DrmError(
        'BAD_CONFIG',
        `[${part}] batch: expected at most ${parts.train.length}, all pairs of ${wanted.join(', ')} in ${data}${parts.heldOut?.set === set ? ' that are not held out' : ''}, found ${batch}; give --batch ${parts.train.length} or less`,
        { key: 'batch', expected: String(parts.train.length), found: String(batch) },
      );
    return parts;
  } catch (error) {
    await close();
    throw error;
  }

  async function holdOut(set: PairSet): Promise<Omit<PairParts, 'close'>> {
    const all = new PairPart(set, undefined, 0);
    if (settings.evaluate_every === 0) return { train: all, heldOut: undefined, note: '' };
    const kept = namesIn(settings.evaluate_split);
    const apart = async (folder: string, split?: string[]) =>
      new PairPart(await open(folder, split), undefined, set.imageCount);
    if (other !== '') {
      const there = Object.keys(readManifest(other, 'pairs').splits);
      const named = kept.filter((name) => there.includes(name));
      const part = await apart(other, named.length > 0 ? named : there);
      return { train: all, heldOut: part, note: `${named.length > 0 ? `${named.join(', ')} of ` : ''}${other}` };
    }
    if (kept.length > 0 && kept.every((name) => Object.hasOwn(splits, name) && !wanted.includes(name)))
      return { train: all, heldOut: await apart(data, kept), note: `${kept.join(', ')} of ${data}` };
    return byPrompt(all);
  }

  /** A fixed part of the prompts, the same in every run on the set, however its pairs are ordered. */
  async function byPrompt(all: PairPart): Promise<Omit<PairParts, 'close'>> {
    const train: number[] = [];
    const heldOut: number[] = [];
    if (settings.hold_out > 0)
      for await (const { index, prompt } of recordsOf(all))
        (splitOfCaption(prompt, settings.hold_out) === 'test' ? heldOut : train).push(index);
    if (heldOut.length === 0 || train.length === 0) {
      events.emit({
        event: 'info',
        message: `nothing is held out: ${settings.hold_out === 0 ? 'hold_out is 0, all pairs are trained on' : `${data} has no split ${settings.evaluate_split} and no prompts to spare`}; name other pairs with --eval-data`,
      });
      return { train: all, heldOut: undefined, note: '' };
    }
    const part = (indices: number[]) => new PairPart(all.set, Uint32Array.from(indices), 0);
    return { train: part(train), heldOut: part(heldOut), note: `${settings.hold_out} % of the prompts of ${data}` };
  }
}

/** How pairs come to the trainer; see PairLoaderOptions. */
export type PairForm = Pick<PairLoaderOptions, 'size' | 'pass' | 'pixels' | 'tokens' | 'onWarning'>;

/** The training pairs in the order that the seed gives, prepared ahead, from any step on. */
export class PairData implements TrainingData<PairBatch> {
  readonly unit = 'pair';
  #loader: PairLoader | undefined;
  #at = -1;
  #waited = 0;

  constructor(
    private readonly part: PairPart,
    private readonly settings: Pick<PairSettings, 'seed' | 'batch' | 'prefetch'>,
    private readonly form: PairForm,
    private readonly team: Team,
    /** Pairs that were left out before. */
    private readonly leftOut = 0,
  ) {}

  async next(index: number): Promise<{ batch: PairBatch; samples: number; waitedSeconds: number }> {
    const { part, team } = this;
    if (!this.#loader || this.#at !== index) {
      await this.#loader?.close();
      this.#waited = 0;
      const order = sampleOrder(this.settings.seed, part.length, this.settings.batch);
      this.#loader = new PairLoader(part.set, {
        ...this.form,
        order: (step) => team.part(order(step)).map((n) => part.at(n)),
        isPart: !team.alone,
        firstStep: index,
        ahead: this.settings.prefetch,
        firstImage: part.firstImage,
      });
    }
    const batch = await this.#loader.next();
    if (!batch) throw new DrmError('INTERNAL', `[data] no batch for step ${index}`);
    this.#at = index + 1;
    const waitedSeconds = this.#loader.waitedSeconds - this.#waited;
    this.#waited = this.#loader.waitedSeconds;
    return { batch, samples: batch.count, waitedSeconds };
  }

  facts(): Record<string, number> {
    const pairs = this.leftOut + (this.#loader?.badPairs ?? 0);
    return pairs > 0 ? { pairs_left_out: pairs } : {};
  }

  async close(): Promise<void> {
    await this.#loader?.close();
  }
}

/** Passes over a part from its beginning, each pair once. */
export async function* passesOf(part: PairPart, form: PairForm & { pass: number }) {
  const { length } = part;
  const { pass } = form;
  const loader = new PairLoader(part.set, {
    ...form,
    order: (step) => Array.from({ length: Math.min(pass, length - step * pass) }, (_, i) => part.at(step * pass + i)),
    steps: Math.ceil(length / pass),
    firstImage: part.firstImage,
  });
  try {
    for (let batch = await loader.next(); batch; batch = await loader.next()) yield* batch.passes;
  } finally {
    await loader.close();
  }
}
