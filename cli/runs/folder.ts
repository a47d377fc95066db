// A run is a folder: config.json (all settings), metrics.jsonl, checkpoints/<step>/, samples/<step>/, run.lock while at work.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DrmError } from '../../binding/error.js';
import type { Event, Events } from '../common/events.js';
import { diskError, prepareFolder, sweepUnfinished, syncFolder, writeAtomically } from '../common/files.js';
import { readShaped } from '../common/json.js';
import { anything, count, listOf, mapOf, objectOf, optional, type Shape, text } from '../common/shape.js';
import { VERSION } from '../common/version.js';
import { type Checkpoint, Checkpoints } from './checkpoints.js';
import { LOCK_FILE, RunLock } from './lock.js';
import { cutMetrics, METRICS_FILE, MetricsWriter, readMetrics } from './metrics.js';

const CONFIG_FILE = 'config.json';

export type RunSettings = Readonly<Record<string, unknown>>;

export interface RunConfig {
  task: string;
  /** The version that wrote this file. */
  drm: string;
  /** ISO 8601. */
  created: string;
  /** Fully resolved. */
  settings: RunSettings;
  /** Of the settings; each checkpoint holds it. */
  settings_hash: string;
  /** Every time the run was taken up again, with the settings that changed: [before, after]. */
  resumed: { time: string; step: number; drm: string; settings_hash: string; changed: Record<string, unknown[]> }[];
}

export interface RunRequest {
  folder: string;
  /** Names the command: 'pretrain flow', 'train', 'grpo'. */
  task: string;
  settings: RunSettings;
  /** Go on with the run that is there, instead of asking for a new folder. */
  resume: boolean;
  /** Keys of settings that a resumed run may change: what does not reach the numbers, and the number of steps. */
  mayDiffer: readonly string[];
}

const show = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value));

/** Equal settings have equal hashes, in whatever order their keys are. */
export function settingsHash(settings: RunSettings): string {
  const sorted = Object.fromEntries(Object.entries(settings).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}

const RUN_CONFIG = objectOf<RunConfig>({
  task: text,
  drm: text,
  created: text,
  settings: mapOf(anything),
  settings_hash: text,
  // Of other versions, which said less.
  resumed: listOf(
    objectOf({
      time: optional(text),
      step: optional(count),
      drm: optional(text),
      settings_hash: optional(text),
      changed: optional(mapOf(anything)),
    }),
  ) as Shape<RunConfig['resumed']>,
});

/** A run's config.json. Throws DrmError BAD_FILE. */
export async function readRunConfig(folder: string): Promise<RunConfig> {
  const file = join(folder, CONFIG_FILE);
  if (!existsSync(file))
    throw new DrmError(
      'BAD_FILE',
      `[run] ${file}: expected the config.json of a run of drm, found no such file; check the folder, or start a run in it without --resume`,
      { file },
    );
  return readShaped(file, RUN_CONFIG, { part: 'run', expected: 'the config.json of a run of drm' });
}

/** What is asked for against what the run was started with. Throws DrmError BAD_CONFIG naming every refused key. */
function compare(folder: string, before: RunConfig, request: RunRequest) {
  if (before.task !== request.task)
    throw new DrmError(
      'BAD_CONFIG',
      `[resume] ${folder}: expected a run of drm ${request.task}, found one of drm ${before.task}`,
      { folder, expected: request.task, found: before.task },
    );
  const changed: Record<string, unknown[]> = {};
  const refused: string[] = [];
  const warnings: string[] = [];
  for (const key of new Set([...Object.keys(before.settings), ...Object.keys(request.settings)])) {
    const [old, asked] = [before.settings[key], request.settings[key]];
    if (isDeepStrictEqual(old, asked)) continue;
    changed[key] = [old ?? null, asked ?? null];
    // Another version of drm may have settings that this run never heard of, or have lost some.
    if (old === undefined || asked === undefined)
      warnings.push(
        `the run was started by drm ${before.drm} with ${key} ${show(old)}, this is drm ${VERSION} with ${show(asked)}`,
      );
    else if (!request.mayDiffer.includes(key)) refused.push(key);
  }
  if (refused.length > 0) {
    const list = refused.map((key) => `${key} (was ${show(before.settings[key])}, now ${show(request.settings[key])})`);
    throw new DrmError(
      'BAD_CONFIG',
      `[resume] ${folder}: these settings cannot change in the middle of a run: ${list.join(', ')}; give them their old values, or start a new run with another --out${request.mayDiffer.length > 0 ? ` (may change: ${request.mayDiffer.join(', ')})` : ''}`,
      { folder, keys: refused.join(', ') },
    );
  }
  return { changed, warnings };
}

/** Whether all there is comes from a run that ended before its first step: a wrong path, no memory. Nothing is lost with it. */
async function tookNoStep(folder: string, present: readonly string[]): Promise<boolean> {
  if (!present.every((name) => [CONFIG_FILE, METRICS_FILE, 'checkpoints', 'samples'].includes(name))) return false;
  for (const name of ['checkpoints', 'samples'])
    if (present.includes(name) && (await readdir(join(folder, name))).length > 0) return false;
  if (present.includes(METRICS_FILE))
    for await (const event of readMetrics(join(folder, METRICS_FILE))) if (event.event === 'metric') return false;
  return readRunConfig(folder).then(
    () => true,
    () => false, // another program's config.json
  );
}

async function write(folder: string, config: RunConfig): Promise<void> {
  await writeAtomically(join(folder, CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
  await syncFolder(folder);
}

export class Run {
  private constructor(
    readonly folder: string,
    readonly config: RunConfig,
    readonly checkpoints: Checkpoints,
    /** Where to go on from; undefined at the beginning. */
    readonly from: Checkpoint | undefined,
    /** What the user should know about the folder as it was found. */
    readonly warnings: readonly string[],
    private readonly lock: RunLock,
    private readonly metrics: MetricsWriter,
  ) {}

  /** Starts a run in a new or empty folder, or takes one up again. Throws DrmError BAD_REQUEST, BAD_CONFIG, BAD_FILE, DISK. */
  static async open(request: RunRequest): Promise<Run> {
    const { folder, resume } = request;
    if (resume) await readRunConfig(folder);
    else await prepareFolder(folder);
    const lock = await RunLock.take(folder);
    try {
      return await (resume ? Run.#resume(request, lock) : Run.#create(request, lock));
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  static async #create({ folder, task, settings }: RunRequest, lock: RunLock): Promise<Run> {
    const present = (await readdir(folder)).filter((name) => name !== LOCK_FILE && !name.startsWith('.'));
    if (present.length > 0 && !(await tookNoStep(folder, present))) {
      const run = await readRunConfig(folder).catch(() => undefined);
      throw new DrmError(
        'BAD_REQUEST',
        `[run] ${folder}: expected a new or empty folder, found ${run ? `a run of drm ${run.task}; go on with it by --resume, or` : `${present.slice(0, 3).join(', ')}${present.length > 3 ? ', …' : ''};`} name another with --out`,
        { folder },
      );
    }
    const hash = settingsHash(settings);
    const config: RunConfig = {
      task,
      drm: VERSION,
      created: new Date().toISOString(),
      settings,
      settings_hash: hash,
      resumed: [],
    };
    if (present.includes(METRICS_FILE)) await cutMetrics(join(folder, METRICS_FILE), -1);
    await write(folder, config);
    return Run.#finishOpening(folder, config, hash, undefined, [], lock);
  }

  static async #resume(request: RunRequest, lock: RunLock): Promise<Run> {
    const { folder, settings } = request;
    const before = await readRunConfig(folder);
    const { changed, warnings } = compare(folder, before, request);
    const hash = settingsHash(settings);
    const checkpoints = new Checkpoints(join(folder, 'checkpoints'), hash);
    const { checkpoint, refused } = await checkpoints.latest();
    if (!checkpoint && refused[0]) throw refused[0];
    for (const error of refused)
      warnings.push(`${error.message} (the run goes on from step ${checkpoint?.step} instead)`);
    if (!checkpoint) warnings.push(`${folder}: the run had not written a checkpoint yet; it begins anew`);
    const known = [before.settings_hash, ...before.resumed.map((r) => r.settings_hash)];
    if (checkpoint && !known.includes(checkpoint.settingsHash))
      throw new DrmError(
        'BAD_FILE',
        `[resume] ${checkpoint.folder}: expected a checkpoint of this run, found one of other settings; was it copied here?`,
        { folder: checkpoint.folder },
      );
    const step = checkpoint?.step ?? 0;
    const again = { time: new Date().toISOString(), step, drm: VERSION, settings_hash: hash, changed };
    // Its own hash stays the first in `resumed`'s past: old checkpoints carry it.
    const config = { ...before, settings, resumed: [...before.resumed, again] };
    // A run that begins anew has said nothing yet.
    if (existsSync(join(folder, METRICS_FILE))) await cutMetrics(join(folder, METRICS_FILE), checkpoint ? step : -1);
    await write(folder, config);
    return Run.#finishOpening(folder, config, hash, checkpoint, warnings, lock);
  }

  static async #finishOpening(
    folder: string,
    config: RunConfig,
    hash: string,
    from: Checkpoint | undefined,
    warnings: string[],
    lock: RunLock,
  ): Promise<Run> {
    const checkpoints = new Checkpoints(join(folder, 'checkpoints'), hash);
    for (const name of ['checkpoints', 'samples'])
      await mkdir(join(folder, name), { recursive: true }).catch((error: unknown) => {
        throw diskError(join(folder, name), error);
      });
    await checkpoints.sweep();
    await sweepUnfinished(folder, [CONFIG_FILE]);
    return new Run(folder, config, checkpoints, from, warnings, lock, new MetricsWriter(join(folder, METRICS_FILE)));
  }

  /** Events that go to the user and into metrics.jsonl. */
  recording(events: Events): Events {
    return {
      emit: (event: Event) => {
        this.metrics.append(event);
        events.emit(event);
      },
    };
  }

  /** Into metrics.jsonl alone. */
  record(event: Event): void {
    this.metrics.append(event);
  }

  /** samples/<step>, made. */
  async samples(step: number): Promise<string> {
    const folder = join(this.folder, 'samples', String(step));
    try {
      await mkdir(folder, { recursive: true });
    } catch (error) {
      throw diskError(folder, error);
    }
    return folder;
  }

  /** Writes checkpoints/<step>. What metrics.jsonl says up to here is on disk before the checkpoint is. */
  async checkpoint(
    step: number,
    state: Record<string, unknown>,
    fill: (folder: string) => Promise<void>,
  ): Promise<string> {
    return this.checkpoints.write(step, state, fill, async () => {
      this.metrics.sync();
      if (!(await this.lock.holds()))
        throw new DrmError(
          'BAD_REQUEST',
          `[run] ${this.folder}: expected to be alone in it, found that another process has taken it over; this one stops`,
          { folder: this.folder },
        );
    });
  }

  async close(): Promise<void> {
    this.metrics.close();
    await this.lock.release();
  }
}
