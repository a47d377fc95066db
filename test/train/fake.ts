// A model of eight numbers that learns a line, for tests of the loop: small, deterministic, and with an optimizer whose
// state matters, so that a restart without it is seen in the weights.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { TrainingData, TrainingTask, Values } from '../../cli/train/training_task.js';

const SIZE = 8;

/** Uniform in [-1, 1), a function of its keys alone. */
function draw(...keys: number[]): number {
  return createHash('sha256').update(keys.join(' ')).digest().readUInt32LE(0) / 2 ** 31 - 1;
}

export type Batch = { x: number[]; y: number }[];

export interface Behaviour {
  /** Steps whose loss is NaN. */
  nanAt?: number[];
  /** And is thrown, as the native trainer does it. */
  nanThrows?: boolean;
  /** Bytes of ballast in a checkpoint, in pieces, so that a kill can fall between them. */
  ballast?: number;
  /** restore() takes the weights only. */
  weightsOnly?: boolean;
  stepMs?: number;
  /** What waits until it is cancelled. */
  endless?: 'evaluate' | 'preview' | 'finish';
  /** Called when that begins. */
  onEndless?: () => void;
  /** Wants to end after so many steps. */
  endAt?: number;
  /** Called while a checkpoint is being filled, before the optimizer's file. */
  onSave?: (folder: string) => void;
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

export class FakeTask implements TrainingTask<Batch> {
  weights = new Float64Array(SIZE);
  momentum = new Float64Array(SIZE);
  evaluations: number[] = [];
  restored: string | undefined;

  constructor(
    private readonly seed: number,
    private readonly behaviour: Behaviour = {},
  ) {
    for (let i = 0; i < SIZE; i++) this.weights[i] = draw(seed, 1, i);
  }

  async step(index: number, batch: Batch, learningRate: number): Promise<Values> {
    const { nanAt, stepMs } = this.behaviour;
    this.#steps = index + 1;
    if (stepMs) await sleep(stepMs);
    if (nanAt?.includes(index)) {
      if (this.behaviour.nanThrows) throw new DrmError('NOT_FINITE', 'not finite', { step: String(index) });
      return { loss: Number.NaN, grad_norm: Number.NaN };
    }
    const gradient = new Float64Array(SIZE);
    let loss = 0;
    let near = 0;
    batch.forEach(({ x, y }, n) => {
      const noise = 0.01 * draw(this.seed, 2, index, n);
      const error = x.reduce((sum, value, i) => sum + value * (this.weights[i] ?? 0), 0) + noise - y;
      loss += error ** 2 / batch.length;
      if (Math.abs(error) < 0.1) near += 1 / batch.length;
      x.forEach((value, i) => {
        gradient[i] = (gradient[i] ?? 0) + (2 * error * value) / batch.length;
      });
    });
    for (let i = 0; i < SIZE; i++) {
      this.momentum[i] = 0.9 * (this.momentum[i] ?? 0) + (gradient[i] ?? 0);
      this.weights[i] = (this.weights[i] ?? 0) - learningRate * (this.momentum[i] ?? 0);
    }
    return { loss, accuracy: near, grad_norm: Math.hypot(...gradient) };
  }

  #steps = 0;

  ended(): string | undefined {
    const { endAt } = this.behaviour;
    return endAt !== undefined && this.#steps >= endAt ? 'it has learned enough' : undefined;
  }

  async evaluate(steps: number, signal: AbortSignal): Promise<Values> {
    await this.#maybeEndless('evaluate', signal);
    this.evaluations.push(steps);
    return { distance: Math.hypot(...this.weights.map((w, i) => w - (i + 1) / SIZE)) };
  }

  async preview(steps: number, folder: string, signal: AbortSignal): Promise<string[]> {
    await this.#maybeEndless('preview', signal);
    const path = join(folder, 'sheet.png');
    writeFileSync(path, `an image of step ${steps}`);
    return [path];
  }

  async #maybeEndless(what: Behaviour['endless'], signal: AbortSignal): Promise<void> {
    if (this.behaviour.endless !== what) return;
    this.behaviour.onEndless?.();
    if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
    throw new DrmError('CANCELLED', 'cancelled by the caller');
  }

  async save(folder: string): Promise<void> {
    writeFileSync(join(folder, 'weights.bin'), this.weights);
    for (let i = 0; i < (this.behaviour.ballast ?? 0); i++) {
      writeFileSync(join(folder, `ballast-${i}.bin`), Buffer.alloc(100_000, i));
      await sleep(1);
    }
    this.behaviour.onSave?.(folder);
    writeFileSync(join(folder, 'optimizer.bin'), this.momentum);
  }

  async restore(folder: string): Promise<void> {
    const read = (name: string) => new Float64Array(new Uint8Array(readFileSync(join(folder, name))).buffer);
    this.restored = folder;
    this.#steps = Number(folder.split('/').at(-1));
    this.weights = read('weights.bin');
    if (!this.behaviour.weightsOnly) this.momentum = read('optimizer.bin');
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    await this.#maybeEndless('finish', signal);
    writeFileSync(join(runFolder, 'model.json'), JSON.stringify([...this.weights]));
    return { weights: SIZE };
  }
}

export class FakeData implements TrainingData<Batch> {
  asked: number[] = [];
  closed = false;

  constructor(
    private readonly seed: number,
    private readonly failAt?: number,
  ) {}

  async next(index: number) {
    this.asked.push(index);
    if (index === this.failAt) throw new Error('shard 7 is gone');
    const batch = Array.from({ length: 4 }, (_, n) => {
      const x = Array.from({ length: SIZE }, (_, i) => draw(this.seed, 3, index, n, i));
      return { x, y: x.reduce((sum, value, i) => sum + (value * (i + 1)) / SIZE, 0) };
    });
    return { batch, samples: 4, waitedSeconds: 0 };
  }

  close(): void {
    this.closed = true;
  }
}
