// Judging the images that `drm eval images` makes, setting after setting: judges, reference images, rows, sheets.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { Context } from '../common/command.js';
import { writeAtomically } from '../common/files.js';
import { readShaped } from '../common/json.js';
import { listOf, number, objectOf, optional, type ShapeOf, text } from '../common/shape.js';
import { VERSION } from '../common/version.js';
import type { SampleSettings } from '../config/types.js';
import { Drop } from '../data/io/drop.js';
import { decodeImage } from '../data/io/image.js';
import { CaptionedSet } from '../data/prepared/captioned_set.js';
import { labelledSheet, type SheetRow, wordedSheet } from '../image/sheet.js';
import { loadDistance, loadJudges } from '../rewards/judges.js';
import type { Distance, Reward } from '../rewards/reward.js';
import { type MeasuredDiversity, measureDiversity, pairsByPrompt } from './diversity.js';
import type { ImageSet } from './images.js';
import { against, type Cost, furtherThan, type Results, type Row, report } from './images_report.js';
import { type Captions, captionsOf, Judge, type Judgement, readPng, referenceSamples, type Verdict } from './judge.js';
import { judgedOnce } from './judgement_file.js';
import { KeptImages } from './kept_images.js';
import type { EvaluationOptions } from './retrieval.js';

const SHEET = { images: 64, columns: 8 };
/** Prompts on the sheet that has a column for each setting. */
const COMPARED = 12;

/** What is taken from an earlier run's results: times. */
const EARLIER = objectOf({
  rows: optional(
    listOf(
      objectOf(
        {
          folder: text,
          seconds_per_image: optional(number),
          cost: optional(objectOf<Cost>({ policy: number, reward: number, branch: number })),
        },
        { seconds_per_image: 'seconds_per_picture' },
      ),
    ),
  ),
});

function earlierResults(file: string): ShapeOf<typeof EARLIER> {
  const none = { rows: [] };
  if (!existsSync(file)) return none;
  try {
    return readShaped(file, EARLIER, { part: 'eval' });
  } catch {
    return none; // only times are taken from there
  }
}

async function writeSheet(files: readonly string[], prompts: readonly string[], path: string): Promise<void> {
  const decoded = await Promise.all(files.slice(0, SHEET.images).map((file) => decodeImage(readFileSync(file))));
  const shown = decoded.flatMap((image, i) => (image instanceof Drop ? [] : [{ image, prompt: prompts[i] ?? '' }]));
  const sheet = await wordedSheet(
    shown.map(({ image }) => image),
    shown.map(({ prompt }) => prompt),
    SHEET.columns,
  );
  await writeAtomically(path, sheet);
}

interface Column {
  /** The setting, as in the table. */
  name: string;
  files: readonly string[];
}

/** The first image of the first prompts, a row each, a column for each setting. */
async function writeComparison(
  columns: readonly Column[],
  prompts: readonly string[],
  each: number,
  path: string,
): Promise<void> {
  const rows: SheetRow[] = [];
  for (let at = 0; at < Math.min(COMPARED * each, prompts.length); at += each) {
    const decoded = await Promise.all(columns.map(({ files }) => decodeImage(readFileSync(files[at] as string))));
    const cells = decoded.map((image, i) =>
      image instanceof Drop ? undefined : { image, label: columns[i]?.name ?? '' },
    );
    rows.push({ title: prompts[at] ?? '', cells });
  }
  await writeAtomically(path, await labelledSheet(rows));
}

const costOf = ({ made, cost }: ImageSet): Cost | undefined =>
  cost && {
    policy: cost.policySeconds / made,
    reward: cost.rewardSeconds / made,
    branch: cost.branchSeconds / made,
  };

export interface ImageEvaluationOptions {
  model: string;
  weights: string;
  device: string;
  /** Of the images, in order. */
  prompts: readonly string[];
  out: string;
}

type Progress = (id: string, label: string) => (step: number, total: number) => void;

type ImageEvaluationContext = Context<{ scorer: string[] | undefined; diversity: string | undefined; grid: boolean }>;

export class ImageEvaluation {
  readonly #judges: Judge[];
  readonly #results: Results;
  readonly #columns: Column[] = [];
  readonly #earlier: ShapeOf<typeof EARLIER>;
  readonly #captions: Captions;
  #first: Judgement[] = [];
  #firstDiversity: MeasuredDiversity | undefined;
  #reference: CaptionedSet | undefined;

  private constructor(
    readonly rewards: readonly Reward[],
    /** Otherwise each reward gives its memory back after its turn. */
    private readonly allInMemory: boolean,
    /** Undefined where none was asked for. */
    readonly distance: Distance | undefined,
    private readonly options: ImageEvaluationOptions,
    private readonly context: ImageEvaluationContext,
    private readonly progress: Progress,
  ) {
    this.#captions = captionsOf(options.prompts);
    this.#judges = rewards.map((reward) => new Judge(reward, this.#captions));
    this.#results = { drm: VERSION, model: options.model, weights: options.weights, rows: [] };
    this.#earlier = earlierResults(this.file);
  }

  /** Loads the judges, and the distance, on the device that the context names. */
  static async open(
    options: ImageEvaluationOptions,
    context: ImageEvaluationContext,
    progress: Progress,
  ): Promise<ImageEvaluation> {
    const { of } = captionsOf(options.prompts);
    if (context.options.diversity !== undefined && pairsByPrompt(of.length, (i) => of[i] as number).length === 0)
      throw new DrmError('USAGE', 'eval images: --diversity compares images of one prompt; give --n 2 or more');
    const distance = await loadDistance(context);
    try {
      const none = { rewards: [], allInMemory: true };
      const judges = distance && context.options.scorer === undefined ? none : await loadJudges(context);
      return new ImageEvaluation(judges.rewards, judges.allInMemory, distance, options, context, progress);
    } catch (error) {
      distance?.dispose();
      throw error;
    }
  }

  /** Where the results are. */
  get file(): string {
    return join(this.options.out, 'results.json');
  }

  get images(): number {
    return this.#results.rows.reduce((sum, row) => sum + row.images, 0);
  }

  #progressOf(id: string, label: string): EvaluationOptions {
    const { events, signal } = this.context;
    const onWarning = (message: string) => events.emit({ event: 'warning', message });
    return { signal, onWarning, onImages: this.progress(id, label) };
  }

  /** Real images that the generated ones are compared with. */
  async refer(folder: string): Promise<void> {
    const warn = (message: string) => this.context.events.emit({ event: 'warning', message });
    this.#reference = await CaptionedSet.open(folder);
    const { texts } = this.#captions;
    const { samples, matched } = referenceSamples(this.#reference, texts);
    if (matched === 0) warn(`no prompt is a caption of ${folder}: CMMD is taken to all its ${samples.length} images`);
    else if (matched < texts.length)
      warn(`${matched} of ${texts.length} prompts are captions of ${folder}: CMMD is taken to their images alone`);
    const verdicts: Verdict[] = [];
    for (const judge of this.#judges) {
      const { name } = judge.reward;
      const options = this.#progressOf(`reference ${name}`, `real images by ${name}`);
      const verdict = await judge.refer(this.#reference, samples, options);
      if (verdict) verdicts.push(verdict);
    }
    this.#results.reference = { folder, images: samples.length, captions: matched, verdicts };
  }

  /** A row: the images that one setting gave. */
  async add(name: string, settings: SampleSettings, folder: string, set: ImageSet): Promise<void> {
    const { options, events } = this.context;
    const { files, made, seconds } = set;
    this.#columns.push({ name, files });
    const before = this.#earlier.rows?.find((row) => row.folder === folder);
    const each = made > 0 ? seconds / made : before?.seconds_per_image;
    const cost = (this.options.device === 'cpu' && costOf(set)) || before?.cost;
    const judgements = await this.#judged(name, folder, files);
    const diversity = await this.#diversity(name, files);
    const isFirst = this.#columns.length === 1;
    if (isFirst) this.#first = judgements;
    const firstEach = this.#results.rows[0]?.seconds_per_image;
    this.#results.rows.push({
      setting: name,
      folder,
      settings,
      images: files.length,
      ...(each !== undefined && { seconds_per_image: each }),
      ...(each !== undefined && firstEach !== undefined && { time_ratio: each / firstEach }),
      ...(cost && { cost }),
      verdicts: judgements.map(({ verdict }) => verdict),
      ...(!isFirst && { against_first: judgements.map((one, i) => against(one, this.#first[i] as Judgement)) }),
      ...(diversity && { diversity }),
    });
    if (options.grid) {
      const path = join(folder, 'grid.png');
      await writeSheet(files, this.options.prompts, path);
      events.emit({ event: 'image', path, width: 0, height: 0 });
    }
    await writeAtomically(this.file, `${JSON.stringify(this.#results, null, 2)}\n`);
  }

  /** By each judge. With a reference nothing is kept: what is said then rests on that, too. */
  async #judged(name: string, folder: string, files: string[]): Promise<Judgement[]> {
    const { prompts } = this.options;
    const kept = new KeptImages(this.#judges.length);
    const judgements: Judgement[] = [];
    for (const judge of this.#judges) {
      const { reward } = judge;
      const options = this.#progressOf(`judge ${reward.name} ${name}`, `judging by ${reward.name}`);
      const work = () => judge.judge(files, options, kept);
      judgements.push(this.#reference ? await work() : await judgedOnce(folder, { reward, files, prompts }, work));
      if (!this.allInMemory && reward.bytes !== undefined) reward.dispose();
    }
    return judgements;
  }

  /** By the distance that was asked for. */
  async #diversity(name: string, files: readonly string[]): Promise<Row['diversity']> {
    if (!this.distance) return undefined;
    const measured = await measureDiversity(
      this.distance,
      files.length,
      (image) => this.#captions.of[image] as number,
      (image) => readPng(files[image] as string),
      this.#progressOf(`diversity ${name}`, `distances by ${this.distance.name}`),
    );
    const first = this.#firstDiversity;
    this.#firstDiversity ??= measured;
    return {
      ...measured.diversity,
      ...(first && { against_first: furtherThan(measured.byPrompt, first.byPrompt) }),
    };
  }

  /** Says what was found; `each`: images a prompt. */
  async tell(each: number): Promise<void> {
    const { options, events } = this.context;
    if (options.grid && this.#columns.length > 1) {
      const path = join(this.options.out, 'compare.png');
      await writeComparison(this.#columns, this.options.prompts, each, path);
      events.emit({ event: 'image', path, width: 0, height: 0 });
    }
    events.emit({ event: 'result', text: report(this.options.model, this.#results), data: this.#results });
  }

  async close(): Promise<void> {
    for (const reward of this.rewards) reward.dispose();
    this.distance?.dispose();
    await this.#reference?.close();
  }
}
