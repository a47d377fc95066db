// The processes that train one model, as seen by one of them: its place, its part of every batch, and what all must agree on.
import { isDeepStrictEqual } from 'node:util';
import { DrmError } from '../../binding/error.js';
import type { ProcessGroup } from '../../binding/index.js';
import type { Event, Events } from '../common/events.js';
import type { Rank } from './rank.js';

export class Team {
  /** A process alone. */
  static readonly solo = new Team(undefined, undefined, undefined);

  readonly #warnings: string[] = [];
  readonly #told = new Set<string>();
  readonly #gone = new AbortController();
  readonly #watched = new AbortController();
  #peerFailure: DrmError | undefined;
  #met = false;

  private constructor(
    /** For Trainer.create. */
    readonly group: ProcessGroup | undefined,
    private readonly place: Rank | undefined,
    private readonly user: AbortSignal | undefined,
  ) {}

  /** Waits for the others. Throws DrmError PEER_LOST, DEVICE, CANCELLED. */
  static async join(place: Rank, signal: AbortSignal): Promise<Team> {
    process.env.TORCH_CPP_LOG_LEVEL ??= 'ERROR'; // read when the addon is loaded; what ends us is said in our words
    const { ProcessGroup } = await import('../../binding/index.js');
    const group = await ProcessGroup.join(place, { signal });
    const team = new Team(group, place, signal);
    group.watch({ signal: team.#watched.signal }).catch((error: unknown) => {
      if (team.#watched.signal.aborted || !(error instanceof DrmError)) return;
      team.#peerFailure = error;
      team.#gone.abort(error);
    });
    return team;
  }

  get rank(): number {
    return this.place?.rank ?? 0;
  }
  get size(): number {
    return this.place?.size ?? 1;
  }
  get localRank(): number {
    return this.place?.localRank ?? 0;
  }
  get localSize(): number {
    return this.place?.localSize ?? 1;
  }
  /** The one that writes the run and talks to the user. */
  get first(): boolean {
    return this.rank === 0;
  }
  get alone(): boolean {
    return this.group === undefined;
  }
  /** Why another process is gone, once one is. */
  get peerFailure(): DrmError | undefined {
    return this.#peerFailure;
  }

  /** The user's signal, which also comes when another process is gone: long work of this one alone ends then. */
  get signal(): AbortSignal {
    if (!this.user) throw new DrmError('INTERNAL', '[parallel] a process alone has no signal of its own');
    return AbortSignal.any([this.user, this.#gone.signal]);
  }

  /** This process's part of what all share; the parts' sizes differ by one at most. */
  part<T>(all: readonly T[]): T[] {
    const edge = (rank: number) => Math.floor((all.length * rank) / this.size);
    return all.slice(edge(this.rank), edge(this.rank + 1));
  }

  /** What each process says, by rank. All must come here, in the same order. Throws DrmError PEER_LOST. */
  async exchange<T>(value: T): Promise<T[]> {
    if (!this.group) return [value];
    return (await this.group.exchange(JSON.stringify(value ?? null))).map((text) => JSON.parse(text) as T);
  }

  /** What the first process makes, for all of them. */
  async fromFirst<T>(make: () => Promise<T>): Promise<T> {
    return (await this.exchange(this.first ? await make() : undefined))[0] as T;
  }

  /** Throws DrmError BAD_CONFIG where this process was started with other settings than the first. */
  async sameSettings(settings: object): Promise<void> {
    // By way of JSON, as the first one's come.
    const own = JSON.parse(JSON.stringify(settings)) as Record<string, unknown>;
    const first = await this.fromFirst(async () => own);
    const all = new Set([...Object.keys(first), ...Object.keys(own)]);
    const keys = [...all].filter((key) => !isDeepStrictEqual(first[key], own[key]));
    const show = (of: Record<string, unknown>) => keys.map((key) => JSON.stringify(of[key]) ?? 'nothing').join(', ');
    if (keys.length > 0)
      throw new DrmError(
        'BAD_CONFIG',
        `[parallel] ${keys.join(', ')}: expected the settings of rank 0 (${show(first)}), found ${show(own)}; start all processes with the same command`,
        { keys: keys.join(', ') },
      );
  }

  /** Events of this process: the first one's are shown; of the others' only warnings are, by way of the first. */
  events(events: Events): Events {
    if (this.alone) return events;
    return {
      emit: (event: Event) => {
        if (event.event === 'warning') {
          if (this.#told.has(event.message)) return;
          this.#told.add(event.message);
          if (!this.first) this.#warnings.push(event.message);
        }
        if (this.first) events.emit(event);
      },
    };
  }

  /** Warnings since the last call, to be exchanged. */
  takeWarnings(): string[] {
    return this.#warnings.splice(0);
  }

  /** The end of what all do together: whoever goes from here on is not missed. */
  async meet(): Promise<void> {
    if (this.alone || this.#met) return;
    this.#met = true;
    await this.exchange('met');
    this.#watched.abort();
  }

  /** Tells the others that this process ends, by this error or well. */
  async leave(error?: unknown): Promise<void> {
    if (!this.group) return;
    const said = { code: error instanceof DrmError ? error.code : 'INTERNAL', message: firstLine(error) };
    await this.group.leave(error === undefined || this.#met ? undefined : said);
    this.#watched.abort();
  }
}

const firstLine = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
