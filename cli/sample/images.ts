// Images on their way to disk: one after the other, in order, while the next ones are being made.
import { join } from 'node:path';
import sharp from 'sharp';
import { DrmError } from '../../binding/error.js';
import type { NativeEvent } from '../../binding/types.js';
import type { Events } from '../common/events.js';
import { writeAtomically } from '../common/files.js';
import type { SampleSettings } from '../config/types.js';
import { contactSheet, encodePng, type Image, slug, writeImage } from '../image/write.js';
import type { Lora } from '../lora/loras.js';
import type { Job } from './jobs.js';
import { recipeTexts } from './metadata.js';

export class ImageWriter {
  /** Aborted by the first image that cannot be written: the rest could not be either. */
  readonly stop = new AbortController();
  written = 0;
  #queue: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | undefined;
  #kept: Image[] = [];

  constructor(
    private readonly folder: string,
    private readonly jobs: Job[],
    private readonly settings: SampleSettings,
    private readonly loras: readonly Lora[],
    private readonly events: Events,
    private readonly keep: boolean,
  ) {}

  /** Takes the pipeline's "image" and "preview" events. */
  take(event: NativeEvent): void {
    const image = {
      pixels: event.bytes ?? new Uint8Array(),
      width: Number(event.width),
      height: Number(event.height),
    };
    if (event.kind === 'preview') this.#enqueue(() => this.#preview(Number(event.step), image));
    if (event.kind !== 'image') return;
    if (this.keep) this.#kept.push(image);
    this.#enqueue(() => this.#write(Number(event.index), image));
  }

  /** All that was taken is on disk. Throws the DrmError DISK of the first that is not. */
  async finish(): Promise<void> {
    await this.#queue;
    if (this.#failure) throw this.#failure.error;
  }

  /** One sheet of all images: a row a prompt, or about a square when each prompt has one image. */
  async grid(): Promise<void> {
    const columns = this.settings.n > 1 ? this.settings.n : Math.ceil(Math.sqrt(this.#kept.length));
    const sheet = await contactSheet(this.#kept, columns);
    const path = await writeImage(this.folder, 'grid', sheet);
    const { width = 0, height = 0 } = await sharp(sheet).metadata();
    this.events.emit({ event: 'image', path, width, height });
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue.then(work).catch((error: unknown) => {
      this.#failure ??= { error };
      this.stop.abort();
    });
  }

  async #write(at: number, image: Image): Promise<void> {
    const job = this.jobs[at];
    if (!job) throw new DrmError('INTERNAL', `[sample] image ${at} was not asked for`);
    const { width, height } = image;
    const png = await encodePng(image, recipeTexts({ ...this.settings, width, height }, job, this.loras));
    const path = await writeImage(this.folder, `${job.seed}-${slug(job.prompt)}`, png);
    this.written += 1;
    this.events.emit({ event: 'image', path, width, height, prompt: job.prompt, seed: String(job.seed) });
  }

  async #preview(step: number, image: Image): Promise<void> {
    const png = await encodePng(image);
    const path = join(this.folder, 'preview.png');
    await writeAtomically(path, png);
    this.events.emit({ event: 'preview', path, step, png });
  }
}
