// Images on their way to disk: one after the other, in order, while the next ones are being made.
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { DrmError } from '../../binding/error.js';
import type { NativeEvent } from '../../binding/types.js';
import type { Events } from '../common/events.js';
import { writeAtomically } from '../common/files.js';
import { groupedBy } from '../common/grouped_by.js';
import type { SampleSettings } from '../config/types.js';
import { type Format, formatNamed } from '../image/formats.js';
import { labelledSheet, wordedSheet } from '../image/sheet.js';
import { encodeImage, encodePng, type Image, slug, writeImage } from '../image/write.js';
import type { Lora } from '../lora/loras.js';
import type { SampleJob } from './jobs.js';
import { recipeTexts } from './metadata.js';

/** Where images go. */
export interface Target {
  folder: string;
  /** Of the one image, where the user has named its file. */
  file: string | undefined;
  format: Format;
}

/**
 * What --out names: a folder, or the file of the one image (`x.png`). Throws DrmError USAGE for a file of several images,
 * and for one whose name asks for another format.
 */
export function targetOf(out: string, asked: Format | undefined, count: number): Target {
  const named = statSync(out, { throwIfNoEntry: false })?.isDirectory() ? undefined : formatNamed(out);
  if (named === undefined) return { folder: out, file: undefined, format: asked ?? 'png' };
  if (count !== 1)
    throw new DrmError(
      'USAGE',
      `sample --out ${out}: expected a folder for ${count} images, found the name of one; name a folder, or ask for one image`,
    );
  if (asked !== undefined && asked !== named)
    throw new DrmError(
      'USAGE',
      `sample --out ${out} --format ${asked}: expected one format, found two; leave --format out`,
    );
  return { folder: dirname(out), file: out, format: named };
}

export class ImageWriter {
  /** Aborted by the first image that cannot be written: the rest could not be either. */
  readonly stop = new AbortController();
  written = 0;
  #queue: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | undefined;
  #kept = new Map<number, Image>();

  /** `dtype`: what the pipeline runs in. */
  constructor(
    private readonly target: Target,
    private readonly jobs: readonly SampleJob[],
    private readonly dtype: SampleSettings['dtype'],
    private readonly loras: readonly Lora[],
    private readonly events: Events,
    private readonly keep: boolean,
  ) {}

  /** Takes the "image" and "preview" events of a call that makes these of the jobs. */
  take(event: NativeEvent, which: readonly number[]): void {
    const image = {
      pixels: event.bytes ?? new Uint8Array(),
      width: Number(event.width),
      height: Number(event.height),
    };
    if (event.kind === 'preview') this.#enqueue(() => this.#preview(Number(event.step), image));
    if (event.kind !== 'image') return;
    const at = which[Number(event.index)] ?? -1;
    if (this.keep) this.#kept.set(at, image);
    this.#enqueue(() => this.#write(at, image));
  }

  /** All that was taken is on disk. Throws the DrmError DISK of the first that is not. */
  async finish(): Promise<void> {
    await this.#queue;
    if (this.#failure) throw this.#failure.error;
  }

  /** One sheet of all images: a row a prompt, headed by it, or about a square when each prompt has one image, below it. */
  async grid(): Promise<void> {
    const cells = [...this.#kept]
      .sort(([a], [b]) => a - b)
      .map(([at, image]) => ({ job: this.jobs[at] as SampleJob, image }));
    const most = Math.max(...this.jobs.map(({ settings }) => settings.n));
    const sheet =
      most > 1
        ? await labelledSheet(
            groupedBy(cells, (at) => cells[at]?.job.promptIndex).map((row) => ({
              title: row[0]?.job.prompt ?? '',
              cells: row.map(({ image, job }) => ({ image, label: `seed ${job.seed}` })),
            })),
          )
        : await wordedSheet(
            cells.map(({ image }) => image),
            cells.map(({ job }) => job.prompt),
          );
    const path = await writeImage(this.target.folder, 'grid', sheet);
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
    const { folder, file, format } = this.target;
    const texts = recipeTexts({ ...job.settings, dtype: this.dtype, width, height }, job, this.loras);
    const bytes = await encodeImage(image, format, texts);
    if (file !== undefined) await writeAtomically(file, bytes); // named by the user, it is replaced
    const path = file ?? (await writeImage(folder, `${job.seed}-${slug(job.prompt)}`, bytes, format));
    this.written += 1;
    this.events.emit({ event: 'image', path, width, height, prompt: job.prompt, seed: String(job.seed) });
  }

  async #preview(step: number, image: Image): Promise<void> {
    const png = await encodePng(image);
    const path = join(this.target.folder, 'preview.png');
    await writeAtomically(path, png);
    this.events.emit({ event: 'preview', path, step, png });
  }
}
