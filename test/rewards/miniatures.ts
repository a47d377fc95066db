// Random-weight miniatures of the published scorers, from the golden fixtures: each a folder with the files that the real
// one has, so that every command line runs without the real weights. Their scores mean nothing.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../cli/common/root.js';
import { PROMPT_FILE } from '../../cli/text/hpsv3_prompt.js';
import { readTensors } from '../parity/safetensors.js';
import { torchSave } from '../parity/torch_save.js';
import { type ClipSizes, clipConfig } from './clip_folder.js';
import { type Hpsv3Sizes, hpsv3Config } from './hpsv3_folder.js';
import { aestheticConfig, type ImageRewardSizes, imageRewardConfig } from './imagereward_folder.js';

export const fixtures = process.env.DRM_GOLDEN
  ? join(process.env.DRM_GOLDEN, 'scorers')
  : join(packageRoot, 'test/golden/scorers');

interface Described {
  cases: Record<string, { config: unknown }>;
}

const described = JSON.parse(readFileSync(join(fixtures, 'config.json'), 'utf8')) as Described;
export const caseOf = <T>(name: string): T => described.cases[name]?.config as T;

const textOf = <T>(): T => JSON.parse(readFileSync(join(fixtures, 'text.json'), 'utf8')) as T;

const json = (folder: string, name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));

function made(folder: string): string {
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** CLIP's tokenizer for so few entries: letters, digits and marks, no merges; the last two open and close a text. */
export function writeClipTokenizer(folder: string, { vocab, ctx }: Pick<ClipSizes, 'vocab' | 'ctx'>): void {
  const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789.,-;&!'].flatMap((letter) => [letter, `${letter}</w>`]);
  const entries = letters.slice(0, vocab - 2);
  const ids = Object.fromEntries(entries.map((entry, id) => [entry, id]));
  json(folder, 'vocab.json', { ...ids, '<|startoftext|>': vocab - 2, '<|endoftext|>': vocab - 1 });
  writeFileSync(join(folder, 'merges.txt'), '#version: 0.2\n');
  json(folder, 'tokenizer_config.json', { model_max_length: ctx, pad_token: '<|endoftext|>' });
}

/** In the form that a scorer's file is published in; `under`: where its tensors are in a checkpoint of torch.save. */
function writeWeights(weights: string, file: string, under?: string): void {
  if (file.endsWith('.safetensors')) copyFileSync(join(fixtures, weights), file);
  else torchSave(file, readTensors(join(fixtures, weights)), under);
}

/** A CLIP of the fixtures, its weights under the name that a scorer's have. */
function writeClipScorer(folder: string, name: string, weights: string, as: string): string {
  const sizes = caseOf<ClipSizes>(name);
  json(made(folder), 'config.json', clipConfig(sizes));
  writeWeights(weights, join(folder, as), 'state_dict');
  writeClipTokenizer(folder, sizes);
  return folder;
}

interface MpsSizes {
  clip: ClipSizes;
  layers: number;
  heads: number;
  dim_head: number;
  ff_mult: number;
}

const mpsConfig = ({ clip, layers, heads, dim_head, ff_mult }: MpsSizes): object => ({
  ...clipConfig({ ...clip, activation: 'gelu' }),
  model_type: 'mps',
  cross_model: { layers, heads, head_channels: dim_head, mlp_ratio: ff_mult },
});

/** What writes the miniature of each scorer. */
export const MINIATURES = {
  'clip-h': (folder) => writeClipScorer(folder, 'clip_h', 'clip_h.hf.safetensors', 'model.safetensors'),
  pickscore: (folder) => writeClipScorer(folder, 'clip_h', 'clip_h.hf.safetensors', 'model.safetensors'),
  hps: (folder) => writeClipScorer(folder, 'clip_l', 'clip_l.openai.safetensors', 'hpc.pth'),
  hpsv2: (folder) => writeClipScorer(folder, 'clip_h', 'clip_h.openclip.safetensors', 'HPS_v2_compressed.pt'),
  'hpsv2.1': (folder) => writeClipScorer(folder, 'clip_h', 'clip_h.openclip.safetensors', 'HPS_v2.1_compressed.pt'),
  aesthetic: (folder) => {
    const sizes = caseOf<ClipSizes>('clip_l');
    writeClipScorer(folder, 'clip_l', 'clip_l.openai.safetensors', 'model.safetensors');
    json(folder, 'config.json', aestheticConfig(sizes, caseOf<{ dims: number[] }>('aesthetic').dims));
    writeWeights('aesthetic.safetensors', join(folder, 'sac+logos+ava1-l14-linearMSE.pth'));
    return folder;
  },
  imagereward: (folder) => {
    json(made(folder), 'config.json', imageRewardConfig(caseOf<ImageRewardSizes>('imagereward')));
    writeWeights('imagereward.safetensors', join(folder, 'ImageReward.pt'));
    const { bert_tiny: text } = textOf<{ bert_tiny: { vocab: string } }>();
    copyFileSync(join(fixtures, text.vocab), join(folder, 'vocab.txt'));
    return folder;
  },
  mps: (folder) => {
    const sizes = caseOf<MpsSizes>('mps');
    json(made(folder), 'config.json', mpsConfig(sizes));
    copyFileSync(join(fixtures, 'mps.safetensors'), join(folder, 'model.safetensors'));
    writeClipTokenizer(folder, sizes.clip);
    return folder;
  },
  hpsv3: (folder) => {
    const sizes = caseOf<Hpsv3Sizes>('hpsv3');
    json(made(folder), 'config.json', hpsv3Config(sizes));
    json(folder, PROMPT_FILE, { instruction: sizes.template, tail: sizes.tail });
    copyFileSync(join(fixtures, 'hpsv3.safetensors'), join(folder, 'HPSv3.safetensors'));
    const { qwen_tiny: text } = textOf<{ qwen_tiny: { tokenizer: string } }>();
    copyFileSync(join(fixtures, text.tokenizer), join(folder, 'tokenizer.json'));
    return folder;
  },
} satisfies Record<string, (folder: string) => string>;

export type Miniature = keyof typeof MINIATURES;

/** A folder of miniatures as DRM_SCORERS names one: every bare name is here. */
export function writeMiniatures(folder: string): string {
  for (const [name, write] of Object.entries(MINIATURES)) write(join(folder, name));
  return folder;
}
