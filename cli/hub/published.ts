// The published scorers: what each is made of, on which repositories of the hub its files are, and where the rest comes
// from. Facts alone: `drm pull NAME` fetches by this table, and a scorer finds its files by it. docs/scorers.md shows it.
// Sizes and hashes are those that a repository's pages state; what is not stated there is left out.
import { join } from 'node:path';
import { expandPath, hubHome } from './cache.js';

/** What a part is to its scorer. */
export type Role = 'weights' | 'head' | 'tokenizer' | 'config' | 'preprocessor' | 'instruction';

export interface PublishedFile {
  path: string;
  bytes?: number;
  sha256?: string;
}

export interface Part {
  role: Role;
  /** For people: 'the towers, fp32'. */
  what: string;
  /** One of these, the first that is there; of a tokenizer all that are there. */
  files: readonly PublishedFile[];
  /** Repositories, the first that has one of the files. */
  hub?: readonly string[];
  /** What people do for what the hub does not have. */
  elsewhere?: string;
  /** The scorer does without it. */
  optional?: true;
}

export interface PublishedScorer {
  name: string;
  licence: string;
  parts: readonly Part[];
}

const CLIP_H = 'laion/CLIP-ViT-H-14-laion2B-s32B-b79K';
const CLIP_L = 'openai/clip-vit-large-patch14';

/** Converted by a user, or as transformers writes them. */
const CONVERTED: readonly PublishedFile[] = [{ path: 'model.safetensors.index.json' }, { path: 'model.safetensors' }];
const named = (...paths: string[]): PublishedFile[] => paths.map((path) => ({ path }));

/** `vocabulary`: in what it lies where there is no tokenizer.json; the first two files are what makes a folder one of it. */
const tokenizer = (what: string, vocabulary: 'vocab.json' | 'vocab.txt', ...hub: string[]): Part => ({
  role: 'tokenizer',
  what,
  files: named('tokenizer.json', vocabulary, 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json'),
  hub,
});

const config = (...hub: string[]): Part => ({
  role: 'config',
  what: 'the sizes',
  files: named('config.json'),
  hub,
  optional: true, // the published shape comes with drm
});

const preprocessor = (...hub: string[]): Part => ({
  role: 'preprocessor',
  what: 'how images are prepared, to compare with',
  files: named('preprocessor_config.json'),
  hub,
  optional: true,
});

const clipBpe = tokenizer("CLIP's tokenizer", 'vocab.json', CLIP_L);

/** xswu/HPSv2, whose tensors are fp16. */
const hpsv2 = (name: string, file: PublishedFile): PublishedScorer => ({
  name,
  licence: 'Apache-2.0',
  parts: [
    {
      role: 'weights',
      what: 'the fine-tuned towers, fp16',
      files: [file, ...CONVERTED],
      hub: ['xswu/HPSv2'],
    },
    config(),
    clipBpe,
  ],
});

/** torchvision's networks and the linear layers of the package `lpips`. */
const lpips = (name: string, network: string, trunk: string, lin: PublishedFile): PublishedScorer => ({
  name,
  licence: 'BSD-2-Clause (the linear layers), BSD-3-Clause (the trunk)',
  parts: [
    {
      role: 'weights',
      what: `the trunk, ${network}`,
      files: named(trunk, `${lin.path.replace('.pth', '')}-trunk.safetensors`),
      elsewhere: `it is torchvision's: its models page links to ${trunk}`,
    },
    {
      role: 'head',
      what: 'the linear layers of v0.1',
      files: [lin, { path: lin.path.replace('.pth', '-lin.safetensors') }],
      elsewhere: `it is weights/v0.1/${lin.path} inside the Python package lpips 0.1.4, which is a zip file`,
    },
  ],
});

export const PUBLISHED: readonly PublishedScorer[] = [
  {
    name: 'clip-h',
    licence: 'MIT',
    parts: [
      {
        role: 'weights',
        what: 'the towers, fp32',
        files: [
          ...CONVERTED,
          ...named('open_clip_model.safetensors', 'pytorch_model.bin', 'open_clip_pytorch_model.bin'),
        ],
        hub: [CLIP_H],
      },
      config(CLIP_H),
      preprocessor(CLIP_H),
      tokenizer("CLIP's tokenizer", 'vocab.json', CLIP_H),
    ],
  },
  {
    name: 'aesthetic',
    licence: 'Apache-2.0 (the head), MIT (CLIP)',
    parts: [
      {
        role: 'weights',
        what: 'CLIP ViT-L/14, whose image tower it is, fp32',
        files: [...CONVERTED, ...named('pytorch_model.bin')],
        hub: [CLIP_L],
      },
      {
        role: 'head',
        what: 'the affine layers',
        files: [
          {
            path: 'sac+logos+ava1-l14-linearMSE.pth',
            bytes: 3_714_759,
            sha256: '21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0',
          },
          { path: 'aesthetic.safetensors' },
        ],
        elsewhere:
          'it is in the GitHub repository christophschuhmann/improved-aesthetic-predictor, and in that of flow_grpo',
      },
      config(),
    ],
  },
  {
    name: 'pickscore',
    licence: 'MIT (the code; the page of the weights states none)',
    parts: [
      {
        role: 'weights',
        what: 'the fine-tuned towers and their temperature, fp32',
        files: CONVERTED,
        hub: ['yuvalkirstain/PickScore_v1'],
      },
      config('yuvalkirstain/PickScore_v1', CLIP_H),
      preprocessor('yuvalkirstain/PickScore_v1', CLIP_H),
      tokenizer("CLIP's tokenizer", 'vocab.json', 'yuvalkirstain/PickScore_v1', CLIP_H),
    ],
  },
  {
    name: 'hps',
    licence: 'Apache-2.0 (the code)',
    parts: [
      {
        role: 'weights',
        what: 'the fine-tuned towers of CLIP ViT-L/14',
        files: [...named('hpc.pth', 'hpc.safetensors'), ...CONVERTED],
        elsewhere:
          "it is on its authors' file share alone: the README of the GitHub repository tgxs002/align_sd links to it",
      },
      config(),
      clipBpe,
    ],
  },
  hpsv2('hpsv2', {
    path: 'HPS_v2_compressed.pt',
    bytes: 1_972_484_501,
    sha256: '07cb0d20626232204ca3a6ec53ff5984e7e53212a8a7b0e0ec2bac1bdaf125a1',
  }),
  hpsv2('hpsv2.1', { path: 'HPS_v2.1_compressed.pt' }),
  {
    name: 'imagereward',
    licence: 'Apache-2.0',
    parts: [
      {
        role: 'weights',
        what: 'image tower, text model and head, fp32',
        files: [
          {
            path: 'ImageReward.pt',
            bytes: 1_786_880_927,
            sha256: 'd71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6',
          },
          ...CONVERTED,
        ],
        hub: ['THUDM/ImageReward', 'zai-org/ImageReward'],
      },
      config(),
      tokenizer("BERT's tokenizer", 'vocab.txt', 'google-bert/bert-base-uncased', 'bert-base-uncased'),
    ],
  },
  {
    name: 'mps',
    licence: 'MIT (the code)',
    parts: [
      {
        role: 'weights',
        what: 'the towers and the cross module',
        files: CONVERTED,
        elsewhere:
          "its checkpoint, MPS_overall_checkpoint.pth, is on its authors' cloud drive alone, which the README of the GitHub repository Kwai-Kolors/MPS links to; it is a pickled Python module, so it must be converted once to model.safetensors: docs/scorers.md has the lines",
      },
      config(),
      tokenizer("CLIP's tokenizer", 'vocab.json', CLIP_H),
    ],
  },
  {
    name: 'hpsv3',
    licence: 'Apache-2.0 (the weights), MIT (the code)',
    parts: [
      {
        role: 'weights',
        what: 'Qwen2-VL-7B and its rank head, bf16',
        files: [{ path: 'HPSv3.safetensors' }, ...CONVERTED],
        hub: ['MizzenAI/HPSv3'],
      },
      config(),
      tokenizer("Qwen2-VL's tokenizer", 'vocab.json', 'Qwen/Qwen2-VL-7B-Instruct'),
      {
        role: 'instruction',
        what: 'the text that the prompt is put into',
        files: named('hpsv3_prompt.json'),
        elsewhere: 'it is made of the Python package hpsv3: docs/scorers.md has the line that writes it',
      },
    ],
  },
  lpips('lpips', 'AlexNet', 'alexnet-owt-7be5be79.pth', {
    path: 'alex.pth',
    bytes: 6009,
    sha256: 'df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0',
  }),
  lpips('lpips-vgg', 'VGG16', 'vgg16-397923af.pth', {
    path: 'vgg.pth',
    bytes: 7289,
    sha256: 'a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868',
  }),
];

export const publishedScorer = (name: string): PublishedScorer | undefined =>
  PUBLISHED.find((scorer) => scorer.name === name);

/** Where people put a scorer's files that the hub does not have: looked into before the hub's cache. */
export const placedFolder = (name: string): string =>
  join(expandPath(process.env.DRM_SCORERS || join(hubHome(), 'drm-scorers')), name);
