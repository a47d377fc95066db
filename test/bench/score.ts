// `drm score` against the same scorers in Python, on random weights of their real size: one process a side, which take
// turns. What a call takes goes from decoded images and token ids to scores.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Dtype } from '../../binding/types.js';
import type { JsonObject } from '../../cli/common/json.js';
import { machine, median, python, pythonHas, repository, rounded } from './common.js';
import { writeRandomWeights } from './random_weights.js';
import type { Scored, ScoreWorkload } from './score_images.js';
import { figures, Side, takeTurns } from './sides.js';

type Config = JsonObject & {
  vocab_size?: number;
  image_token_id?: number;
  reward_token_id?: number;
  text_config?: JsonObject & { vocab_size: number; max_position_embeddings: number };
  head_config?: JsonObject & { max_length: number };
};

interface Benched {
  kind: string;
  /** Of the published size, in configs/scorers. */
  config: string;
  /** What makes a miniature of it, to try the benchmark itself. */
  tiny: JsonObject;
  /** Images a call, of so many pixels a side. */
  images: number;
  /** Token ids of prompt n. */
  prompt(config: Config, n: number): number[];
}

/** Ids without a meaning, none of them a special one. */
const words = (n: number, length: number, from: number, until: number): number[] =>
  Array.from({ length }, (_, i) => from + ((n * 7919 + i * 104729) % (until - from)));

const BENCHED: Record<string, Benched> = {
  'clip-h': {
    kind: 'clip',
    config: 'clip-vit-h-14.json',
    tiny: {
      projection_dim: 16,
      text_config: { hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
      vision_config: { hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
    },
    images: 16,
    // Start, words, end; what comes after the end does not count.
    prompt: ({ text_config: text }, n) => {
      const { vocab_size: vocabulary = 0, max_position_embeddings: length = 0 } = text ?? {};
      const own = [vocabulary - 2, ...words(n, 20, 1, vocabulary - 2), vocabulary - 1];
      return [...own, ...Array(length - own.length).fill(vocabulary - 1)];
    },
  },
  imagereward: {
    kind: 'imagereward',
    config: 'imagereward.json',
    tiny: {
      text_config: {
        ...{ hidden_size: 32, encoder_hidden_size: 32, intermediate_size: 64 },
        ...{ num_hidden_layers: 2, num_attention_heads: 2, vocab_size: 200 },
      },
      vision_config: { hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
    },
    images: 16,
    // [CLS], words, [SEP], padding.
    prompt: ({ head_config: head }, n) => {
      const own = [101, ...words(n, 20, 103, 190), 102];
      return [...own, ...Array((head?.max_length ?? 0) - own.length).fill(0)];
    },
  },
  // Of the size of Qwen2-VL-2B: HPSv3's own 7B takes 17 GB.
  'hpsv3-2b': {
    kind: 'hpsv3',
    config: 'hpsv3-2b.json',
    tiny: {
      ...{ vocab_size: 200, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 2 },
      ...{ num_key_value_heads: 1, image_token_id: 198, reward_token_id: 199, reward_head_sizes: [32, 8] },
      vision_config: { depth: 2, embed_dim: 32, hidden_size: 64, num_heads: 2 },
    },
    images: 1,
    // As long as the chat around a prompt of HPSv3's: an image, then some 640 tokens up to the reward token.
    prompt: ({ image_token_id: image = 0, reward_token_id: reward = 0 }, n) => [
      ...words(n, 16, 1, 190),
      image,
      ...words(n + 1, 640, 1, 190),
      reward,
    ],
  },
};

/** A config with fields of another one, sections merged. */
function merged(config: JsonObject, changes: JsonObject): JsonObject {
  const all = { ...config };
  for (const [key, value] of Object.entries(changes)) {
    const old = all[key];
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value);
    all[key] = isSection ? merged(old as JsonObject, value as JsonObject) : value;
  }
  return all;
}

/** Config and random weights in a folder, made once for the real size. */
async function prepare(name: string, { kind, config, tiny }: Benched, folder: string, isTiny: boolean) {
  const published = JSON.parse(readFileSync(join(repository, 'configs/scorers', config), 'utf8')) as JsonObject;
  const used = (isTiny ? merged(published, tiny) : published) as Config;
  const files = { config: join(folder, 'config.json'), weights: join(folder, 'model.safetensors') };
  const done = join(folder, 'whole');
  if (!existsSync(done)) {
    console.error(`writing random weights of ${name} to ${folder}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(files.config, JSON.stringify(used, null, 2));
    const parameters = await writeRandomWeights(kind, files.config, files.weights, used.vocab_size ?? 0);
    writeFileSync(done, String(parameters)); // an interrupted one is written again
  }
  return { used, files, parameters: Number(readFileSync(done, 'utf8')) };
}

export async function score(): Promise<void> {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      scorer: { type: 'string' },
      size: { type: 'string', default: 'real' },
      images: { type: 'string' },
      side: { type: 'string', default: '512' },
      repeats: { type: 'string', default: '3' },
      threads: { type: 'string', default: String(availableParallelism()) },
      dtype: { type: 'string', default: 'fp32' },
    },
  });
  const names = values.scorer ? [values.scorer] : Object.keys(BENCHED);
  const scratch = mkdtempSync(join(tmpdir(), 'drm-bench-'));
  try {
    for (const name of names) {
      const benched = BENCHED[name];
      if (!benched) throw new Error(`--scorer: expected one of ${Object.keys(BENCHED).join(', ')}, found ${name}`);
      const isTiny = values.size === 'tiny';
      if (!isTiny && values.size !== 'real') throw new Error(`--size: expected tiny or real, found ${values.size}`);
      const folder = isTiny ? join(scratch, name) : join(repository, 'build/bench', `score-${name}`);
      const { used, files, parameters } = await prepare(name, benched, folder, isTiny);
      const images = Number(values.images ?? benched.images);
      const work: ScoreWorkload = {
        kind: benched.kind,
        ...files,
        threads: Number(values.threads),
        dtype: values.dtype as Dtype,
        images,
        side: Number(values.side),
        prompts: Array.from({ length: images }, (_, n) => benched.prompt(used, n)),
      };
      const answers = await run(work, Number(values.repeats));
      const of = (what: (one: Scored) => number) => figures(answers, (all) => median(all.map(what)));
      const [ours, theirs] = [answers.drm?.[0]?.scores ?? [], answers.pytorch?.[0]?.scores];
      console.log(
        JSON.stringify({
          bench: 'score',
          scorer: name,
          size: values.size,
          parameters,
          images,
          side: work.side,
          dtype: work.dtype,
          threads: work.threads,
          ...machine(),
          seconds_an_image: of(({ wall }) => wall / images),
          cpu_seconds_an_image: of(({ cpu }) => cpu / images),
          images_a_second: of(({ wall }) => images / wall),
          peak_mb: figures(answers, (all) => Math.max(...all.map(({ peakMb }) => peakMb))),
          ...(theirs && {
            largest_difference: rounded(Math.max(...ours.map((one, i) => Math.abs(one - (theirs[i] as number)))), 2),
          }),
        }),
      );
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Both sides at the same time in memory, one at a time at work; drm alone where this Python has no transformers. */
async function run(work: ScoreWorkload, repeats: number): Promise<Record<string, Scored[]>> {
  const drm = new Side(process.execPath, join(repository, 'dist/test/bench/score_images.js'), work);
  const script = join(repository, 'test/bench/python/score_torch.py');
  const both = pythonHas('transformers');
  const sides: Record<string, Side> = both ? { drm, pytorch: new Side(python, script, work) } : { drm };
  for (const side of Object.values(sides)) await side.ready();
  for (const side of Object.values(sides)) await side.ask(''); // the first call allocates and chooses kernels
  const answers = await takeTurns<Scored>(sides, repeats, '');
  for (const side of Object.values(sides)) side.close();
  return answers;
}
