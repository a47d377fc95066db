// The training loop of every task: what happens at each step and in what order, and what survives an interruption.
//
// A step's work is a function of the run's seed, the step's index and the task's own state. So a checkpoint is the task's
// state and a number of steps, and a resumed run computes what the uninterrupted one would have.
import { setImmediate } from 'node:timers/promises';
import { DrmError } from '../../binding/error.js';
import { errorEvent } from '../common/errors.js';
import type { Events } from '../common/events.js';
import { diskError } from '../common/files.js';
import type { LoopRun } from '../parallel/follower.js';
import { Team } from '../parallel/team.js';
import { Agreement } from './agreement.js';
import { LoopCheckpoints, type LoopState } from './loop_checkpoints.js';
import { Meter } from './meter.js';
import { learningRate } from './rate.js';
import { SkippedSteps } from './skipped_steps.js';
import type { TrainingData, TrainingOptions, TrainingSummary, TrainingTask, Values } from './training_task.js';

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
  /** What is to be done before the next step. */
  #pending = { evaluation: false, preview: false };
  #meter = new Meter();
  readonly #saved: LoopCheckpoints;
  readonly #skipped: SkippedSteps;
  readonly #agreement: Agreement;

  constructor(
    private readonly task: TrainingTask<Batch>,
    private readonly data: TrainingData<Batch>,
    private readonly run: LoopRun,
    private readonly options: TrainingOptions,
    private readonly events: Events,
    private readonly signal: AbortSignal,
    private readonly team: Team,
  ) {
    this.#saved = new LoopCheckpoints(run, task, options, events);
    this.#skipped = new SkippedSteps(options, events);
    this.#agreement = new Agreement(team, signal, events);
  }

  async toTheEnd(): Promise<TrainingSummary> {
    try {
      return await this.#toTheEnd();
    } catch (error) {
      throw error instanceof DrmError && error.code === 'PEER_LOST' ? await this.#afterPeerLost(error) : error;
    }
  }

  async #toTheEnd(): Promise<TrainingSummary> {
    await this.#begin();
    this.#meter.start();
    await this.#evaluateAndPreview();
    this.#agreement.askForEnd(this.task);
    while (!this.#last && !this.#agreement.stopping) {
      if (!(await this.#step())) break;
      // Promises alone never let signals in or the terminal be drawn.
      await setImmediate();
      this.#agreement.askForEnd(this.task);
      this.#pending = this.#pendingNow();
      await this.#evaluateAndPreview();
      this.#agreement.askForEnd(this.task);
      if (this.#checkpointDue()) await this.#checkpoint();
    }
    if (!this.#last || this.#pending.evaluation || this.#pending.preview) await this.#interrupted();
    if (this.#saved.step !== this.#at) await this.#checkpoint();
    await this.team.meet();
    const facts = { ...(await this.#finish()), ...this.data.facts?.() };
    const summary = {
      steps: this.#at,
      samples: this.#meter.samples,
      seconds: this.#meter.seconds(),
      checkpoint: this.#saved.path,
      facts,
    };
    this.events.emit({
      event: 'done',
      seconds: summary.seconds,
      facts: {
        steps: this.#at,
        ...(this.#agreement.ended !== undefined && { ended: this.#agreement.ended }),
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
      if (this.options.evaluateFirst) this.#pending = this.#pendingNow();
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
    this.#skipped.count = state.skipped;
    if (this.team.first) this.#pending = state.owed;
    this.#meter.restore(state.meter);
    this.#saved.resumed(from.step, from.folder);
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
    return this.#at === this.options.steps || this.#agreement.ended !== undefined;
  }

  #pendingNow(): { evaluation: boolean; preview: boolean } {
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

  /** False when the team has agreed to stop instead. */
  async #step(): Promise<boolean> {
    const { steps, rate, logEvery } = this.options;
    const index = this.#at;
    this.#meter.begin();
    const given = await this.data.next(index).catch(async (error: unknown) => {
      // The model is as good as it was a moment ago: what it learned since the last checkpoint is not lost with the data.
      if (this.#saved.step !== index && index > 0 && this.#canSave) await this.#checkpoint();
      throw error;
    });
    const { batch } = given;
    const { samples, waitedSeconds } = this.team.alone ? given : await this.#agreement.onStep(given, this.#late);
    if (!this.team.alone && (this.#agreement.stopping || this.#agreement.ended !== undefined)) return false;
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
    if (bad) this.#skipped.add(this.#at, bad, values[bad], this.#saved);
    this.#meter.add(bad ? {} : { ...values, learning_rate }, samples, waitedSeconds);
    if (this.#at % logEvery !== 0 && this.#at !== steps) return true;
    const { means, seconds, stepSeconds, secondsPerStep } = this.#meter.take(this.data.unit);
    if (this.#skipped.count > 0) means.skipped = this.#skipped.count;
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

  /** Another process is gone in the middle of a step, which has changed nothing yet. */
  async #afterPeerLost(error: DrmError): Promise<DrmError> {
    if (!this.team.first) return error;
    const keep = this.#canSave && this.#at > 0 && this.#saved.step !== this.#at;
    // What is wrong with the disk, too, is less to know than that the process is gone.
    if (keep) await this.#checkpoint().catch(() => {});
    return new DrmError(
      error.code,
      `${error.message}\n${this.#saved.lastGood}\ngo on with: ${this.options.resumeCommand}`,
      { ...error.details, step: String(this.#at), checkpoint: this.#saved.path },
      { cause: error },
    );
  }

  #due(every: number): boolean {
    return every > 0 && (this.#at % every === 0 || this.#at === this.options.steps || this.#agreement.endWanted);
  }

  /** Whether by this process's clock a checkpoint is due. */
  get #late(): boolean {
    return this.#saved.isLate(this.#meter.startedAt);
  }

  #checkpointDue(): boolean {
    return this.#due(this.options.checkpointEvery) || this.#agreement.isLate(() => this.#late);
  }

  /** Evaluation and images. After a signal they wait for the resumed run. */
  async #evaluateAndPreview(): Promise<void> {
    const { task, signal } = this;
    if (this.#pending.evaluation && task.evaluate && !signal.aborted) {
      const values = await this.#unlessStopped(task.evaluate(this.#at, signal));
      if (values === STOPPED) return;
      this.events.emit({ event: 'evaluation', step: this.#at, values });
      this.#pending.evaluation = false;
      await setImmediate();
    }
    if (this.#pending.preview && task.preview && !signal.aborted) {
      const paths = await this.#unlessStopped(task.preview(this.#at, await this.run.samples(this.#at), signal));
      if (paths === STOPPED) return;
      this.events.emit({ event: 'sample_sheet', step: this.#at, paths });
      this.#pending.preview = false;
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
      this.#agreement.ended === undefined
        ? `all ${this.#at} steps are done`
        : `ended after step ${this.#at}: ${this.#agreement.ended}`;
    this.events.emit({ event: 'info', message: `${why}; finishing` });
    const facts = await this.#unlessStopped(this.task.finish(this.run.folder, this.signal)).catch((error: unknown) => {
      // Node's own word, of a file that could not be copied.
      if (!(error as NodeJS.ErrnoException).syscall) throw error;
      throw diskError(this.run.folder, error, `, then have the result written with: ${this.options.resumeCommand}`);
    });
    return facts === STOPPED ? this.#interrupted() : facts;
  }

  async #checkpoint(): Promise<void> {
    await this.#saved.write(this.#at, {
      skipped: this.#skipped.count,
      meter: this.#meter.state(),
      owed: this.#pending,
      ...(this.team.alone ? {} : { processes: this.team.size }),
    });
  }

  async #interrupted(): Promise<never> {
    if (this.#at > 0 && this.#saved.step !== this.#at) await this.#checkpoint();
    await this.team.meet();
    const { steps, resumeCommand } = this.options;
    throw new DrmError(
      'CANCELLED',
      `stopped after step ${this.#at} of ${steps}${this.#last ? ', before the end was written' : ''}; ${this.#saved.step !== undefined ? `the checkpoint is ${this.#saved.path}` : 'nothing was learned yet'}\ngo on with: ${resumeCommand}`,
      { step: String(this.#at), checkpoint: this.#saved.path, resume: resumeCommand },
    );
  }
}
