// What the commands of steps have left, read for tables.
import { join } from 'node:path';
import { readShaped } from '../common/json.js';
import { commandLine } from '../common/options.js';
import { anything, listOf, mapOf, number, objectOf, optional, type ShapeOf, text } from '../common/shape.js';
import { average } from '../eval/bootstrap.js';
import { keptScores } from '../eval/judgement_file.js';
import { type RecordedRun, readRun } from '../report/read.js';
import { duration } from '../ui/figures.js';
import type { ChainFolder, StepRecord } from './folder.js';
import { inOrder, type Step } from './step.js';

const ESTIMATE = objectOf({ mean: number, low: number, high: number });
export type Estimate = ShapeOf<typeof ESTIMATE>;

const FIGURE = objectOf({ protocol: text, accuracy: ESTIMATE });

const ACCURACY = objectOf({
  pairs: number,
  rows: listOf(
    objectOf({
      timestep: number,
      overall: FIGURE,
      own: mapOf(listOf(FIGURE)),
      by: objectOf({ source: optional(anything) }),
    }),
  ),
});
type AccuracyRow = ShapeOf<typeof ACCURACY>['rows'][number];

/** By the set's own protocol, or strict where it holds several sources: as `drm eval pairs` has it beside other sets. */
export const mainFigure = ({ overall, own, by }: AccuracyRow): ShapeOf<typeof FIGURE> =>
  (by.source === undefined && Object.values(own)[0]?.[0]) || overall;

const IMAGES = objectOf({
  rows: listOf(
    objectOf(
      {
        setting: text,
        settings: objectOf({ k: number, steps: number, guidance: number }),
        images: number,
        seconds_per_image: optional(number),
        verdicts: listOf(objectOf({ scorer: text, unit: text, score: ESTIMATE, diversity: optional(ESTIMATE) })),
        diversity: optional(objectOf({ distance: text, mean: ESTIMATE })),
      },
      { images: 'pictures', seconds_per_image: 'seconds_per_picture' },
    ),
  ),
});
export type ImageRow = ShapeOf<typeof IMAGES>['rows'][number];

export class Results {
  constructor(private readonly folder: ChainFolder) {}

  /** Undefined for a step that is not done. */
  #place(step: Step): string | undefined {
    const { state, stamp } = this.folder.look(step);
    return state === 'done' ? this.folder.resultsOf(step, stamp as string) : undefined;
  }

  #read<T>(step: Step, read: (folder: string) => T): T | undefined {
    const place = this.#place(step);
    return place === undefined ? undefined : read(place);
  }

  /** Of `drm eval pairs` with one reward and one set. Throws DrmError BAD_FILE, as the others. */
  accuracy = (step: Step): ShapeOf<typeof ACCURACY> | undefined =>
    this.#read(step, (place) => readShaped(join(place, step.result), ACCURACY, { part: 'reproduce' }));

  images = (step: Step): ImageRow[] | undefined =>
    this.#read(step, (place) => readShaped(join(place, step.result), IMAGES, { part: 'reproduce' }).rows);

  /** By scorer, what it says of each image, prompt by prompt; of a step with one setting. */
  scores = (step: Step): Map<string, number[][]> | undefined => this.#read(step, keptScores);

  /** A run, under the name that it has on the page. */
  async run(step: Step, name: string): Promise<RecordedRun | undefined> {
    return this.#read(step, (place) => readRun(place, name));
  }

  /** The command lines that made these steps, those that they rest on among them, as far as they are done. */
  commands(steps: readonly Step[]): string[] {
    return this.#records(steps).map(({ argv }) => commandLine(argv));
  }

  #records(steps: readonly Step[]): StepRecord[] {
    return inOrder(steps).flatMap((step) => {
      const { state, record } = this.folder.look(step);
      return state === 'done' && record ? [record] : [];
    });
  }

  /** When, on what, and how long. */
  made(steps: readonly Step[]): string {
    const records = this.#records(steps);
    if (records.length === 0) return '';
    const days = [...new Set(records.map(({ began }) => began.slice(0, 10)))].sort();
    const machines = [...new Set(records.map(({ machine }) => machine))];
    const versions = [...new Set(records.map(({ drm }) => drm))];
    const seconds = records.reduce((sum, record) => sum + record.seconds, 0);
    const resumed = records.some((record) => record.resumed)
      ? ', of steps that were interrupted the last sitting alone'
      : '';
    return `Made ${days.length > 1 ? `from ${days[0]} to ${days.at(-1)}` : `on ${days[0]}`} with drm ${versions.join(', ')} on ${machines.join('; ')}, in ${duration(seconds)} (${records.length === 1 ? 'one step' : `${records.length} steps`}${resumed}).`;
  }
}

/** Of a sample. */
export const deviation = (values: readonly number[]): number => {
  const mean = average(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
};
