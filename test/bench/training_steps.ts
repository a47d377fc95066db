// The drm side of `npm run bench -- pretrain` and `-- train`, in a process of its own: argv[2] is a Workload. Prints "ready", then, for
// each line that holds a number, runs that many steps and prints {"wall": [...], "cpu": [...]}, seconds of each.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setThreads, Trainer } from '../../binding/index.js';
import type { ObjectiveSpec, PipelineSource, PromptTokens, TrainBatch } from '../../binding/types.js';
import type {
  PretrainClipSettings,
  PretrainFlowSettings,
  PretrainVaeSettings,
  TrainSettings,
} from '../../cli/config/types.js';
import { trainerOptions } from '../../cli/train/run.js';
import { rewardObjective } from '../../cli/train/tasks/reward_plan.js';

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
  | { part: 'reward'; settings: TrainSettings; source: PipelineSource; keepLayers: number }
);

const work = JSON.parse(String(process.argv[2])) as Workload;
const { batch: size, size: edge } = work.settings;

function objective(): ObjectiveSpec {
  const { config } = work;
  switch (work.part) {
    case 'reward':
      return rewardObjective(work.settings, work);
    case 'vae': {
      return { kind: 'vae', config, weights: [], settings: work.settings };
    }
    case 'clip':
      return {
        kind: 'clip',
        config,
        weights: [],
        settings: { ...work.settings, augment: 0, rotate: 0, patch_dropout: 0 },
      };
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
        settings: { ...settings, timestep_sampling: 'logit_normal', shifted: false, lora_rank: 0 },
      };
    }
  }
}

/** Pairs of images, as latents or to be encoded at every step, each with its prompt. */
async function preparePairs(trainer: Trainer, latents: TrainSettings['latents']): Promise<TrainBatch> {
  const images = Array.from({ length: 2 * size }, (_, i) => i);
  const pixels = Uint8Array.from({ length: 2 * size * edge * edge * 3 }, (_, i) => (i * 2654435761) >>> 24);
  const given = { images, pixels, height: edge, width: edge };
  await trainer.cachePrompts(prompts(size));
  const samples = images.slice(0, size);
  if (latents === 'on_the_fly') return { samples, texts: samples, ...given };
  await trainer.cacheLatents({ samples: [], ...given });
  return { samples, texts: samples, images };
}

/** Any ids but the one that closes a text, which comes last. */
function tokenIds(count: number): BigInt64Array {
  return BigInt64Array.from({ length: count * work.tokens }, (_, i) =>
    BigInt((i + 1) % work.tokens === 0 ? work.vocabulary - 1 : (i * 7919) % (work.vocabulary - 2)),
  );
}

function prompts(count: number): PromptTokens[] {
  const all = tokenIds(count);
  return Array.from({ length: count }, (_, row) => {
    const ids = all.slice(row * work.tokens, (row + 1) * work.tokens);
    return { clipL: ids, clipG: ids, t5: new BigInt64Array(0) };
  });
}

/** The same images and captions every step: what is timed is the step, not the loader. */
async function prepare(trainer: Trainer): Promise<TrainBatch> {
  if (work.part === 'reward') return preparePairs(trainer, work.settings.latents);
  const samples = Array.from({ length: size }, (_, i) => i);
  const pixels = Uint8Array.from({ length: size * edge * edge * 3 }, (_, i) => (i * 2654435761) >>> 24);
  const images = { samples, pixels, height: edge, width: edge };
  if (work.part === 'vae') return images;
  if (work.part === 'clip') return { ...images, ids: tokenIds(size) };
  await trainer.cacheLatents(images);
  await trainer.cachePrompts(prompts(size));
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
