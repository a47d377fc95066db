// What the tests of `drm train` share: small sets of pairs, quick settings, the command in the test's own process.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../cli/commands/train.js';
import type { Event } from '../../cli/common/events.js';
import { type Pair, pairSource } from '../../cli/data/prepared/pair.js';
import { prepare } from '../../cli/data/prepared/prepare.js';
import { pngOf } from '../data/images.js';
import { fixture, type RunOptions, runDrm } from '../run_drm.js';
import { refusedHere, runHere } from './here.js';

/** `train` pairs and `test` pairs of 40 × 32 images, every image in one pair; images are numbered 2 i and 2 i + 1. */
export async function preparedPairs(
  folder: string,
  {
    train = 16,
    test = 8,
    image = pngOf,
  }: { train?: number; test?: number; image?: (i: number) => Promise<Buffer> } = {},
): Promise<string> {
  const side = (i: number) => ({ id: `image ${i}`, read: () => image(i) });
  const pairs = Array.from(
    { length: train + test },
    (_, i): Pair => ({
      split: i < train ? 'train' : 'test',
      fields: { prompt: `image ${i % 7}`, source: 'test' },
      chosen: side(2 * i),
      rejected: side(2 * i + 1),
    }),
  );
  await prepare(pairSource({ notes: [{ name: 'test' }], settings: { train, test }, pairs: () => pairs }), folder, {
    limits: { bytes: 1e9, samples: 100 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  return folder;
}

/** A config file of a run that takes seconds on the fixtures' pipeline. */
export function quickConfig(work: string, more: Record<string, unknown> = {}): string {
  const file = join(work, 'train.json');
  const settings = {
    ...{ task: 'train', model: fixture, data: join(work, 'pairs'), size: 32, t5_length: 8, steps: 6, batch: 4 },
    ...{ head_channels: 8, head_groups: 4, head_hidden: 16, learning_rate: 0.001, micro_batch: 3 },
    ...{ log_every: 1, evaluate_every: 3, evaluate_samples: 6, checkpoint_every: 2, keep_last: 4 },
    ...{ dtype: 'fp32', export_dtype: 'fp32', seed: 5 },
  };
  writeFileSync(file, JSON.stringify({ ...settings, ...more }));
  return file;
}

/** The whole command line. */
export const train = (config: string, out: string, more: string[] = [], options: RunOptions = {}) =>
  runDrm(['train', '--config', config, '--threads', '1', '--out', out, '--json', ...more], options);

/** Runs the command line after `drm train` in the test's own process; returns its events. */
export const trainHere = (argv: string[], onEvent?: (event: Event) => void) => runHere(command, argv, onEvent);

/** Expects it to fail with this exit code and all these words in its message. */
export const refuses = (
  argv: string[],
  code: number,
  words: (string | RegExp)[],
  onEvent?: (event: Event) => void,
): Promise<void> => refusedHere(command, argv, code, words, onEvent);

/** Figures of a kind of event, by step. */
export const figuresOf = (events: Event[], kind: 'metric' | 'evaluation') =>
  events.flatMap((event) => (event.event === kind ? [event.values] : []));
