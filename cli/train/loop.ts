// The training loop of every task: what happens at each step and in what order, and what survives an interruption.
//
// A step's work is a function of the run's seed, the step's index and the task's own state. So a checkpoint is the task's
// state and a number of steps, and a resumed run computes what the uninterrupted one would have.
import { setImmediate } from 'node:timers/promises';
import { DrmError } from '../../binding/error.js';
import { errorEvent } from '../common/errors.js';
import type { Events } from '../common/events.js';
import { diskError } from '../common/files.js';
import { commandLine } from '../common/options.js';
import type { LoopRun } from '../parallel/follower.js';
import { Team } from '../parallel/team.js';
import type { KeepRule } from '../runs/checkpoints.js';
import { Meter, type MeterState } from './meter.js';
import { learningRate, type RateOptions } from './rate.js';

export type Values = Record<string, number>;

export interface TrainingTask<Batch> {
  /**
   * One step, `index` from 0. The values are shown and kept; `loss` is one of them. When the loss, `grad_norm` or `reward`
   * is not finite, it says so by its value or by rejecting with NOT_FINITE, and leaves parameters and optimizer as they
   * were: the loop decides whether the run goes on. Of a process alone, one that has changed nothing yet may reject with
   * CANCELLED after a signal: the resumed run does it again.
   */
  step(index: number, batch: Batch, learningRate: number): Promise<Values>;
  /** Figures on held-out data after `steps` steps. A signal may end it with CANCELLED: the resumed run does it again. */
  evaluate?(steps: number, signal: AbortSignal): Promise<Values>;
  /** Makes images in a folder that is there; returns their paths, the one to show first. A signal may end it likewise. */
  preview?(steps: number, folder: string, signal: AbortSignal): Promise<string[]>;
  /** Why the run should end here, well before all steps are done; asked after each step and what it brought. */
  ended?(): string | undefined;
  /** Writes all that restore() needs into an empty folder. The loop makes it durable and checks it on the way back. */
  save(folder: string): Promise<void>;
  restore(folder: string): Promise<void>;
  /** Whether save() takes all processes, since each has a part of the state. */
  readonly savesTogether?: boolean;
  /**
   * Writes what the run was for (exported weights) into the run's folder; returns facts for the last line. A signal may end
   * it with CANCELLED: resuming a run whose steps are done does it again.
   */
  finish?(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>>;
}

export interface TrainingData<Batch> {
  /** What a sample is called in the figures; 'sample' where nothing is said. */
  readonly unit?: string;
  /** The batch of step `index`, whatever was asked for before. `waitedSeconds`: how long it was not there yet. */
  next(index: number): Promise<{ batch: Batch; samples: number; waitedSeconds: number }>;
  /** Worth saying on the last line, such as how many samples could not be used. */
  facts?(): Record<string, string | number>;
  close(): Promise<void> | void;
}

export interface TrainingOptions {
  /** Steps in all. */
  steps: number;
  rate: RateOptions;
  /** Steps between metric events. */
  logEvery: number;
  /** Steps between evaluations, previews and checkpoints; 0 is never. The last step has each of them that is on. */
  evaluateEvery: number;
  previewEvery: number;
  checkpointEvery: number;
  /** An evaluation and a preview before the first step, too, where they are on: what there was to begin with. */
  evaluateFirst?: boolean;
  /** Minutes after which a checkpoint is due in any case; 0 is never. The last step always has one. */
  checkpointMinutes: number;
  keep: KeepRule;
  /** Steps of the whole run that may be skipped because their loss or gradient is not finite. */
  skipNotFinite: number;
  /** What to type to go on after an interruption. */
  resumeCommand: string;
}

export interface TrainingSummary {
  steps: number;
  samples: number;
  /** Of training, earlier sittings included. */
  seconds: number;
  checkpoint: string;
  facts: Record<string, string | number>;
}

/** The loop's part of a checkpoint. */
interface LoopState {
  skipped: number;
  meter: MeterState;
  /** An interruption came before these could be done. */
  owed: { evaluation: boolean; preview: boolean };
  /** That trained up to here. */
  processes?: number;
}

/** What a process tells the others before each step. */
interface Word {
  samples: number;
  waitedSeconds: number;
  /** Its user has asked for the end. */
  stop: boolean;
  /** By its clock a checkpoint is due; the first one's counts. */
  late: boolean;
  /** Why the first one's task wants to end, if it does. */
  ended?: string;
  warnings: string[];
}

const STOPPED = Symbol('stopped by the signal');

/**
 * Trains from where `run` stands to the end. Closes the data, not the run. Throws what ended it, CANCELLED for a signal.
 * With a team, every one of its processes comes here, with its part of the data; the first one alone evaluates and writes.
 */
export async function train<Batch>(
  task: TrainingTask<Batch>,
  data: TrainingData<Batch>,
  run: LoopRun,
  options: TrainingOptions,
  { events, signal, team = Team.solo }: { events: Events; signal: AbortSignal; team?: Team },
): Promise<TrainingSummary> {
  try {
    return await new Loop(task, data, run, options, run.recording(events), signal, team).toTheEnd();
  } catch (error) {
    try {
      run.record(errorEvent(error, false)); // the report says how a run ended; the user hears it from the caller
    } catch {} // the disk may be what failed
    throw error;
  } finally {
    await data.close();
  }
}

class Loop<Batch> {
  /** Steps taken. */
  #at = 0;
  #skipped = 0;
  #owed = { evaluation: false, preview: false };
  #meter = new Meter();
  /** Of the last checkpoint. */
  #saved: { step: number; path: string; time: number } | undefined;
  /** What the team has agreed on. */
  #agreed = { stop: false, late: false };
  /** Why the task wants to end before all steps are done, and what the team has agreed on. */
  #wish: string | undefined;
  #ended: string | undefined;

  constructor(
    private readonly task: TrainingTask<Batch>,
    private readonly data: TrainingData<Batch>,
    private readonly run: LoopRun,
    private readonly options: TrainingOptions,
    private readonly events: Events,
    private readonly signal: AbortSignal,
    private readonly team: Team,
  ) {}

  async toTheEnd(): Promise<TrainingSummary> {
    try {
      return await this.#toTheEnd();
    } catch (error) {
      throw error instanceof DrmError && error.code === 'PEER_LOST' ? await this.#bereaved(error) : error;
    }
  }

  async #toTheEnd(): Promise<TrainingSummary> {
    await this.#begin();
    this.#meter.start();
    await this.#payOwed();
    this.#askForEnd();
    while (!this.#last && !this.#stopping) {
      if (!(await this.#step())) break;
      // Promises alone never let signals in or the terminal be drawn.
      await setImmediate();
      this.#askForEnd();
      this.#owed = this.#owedNow();
      await this.#payOwed();
      this.#askForEnd();
      if (this.#checkpointDue()) await this.#checkpoint();
    }
    if (!this.#last || this.#owed.evaluation || this.#owed.preview) await this.#interrupted();
    if (this.#saved?.step !== this.#at) await this.#checkpoint();
    await this.team.meet();
    const facts = { ...(await this.#finish()), ...this.data.facts?.() };
    const summary = {
      steps: this.#at,
      samples: this.#meter.samples,
      seconds: this.#meter.seconds(),
      checkpoint: this.#saved?.path ?? '',
      facts,
    };
    this.events.emit({
      event: 'done',
      seconds: summary.seconds,
      facts: {
        steps: this.#at,
        ...(this.#ended !== undefined && { ended: this.#ended }),
        samples: summary.samples,
        run: this.run.folder,
        ...facts,
      },
    });
    return summary;
  }

  async #begin(): Promise<void> {
    for (const message of this.run.warnings) this.events.emit({ event: 'warning', message });
    const { from } = this.run;
    if (!from) {
      if (this.options.evaluateFirst) this.#owed = this.#owedNow();
      return;
    }
    if (from.step > this.options.steps)
      throw new DrmError(
        'BAD_CONFIG',
        `[resume] ${this.run.folder}: expected fewer steps done than the ${this.options.steps} asked for, found ${from.step}; ask for more steps`,
        { expected: String(this.options.steps), found: String(from.step) },
      );
    await this.task.restore(from.folder);
    const state = from.state as unknown as LoopState;
    this.#at = from.step;
    this.#skipped = state.skipped;
    if (this.team.first) this.#owed = state.owed;
    this.#meter.restore(state.meter);
    this.#saved = { step: from.step, path: from.folder, time: performance.now() };
    this.events.emit({ event: 'resumed', step: from.step, path: from.folder });
    const { processes = 1 } = state;
    if (processes !== this.team.size)
      this.events.emit({
        event: 'info',
        message: `processes up to here: ${processes}, from here on: ${this.team.size}; the figures are the same up to rounding, not to the bit`,
      });
  }

  /** Whether no step follows. */
  get #last(): boolean {
    return this.#at === this.options.steps || this.#ended !== undefined;
  }

  /** The first process's task decides; the others hear of it before the next step. */
  #askForEnd(): void {
    if (this.team.first) this.#wish ??= this.task.ended?.();
    if (this.team.alone) this.#ended = this.#wish;
  }

  #owedNow(): { evaluation: boolean; preview: boolean } {
    const { evaluateEvery, previewEvery } = this.options;
    return {
      evaluation: this.team.first && this.task.evaluate !== undefined && this.#due(evaluateEvery),
      preview: this.team.first && this.task.preview !== undefined && this.#due(previewEvery),
    };
  }

  /** Whether this process alone may write a checkpoint. */
  get #canSave(): boolean {
    return this.team.first && (this.team.alone || !this.task.savesTogether);
  }

  get #stopping(): boolean {
    return this.team.alone ? this.signal.aborted : this.#agreed.stop;
  }

  /** False when the team has agreed to stop instead. */
  async #step(): Promise<boolean> {
    const { steps, rate, logEvery } = this.options;
    const index = this.#at;
    this.#meter.begin();
    const given = await this.data.next(index).catch(async (error: unknown) => {
      // The model is as good as it was a moment ago: what it learned since the last checkpoint is not lost with the data.
      if (this.#saved?.step !== index && index > 0 && this.#canSave) await this.#checkpoint();
      throw error;
    });
    const { batch } = given;
    const { samples, waitedSeconds } = this.team.alone ? given : await this.#agree(given);
    if (!this.team.alone && (this.#stopping || this.#ended !== undefined)) return false;
    if (samples === 0) {
      this.events.emit({
        event: 'warning',
        message: `step ${index + 1}: no process has an image for it; it is left out`,
      });
      this.#at += 1;
      return true;
    }
    const learning_rate = learningRate(index, steps, rate);
    const step = this.task.step(index, batch, learning_rate).catch((error: unknown): Values => {
      if (!(error instanceof DrmError && error.code === 'NOT_FINITE')) throw error;
      return { [error.details.name ?? 'loss']: Number(error.details.found) };
    });
    const values = this.team.alone ? await this.#unlessStopped(step) : await step;
    if (values === STOPPED) return false;
    this.#at += 1;
    const bad = ['reward', 'loss', 'grad_norm'].find((name) => name in values && !Number.isFinite(values[name]));
    if (bad) this.#skip(bad, values[bad]);
    this.#meter.add(bad ? {} : { ...values, learning_rate }, samples, waitedSeconds);
    if (this.#at % logEvery !== 0 && this.#at !== steps) return true;
    const { means, seconds, stepSeconds, secondsPerStep } = this.#meter.take(this.data.unit);
    if (this.#skipped > 0) means.skipped = this.#skipped;
    this.events.emit({
      event: 'metric',
      step: this.#at,
      total: steps,
      seconds,
      step_seconds: stepSeconds,
      seconds_left: secondsPerStep * (steps - this.#at),
      values: means,
    });
    return true;
  }

  /** Before a step: what it is made of in all, and whether there shall be one. */
  async #agree({ samples, waitedSeconds }: { samples: number; waitedSeconds: number }) {
    const { team } = this;
    const words = await team.exchange<Word>({
      ...{ samples, waitedSeconds, stop: this.signal.aborted, late: this.#late },
      ...(this.#wish !== undefined && { ended: this.#wish }),
      warnings: team.takeWarnings(),
    });
    this.#agreed = { stop: words.some(({ stop }) => stop), late: words[0]?.late === true };
    this.#ended = words[0]?.ended;
    for (const message of words.flatMap(({ warnings }) => warnings)) this.events.emit({ event: 'warning', message });
    return {
      samples: words.reduce((sum, word) => sum + word.samples, 0),
      waitedSeconds: Math.max(...words.map((word) => word.waitedSeconds)), // the others wait for the slowest
    };
  }

  /** Another process is gone in the middle of a step, which has changed nothing yet. */
  async #bereaved(error: DrmError): Promise<DrmError> {
    if (!this.team.first) return error;
    const keep = this.#canSave && this.#at > 0 && this.#saved?.step !== this.#at;
    // What is wrong with the disk, too, is less to know than that the process is gone.
    if (keep) await this.#checkpoint().catch(() => {});
    return new DrmError(
      error.code,
      `${error.message}\n${this.#lastGood()}\ngo on with: ${this.options.resumeCommand}`,
      { ...error.details, step: String(this.#at), checkpoint: this.#saved?.path ?? '' },
      { cause: error },
    );
  }

  /** Throws when no more steps may be skipped. */
  #skip(name: string, value: number | undefined): void {
    const { skipNotFinite, resumeCommand } = this.options;
    const what = `step ${this.#at}: ${name} is ${value}`;
    if (this.#skipped >= skipNotFinite)
      throw new DrmError(
        'NOT_FINITE',
        `[train] ${what}${skipNotFinite > 0 ? `, after ${this.#skipped} skipped steps` : ''}; ${this.#lastGood()}. ${name === 'reward' ? 'See whether the reward can score such images' : 'Lower the learning rate or clip gradients harder in a new run'}, or let such steps be skipped: ${resumeCommand} --set skip_not_finite=${skipNotFinite + 10}`,
        { step: String(this.#at), name, found: String(value), checkpoint: this.#saved?.path ?? '' },
      );
    this.#skipped += 1;
    this.events.emit({
      event: 'warning',
      message: `${what}; the step is skipped (${this.#skipped} of ${skipNotFinite} that may be)`,
    });
  }

  #lastGood(): string {
    return this.#saved
      ? `the last good checkpoint is ${this.#saved.path}`
      : 'no checkpoint had been written yet, so the run would begin anew';
  }

  #due(every: number): boolean {
    return every > 0 && (this.#at % every === 0 || this.#at === this.options.steps || this.#wish !== undefined);
  }

  #checkpointDue(): boolean {
    return this.#due(this.options.checkpointEvery) || (this.team.alone ? this.#late : this.#agreed.late);
  }

  get #late(): boolean {
    const { checkpointMinutes } = this.options;
    const since = performance.now() - (this.#saved?.time ?? this.#meter.startedAt);
    return checkpointMinutes > 0 && since >= checkpointMinutes * 60_000;
  }

  /** Evaluation and images. After a signal they wait for the resumed run. */
  async #payOwed(): Promise<void> {
    const { task, signal } = this;
    if (this.#owed.evaluation && task.evaluate && !signal.aborted) {
      const values = await this.#unlessStopped(task.evaluate(this.#at, signal));
      if (values === STOPPED) return;
      this.events.emit({ event: 'evaluation', step: this.#at, values });
      this.#owed.evaluation = false;
      await setImmediate();
    }
    if (this.#owed.preview && task.preview && !signal.aborted) {
      const paths = await this.#unlessStopped(task.preview(this.#at, await this.run.samples(this.#at), signal));
      if (paths === STOPPED) return;
      this.events.emit({ event: 'sample_sheet', step: this.#at, paths });
      this.#owed.preview = false;
      await setImmediate();
    }
  }

  async #unlessStopped<T>(work: Promise<T>): Promise<T | typeof STOPPED> {
    try {
      return await work;
    } catch (error) {
      if (this.signal.aborted && error instanceof DrmError && error.code === 'CANCELLED') return STOPPED;
      throw error;
    }
  }

  async #finish(): Promise<Record<string, string | number>> {
    if (!this.task.finish || !this.team.first) return {};
    const why =
      this.#ended === undefined ? `all ${this.#at} steps are done` : `ended after step ${this.#at}: ${this.#ended}`;
    this.events.emit({ event: 'info', message: `${why}; finishing` });
    const facts = await this.#unlessStopped(this.task.finish(this.run.folder, this.signal)).catch((error: unknown) => {
      // Node's own word, of a file that could not be copied.
      if (!(error as NodeJS.ErrnoException).syscall) throw error;
      throw diskError(this.run.folder, error, `, then have the result written with: ${this.options.resumeCommand}`);
    });
    return facts === STOPPED ? this.#interrupted() : facts;
  }

  async #checkpoint(): Promise<void> {
    const step = this.#at;
    const state: LoopState = {
      skipped: this.#skipped,
      meter: this.#meter.state(),
      owed: this.#owed,
      ...(this.team.alone ? {} : { processes: this.team.size }),
    };
    try {
      const path = await this.run.checkpoint(step, { ...state }, (folder) => this.task.save(folder));
      this.#saved = { step, path, time: performance.now() };
    } catch (error) {
      if (!(error instanceof DrmError)) throw error;
      throw new DrmError(
        error.code,
        `${error.message}\n${this.#saved ? `the checkpoint of step ${this.#saved.step} is intact; then go on from it with: ${this.options.resumeCommand}` : this.#lastGood()}`,
        { ...error.details, step: String(step), checkpoint: this.#saved?.path ?? '' },
        { cause: error },
      );
    }
    this.events.emit({ event: 'checkpoint', step, path: this.#saved.path });
    await this.run.checkpoints.prune(this.options.keep, step);
  }

  async #interrupted(): Promise<never> {
    if (this.#at > 0 && this.#saved?.step !== this.#at) await this.#checkpoint();
    await this.team.meet();
    const { steps, resumeCommand } = this.options;
    throw new DrmError(
      'CANCELLED',
      `stopped after step ${this.#at} of ${steps}${this.#last ? ', before the end was written' : ''}; ${this.#saved ? `the checkpoint is ${this.#saved.path}` : 'nothing was learned yet'}\ngo on with: ${resumeCommand}`,
      { step: String(this.#at), checkpoint: this.#saved?.path ?? '', resume: resumeCommand },
    );
  }
}

/** The command line that goes on with this run: the one that was typed, with --resume and the run's folder. */
export function resumeCommand(typed: readonly string[], folder: string): string {
  const words = [...typed];
  if (!words.some((word) => word === '--out' || word.startsWith('--out='))) words.push('--out', folder);
  if (!words.includes('--resume')) words.push('--resume');
  return commandLine(words);
}
