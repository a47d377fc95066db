// What the processes of a team agree on before each step: how many samples it has, whether there shall be one, whether a
// checkpoint is due. A process alone agrees with itself at once.
import type { Events } from '../common/events.js';
import type { Team } from '../parallel/team.js';

/** What a process tells the others before each step. */
interface Proposal {
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

export class Agreement {
  #agreed = { stop: false, late: false };
  /** Why the task wants to end before all steps are done, and what the team has agreed on. */
  #wish: string | undefined;
  #ended: string | undefined;

  constructor(
    private readonly team: Team,
    private readonly signal: AbortSignal,
    private readonly events: Events,
  ) {}

  /** Why the training ends before all steps are done, once all know. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Whether this process's task wants to end. */
  get endWanted(): boolean {
    return this.#wish !== undefined;
  }

  get stopping(): boolean {
    return this.team.alone ? this.signal.aborted : this.#agreed.stop;
  }

  /** The first process's task decides; the others hear of it before the next step. */
  askForEnd(task: { ended?(): string | undefined }): void {
    if (this.team.first) this.#wish ??= task.ended?.();
    if (this.team.alone) this.#ended = this.#wish;
  }

  /** Whether a checkpoint is due by the clock: that of the first process counts. */
  isLate(own: () => boolean): boolean {
    return this.team.alone ? own() : this.#agreed.late;
  }

  /** Before a step: what it is made of in all, and whether there shall be one. Throws DrmError PEER_LOST. */
  async onStep({ samples, waitedSeconds }: { samples: number; waitedSeconds: number }, late: boolean) {
    const { team } = this;
    const proposals = await team.exchange<Proposal>({
      ...{ samples, waitedSeconds, stop: this.signal.aborted, late },
      ...(this.#wish !== undefined && { ended: this.#wish }),
      warnings: team.takeWarnings(),
    });
    this.#agreed = { stop: proposals.some(({ stop }) => stop), late: proposals[0]?.late === true };
    this.#ended = proposals[0]?.ended;
    for (const message of proposals.flatMap(({ warnings }) => warnings))
      this.events.emit({ event: 'warning', message });
    return {
      samples: proposals.reduce((sum, proposal) => sum + proposal.samples, 0),
      waitedSeconds: Math.max(...proposals.map((proposal) => proposal.waitedSeconds)), // the others wait for the slowest
    };
  }
}
