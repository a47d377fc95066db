// The drm side of `npm run bench -- score`, in a process of its own: argv[2] is a ScoreWorkload. Prints "ready", then, for
// each line, scores all images once and prints {"wall", "cpu": seconds, "peakMb", "scores"}.
import { createInterface } from 'node:readline';
import { Scorer, setThreads } from '../../binding/index.js';
import type { Dtype } from '../../binding/types.js';

export interface ScoreWorkload {
  kind: string;
  config: string;
  weights: string;
  threads: number;
  dtype: Dtype;
  images: number;
  /** Pixels a side. */
  side: number;
  /** Token ids of each image's prompt. */
  prompts: number[][];
}

export interface Scored {
  wall: number;
  cpu: number;
  peakMb: number;
  scores: number[];
}

const work = JSON.parse(String(process.argv[2])) as ScoreWorkload;

/** Noise, another for each image; score_torch.py makes the same. */
const image = (n: number) => ({
  pixels: Uint8Array.from({ length: work.side ** 2 * 3 }, (_, i) => (i * 2654435761 + n * 40503) >>> 24),
  width: work.side,
  height: work.side,
});

setThreads(work.threads);
const scorer = await Scorer.load(
  { kind: work.kind, config: work.config, weights: [work.weights] },
  { device: 'cpu', dtype: work.dtype },
);
const request = {
  images: Array.from({ length: work.images }, (_, n) => image(n)),
  rows: work.prompts.map((row) => BigInt64Array.from(row, BigInt)),
  promptOf: work.prompts.map((_, n) => n),
};
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) {
  const started = performance.now();
  const before = process.cpuUsage();
  const { values } = await scorer.score(request);
  const used = process.cpuUsage(before);
  const scored: Scored = {
    wall: (performance.now() - started) / 1000,
    cpu: (used.user + used.system) / 1e6,
    peakMb: process.resourceUsage().maxRSS / 1024,
    scores: Array.from(values),
  };
  console.log(JSON.stringify(scored));
}
scorer.dispose();
