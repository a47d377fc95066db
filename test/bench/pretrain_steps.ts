// The drm side of `npm run bench -- pretrain`, in a process of its own: argv[2] is a Workload. Prints "ready", then, for
// each line that holds a number, runs that many steps and prints {"wall": [...], "cpu": [...]}, seconds of each.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setThreads, Trainer } from '../../binding/index.js';
import type { ObjectiveSpec, TrainBatch } from '../../binding/types.js';
import type { PretrainClipSettings, PretrainFlowSettings, PretrainVaeSettings } from '../../cli/config/types.js';
import { trainerOptions } from '../../cli/train/run.js';

export type Workload = {
  config: string; // of what is trained
  threads: number;
  /** Of each caption; 0 where there are none. */
  tokens: number;
  vocabulary: number;
  /** Folders of finished parts that the flow is trained beside. */
  parts?: { vae: string; clipL: string; clipG: string };
} & (
  | { part: 'vae'; settings: PretrainVaeSettings }
  | { part: 'clip'; settings: PretrainClipSettings }
  | { part: 'flow'; settings: PretrainFlowSettings }
);

const work = JSON.parse(String(process.argv[2])) as Workload;
const { batch: size, size: edge } = work.settings;

function objective(): ObjectiveSpec {
  const { config } = work;
  switch (work.part) {
    case 'vae': {
      const { l1, l2, edges, kl } = work.settings;
      return { kind: 'vae', config, weights: [], loss: { l1, l2, edges, kl } };
    }
    case 'clip':
      return { kind: 'clip', config, weights: [], augment: 0 };
    case 'flow': {
      const part = (folder: string, file: string) => ({
        config: join(folder, 'config.json'),
        weights: [join(folder, file)],
      });
      const { parts, settings } = work;
      if (!parts) throw new Error('flow: expected the folders of its parts');
      return {
        kind: 'flow',
        source: {
          transformer: { config, weights: [] },
          vae: part(parts.vae, 'diffusion_pytorch_model.safetensors'),
          textEncoder: part(parts.clipL, 'model.safetensors'),
          textEncoder2: part(parts.clipG, 'model.safetensors'),
        },
        logitNormal: true,
        logitMean: settings.logit_mean,
        logitDeviation: settings.logit_deviation,
        shifted: false,
        promptDropout: settings.prompt_dropout,
        posteriorSample: settings.posterior_sample,
        recompute: settings.gradient_checkpointing,
        t5Length: settings.t5_length,
      };
    }
  }
}

/** The same pictures and captions every step: what is timed is the step, not the loader. */
async function prepare(trainer: Trainer): Promise<TrainBatch> {
  const samples = Array.from({ length: size }, (_, i) => i);
  const pixels = Uint8Array.from({ length: size * edge * edge * 3 }, (_, i) => (i * 2654435761) >>> 24);
  const pictures = { samples, pixels, height: edge, width: edge };
  const ids = BigInt64Array.from({ length: size * work.tokens }, (_, i) =>
    BigInt((i + 1) % work.tokens === 0 ? work.vocabulary - 1 : (i * 7919) % (work.vocabulary - 2)),
  );
  if (work.part === 'vae') return pictures;
  if (work.part === 'clip') return { ...pictures, ids };
  await trainer.cacheLatents(pictures);
  const rows = samples.map((row) => ids.slice(row * work.tokens, (row + 1) * work.tokens));
  await trainer.cachePrompts(rows.map((row) => ({ clipL: row, clipG: row, t5: new BigInt64Array(0) })));
  return { samples, texts: samples };
}

setThreads(work.threads);
const trainer = await Trainer.create(objective(), trainerOptions(work.settings, 'cpu', work.settings.dtype as 'fp32'));
const batch = await prepare(trainer);
console.log('ready');
let index = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let i = 0; i < Number(line); i++) {
    const started = performance.now();
    const before = process.cpuUsage();
    await trainer.step({ index: index++, learningRate: work.settings.learning_rate, batches: [batch] });
    wall.push((performance.now() - started) / 1000);
    const used = process.cpuUsage(before);
    cpu.push((used.user + used.system) / 1e6);
  }
  console.log(JSON.stringify({ wall, cpu }));
}
trainer.dispose();
