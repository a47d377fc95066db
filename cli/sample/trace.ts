// What step-wise sampling saw and chose: a JSON file and a sheet beside each image.
import { join } from 'node:path';
import sharp from 'sharp';
import { DrmError } from '../../binding/error.js';
import type { NativeEvent } from '../../binding/types.js';
import type { Events } from '../common/events.js';
import { writeAtomically } from '../common/files.js';
import { label } from '../image/label.js';
import { contactSheet, type Image, slug } from '../image/write.js';
import type { SampleJob } from './jobs.js';

const EDGE = 96; // of a candidate on the sheet
const FRAME = 4;
const LINE = 18; // below a candidate, for its score
const CHOSEN = { r: 0, g: 150, b: 70 };
const PLAIN = { r: 255, g: 255, b: 255 };

interface Step {
  step: number;
  sigma: number;
  /** Null where the reward model gave NaN. */
  scores: (number | null)[];
  chosen: number;
}

interface Trace {
  steps: Map<number, Step>;
  tiles: Promise<Image>[];
}

/** A candidate small, in a frame that is coloured when it went on, its score below. */
async function tile({ pixels, width, height }: Image, score: number | null, chosen: boolean): Promise<Image> {
  const scale = Math.min(1, EDGE / Math.max(width, height));
  const { data, info } = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)), { fit: 'fill' })
    .extend({ top: FRAME, bottom: FRAME, left: FRAME, right: FRAME, background: chosen ? CHOSEN : PLAIN })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const text = label(score === null ? 'nan' : score.toFixed(2), info.width, LINE);
  return { pixels: Buffer.concat([data, text.pixels]), width: info.width, height: info.height + LINE };
}

/** What a row begins with: the timestep at which its candidates were scored. */
const rowHead = (sigma: number, { width, height }: Image): Image =>
  label(`t=${Math.round(1000 * sigma)}`, width, height);

export class TraceWriter {
  #traces = new Map<number, Trace>();

  constructor(
    private readonly folder: string,
    private readonly jobs: readonly SampleJob[],
    private readonly events: Events,
  ) {}

  /** Takes the "candidate" events of a call that makes these of the jobs. */
  take(event: NativeEvent, which: readonly number[]): void {
    const image = which[Number(event.index)] ?? -1;
    const trace = this.#traces.get(image) ?? { steps: new Map<number, Step>(), tiles: [] };
    this.#traces.set(image, trace);
    const number = Number(event.step);
    const step = trace.steps.get(number) ?? { step: number, sigma: Number(event.sigma), scores: [], chosen: 0 };
    trace.steps.set(number, step);
    const score = Number(event.score);
    const told = Number.isFinite(score) ? score : null;
    step.scores[Number(event.candidate)] = told;
    if (event.chosen === true) step.chosen = Number(event.candidate);
    trace.tiles.push(
      tile(
        { pixels: event.bytes ?? new Uint8Array(), width: Number(event.width), height: Number(event.height) },
        told,
        event.chosen === true,
      ),
    );
  }

  /** Writes `<seed>-<prompt>.trace.json` and `.trace.png`: a row a step from noise to image, a column a candidate. */
  async finish(): Promise<void> {
    for (const [image, { steps, tiles }] of this.#traces) {
      const job = this.jobs[image];
      if (!job) throw new DrmError('INTERNAL', `[trace] image ${image} was not asked for`);
      const stem = join(this.folder, `${job.seed}-${slug(job.prompt)}.trace`);
      const { k, reward, noise_level, select, steps: total } = job.settings;
      const told = {
        prompt: job.prompt,
        seed: String(job.seed),
        k,
        reward,
        noise_level,
        select,
        total_steps: total,
        sheet:
          'a row a scored step, headed by its timestep, a column a candidate: the estimate of x_0 that the policy makes from the candidate, without guidance, and its score; the frame marks the one that went on',
        steps: [...steps.values()],
      };
      await writeAtomically(`${stem}.json`, `${JSON.stringify(told, null, 2)}\n`);
      const cells = await Promise.all(tiles);
      const rows = [...steps.values()].flatMap(({ sigma }, row) => {
        const candidates = cells.slice(row * k, (row + 1) * k);
        return [rowHead(sigma, candidates[0] as Image), ...candidates];
      });
      const sheet = await contactSheet(rows, k + 1, 2);
      await writeAtomically(`${stem}.png`, sheet);
      const { width = 0, height = 0 } = await sharp(sheet).metadata();
      this.events.emit({ event: 'image', path: `${stem}.png`, width, height });
    }
  }
}
