// Judging the images that `drm eval images` makes, setting after setting: judges, reference images, rows, sheets.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../common/command.js';
import { writeAtomically } from '../common/files.js';
import { readShaped } from '../common/json.js';
import { listOf, number, objectOf, optional, type ShapeOf, text } from '../common/shape.js';
import { VERSION } from '../common/version.js';
import type { SampleSettings } from '../config/types.js';
import { Drop } from '../data/io/drop.js';
import { decodePicture } from '../data/io/picture.js';
import { CaptionedSet } from '../data/prepared/captioned_set.js';
import { contactSheet, type Picture } from '../image/write.js';
import { loadJudges } from '../rewards/judges.js';
import type { Reward } from '../rewards/reward.js';
import type { PictureSet } from './images.js';
import { against, type Cost, type Results, report } from './images_report.js';
import { captionsOf, Judge, type Judgement, referenceSamples, type Verdict } from './judge.js';
import { judgedOnce } from './judgement_file.js';
import { KeptImages } from './kept_images.js';
import type { Watch } from './retrieval.js';

const SHEET = { pictures: 64, columns: 8 };
/** Prompts on the sheet that has a column for each setting. */
const COMPARED = 12;

/** What is taken from an earlier run's results: times. */
const EARLIER = objectOf({
  rows: optional(
    listOf(
      objectOf({
        folder: text,
        seconds_per_picture: optional(number),
        cost: optional(objectOf<Cost>({ policy: number, reward: number, branch: number })),
      }),
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

async function writeSheet(files: string[], path: string): Promise<void> {
  const decoded = await Promise.all(files.slice(0, SHEET.pictures).map((file) => decodePicture(readFileSync(file))));
  const pictures = decoded.filter((picture) => !(picture instanceof Drop)) as Picture[];
  await writeAtomically(path, await contactSheet(pictures, SHEET.columns));
}

/** The first image of the first prompts, a row each, a column for each setting. */
async function writeComparison(columns: readonly string[][], each: number, path: string): Promise<void> {
  const rows = Array.from({ length: Math.min(COMPARED, (columns[0]?.length ?? 0) / each) }, (_, i) => i * each);
  const files = rows.flatMap((picture) => columns.map((column) => column[picture] as string));
  const decoded = await Promise.all(files.map((file) => decodePicture(readFileSync(file))));
  if (decoded.some((picture) => picture instanceof Drop)) return;
  await writeAtomically(path, await contactSheet(decoded as Picture[], columns.length));
}

const costOf = ({ made, cost }: PictureSet): Cost | undefined =>
  cost && {
    policy: cost.policySeconds / made,
    reward: cost.rewardSeconds / made,
    branch: cost.branchSeconds / made,
  };

export interface JudgingOptions {
  model: string;
  weights: string;
  device: string;
  /** Of the images, in order. */
  prompts: readonly string[];
  out: string;
}

type Progress = (id: string, label: string) => (step: number, total: number) => void;

type JudgingContext = Context<{ scorer: string[] | undefined; grid: boolean }>;

export class ImageJudging {
  readonly #judges: Judge[];
  readonly #results: Results;
  readonly #columns: string[][] = [];
  readonly #earlier: ShapeOf<typeof EARLIER>;
  #first: Judgement[] = [];
  #reference: CaptionedSet | undefined;

  private constructor(
    readonly rewards: readonly Reward[],
    /** Otherwise each gives its memory back after its turn. */
    private readonly together: boolean,
    private readonly options: JudgingOptions,
    private readonly context: JudgingContext,
    private readonly progress: Progress,
  ) {
    this.#judges = rewards.map((reward) => new Judge(reward, captionsOf(options.prompts)));
    this.#results = { drm: VERSION, model: options.model, weights: options.weights, rows: [] };
    this.#earlier = earlierResults(this.file);
  }

  /** Loads the judges on the device that the context names. */
  static async open(options: JudgingOptions, context: JudgingContext, progress: Progress): Promise<ImageJudging> {
    const { rewards, together } = await loadJudges(context);
    return new ImageJudging(rewards, together, options, context, progress);
  }

  /** Where the results are. */
  get file(): string {
    return join(this.options.out, 'results.json');
  }

  get pictures(): number {
    return this.#results.rows.reduce((sum, row) => sum + row.pictures, 0);
  }

  #watch(id: string, label: string): Watch {
    const { events, signal } = this.context;
    const onWarning = (message: string) => events.emit({ event: 'warning', message });
    return { signal, onWarning, onPictures: this.progress(id, label) };
  }

  /** Real images that the generated ones are compared with. */
  async refer(folder: string): Promise<void> {
    const warn = (message: string) => this.context.events.emit({ event: 'warning', message });
    this.#reference = await CaptionedSet.open(folder);
    const { texts } = captionsOf(this.options.prompts);
    const { samples, matched } = referenceSamples(this.#reference, texts);
    if (matched === 0) warn(`no prompt is a caption of ${folder}: CMMD is taken to all its ${samples.length} images`);
    else if (matched < texts.length)
      warn(`${matched} of ${texts.length} prompts are captions of ${folder}: CMMD is taken to their images alone`);
    const verdicts: Verdict[] = [];
    for (const judge of this.#judges) {
      const { name } = judge.reward;
      const watch = this.#watch(`reference ${name}`, `real images by ${name}`);
      const verdict = await judge.refer(this.#reference, samples, watch);
      if (verdict) verdicts.push(verdict);
    }
    this.#results.reference = { folder, pictures: samples.length, captions: matched, verdicts };
  }

  /** A row: the images that one setting gave. */
  async add(name: string, settings: SampleSettings, folder: string, set: PictureSet): Promise<void> {
    const { options, events } = this.context;
    const { files, made, seconds } = set;
    this.#columns.push(files);
    const before = this.#earlier.rows?.find((row) => row.folder === folder);
    const each = made > 0 ? seconds / made : before?.seconds_per_picture;
    const cost = (this.options.device === 'cpu' && costOf(set)) || before?.cost;
    const judgements = await this.#judged(name, folder, files);
    const isFirst = this.#columns.length === 1;
    if (isFirst) this.#first = judgements;
    const firstEach = this.#results.rows[0]?.seconds_per_picture;
    this.#results.rows.push({
      setting: name,
      folder,
      settings,
      pictures: files.length,
      ...(each !== undefined && { seconds_per_picture: each }),
      ...(each !== undefined && firstEach !== undefined && { time_ratio: each / firstEach }),
      ...(cost && { cost }),
      verdicts: judgements.map(({ verdict }) => verdict),
      ...(!isFirst && { against_first: judgements.map((one, i) => against(one, this.#first[i] as Judgement)) }),
    });
    if (options.grid) {
      const path = join(folder, 'grid.png');
      await writeSheet(files, path);
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
      const watch = this.#watch(`judge ${reward.name} ${name}`, `judging by ${reward.name}`);
      const work = () => judge.judge(files, watch, kept);
      judgements.push(this.#reference ? await work() : await judgedOnce(folder, { reward, files, prompts }, work));
      if (!this.together && reward.bytes !== undefined) reward.dispose();
    }
    return judgements;
  }

  /** Says what was found; `each`: images a prompt. */
  async tell(each: number): Promise<void> {
    const { options, events } = this.context;
    if (options.grid && this.#columns.length > 1) {
      const path = join(this.options.out, 'compare.png');
      await writeComparison(this.#columns, each, path);
      events.emit({ event: 'image', path, width: 0, height: 0 });
    }
    events.emit({ event: 'result', text: report(this.options.model, this.#results), data: this.#results });
  }

  async close(): Promise<void> {
    for (const reward of this.rewards) reward.dispose();
    await this.#reference?.close();
  }
}
