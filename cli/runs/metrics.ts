// metrics.jsonl: one event a line, in the order of the steps, each step once. The dashboard and the report read only this.
import { closeSync, createReadStream, fsyncSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { DrmError } from '../../binding/error.js';
import type { Event } from '../common/events.js';
import { diskError } from '../common/files.js';

export const METRICS_FILE = 'metrics.jsonl';

/** `time` is in seconds since 1970. JSON has no NaN: a figure that was not finite is null. */
export type LoggedEvent = Event & { time: number };

/** Not kept: what only a terminal wants. */
const TRANSIENT = new Set<Event['event']>(['progress', 'preview', 'image']);

export class MetricsWriter {
  #file: number;
  #size: number;

  constructor(private readonly path: string) {
    try {
      this.#file = openSync(path, 'a');
      this.#size = statSync(path).size;
    } catch (error) {
      throw diskError(path, error);
    }
  }

  /** Throws DrmError DISK; the file then ends with the last whole line. */
  append(event: Event): void {
    if (TRANSIENT.has(event.event)) return;
    const line = Buffer.from(`${JSON.stringify({ ...event, time: Date.now() / 1000 })}\n`);
    try {
      for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
      this.#size += line.length;
    } catch (error) {
      try {
        ftruncateSync(this.#file, this.#size);
      } catch {} // reading and resuming pass over a torn last line
      throw diskError(this.path, error);
    }
  }

  /** Everything appended is on disk. */
  sync(): void {
    try {
      fsyncSync(this.#file);
    } catch (error) {
      throw diskError(this.path, error);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

interface RawLine {
  text: string;
  /** Bytes before it. */
  at: number;
  /** False for what a killed process left of its last line. */
  whole: boolean;
}

async function* linesOf(path: string): AsyncGenerator<RawLine> {
  let rest = Buffer.alloc(0);
  let at = 0;
  for await (const part of createReadStream(path)) {
    let bytes = Buffer.concat([rest, part as Buffer]);
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      yield { text: bytes.toString('utf8', 0, end), at, whole: true };
      at += end + 1;
      bytes = bytes.subarray(end + 1);
    }
    rest = bytes;
  }
  if (rest.length > 0) yield { text: rest.toString('utf8'), at, whole: false };
}

function parse(text: string): LoggedEvent | undefined {
  try {
    const event = JSON.parse(text) as LoggedEvent;
    return typeof event === 'object' && event !== null && typeof event.event === 'string' ? event : undefined;
  } catch {
    return undefined;
  }
}

const stepOf = (event: Event | undefined): number => (event && 'step' in event ? event.step : 0);

/**
 * The events of a run folder's metrics.jsonl, also while the run is being written. A line that cannot be read is passed
 * over and told to `onBadLine` (line numbers from 1); an unfinished last line is not one.
 */
export async function* readMetrics(path: string, onBadLine?: (line: number) => void): AsyncGenerator<LoggedEvent> {
  let number = 0;
  try {
    for await (const { text, whole } of linesOf(path)) {
      number += 1;
      if (!whole) return;
      const event = parse(text);
      if (event) yield event;
      else onBadLine?.(number);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw new DrmError('BAD_FILE', `[metrics] ${path}: cannot be read: ${(error as Error).message}`, { file: path });
  }
}

/**
 * Cuts the stream back to what had been said when the checkpoint of `step` was written: all after that checkpoint's own
 * line goes or, where it was killed before it could say so, the first event of a later step and all after it. So does an
 * unfinished last line. Before step 0 there is nothing: -1 cuts all. Returns the number of lines cut.
 */
export async function cutMetrics(path: string, step: number): Promise<number> {
  let cut: number | undefined;
  let sinceCut = 0;
  let afterCheckpoint: number | undefined;
  let sinceCheckpoint = 0;
  for await (const { text, at, whole } of linesOf(path)) {
    const event = parse(text);
    if (afterCheckpoint === undefined && whole && event?.event === 'checkpoint' && event.step === step)
      afterCheckpoint = at + Buffer.byteLength(text) + 1;
    else if (afterCheckpoint !== undefined) sinceCheckpoint += 1;
    if (cut === undefined && (!whole || stepOf(event) > step)) cut = at;
    if (cut !== undefined) sinceCut += 1;
  }
  const to = afterCheckpoint ?? cut;
  if (to !== undefined) await truncate(path, to).catch((error: unknown) => Promise.reject(diskError(path, error)));
  return afterCheckpoint !== undefined ? sinceCheckpoint : sinceCut;
}
