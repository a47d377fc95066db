// All commands: name and summary here, so that `drm --help` loads none of them; the rest when one runs.
import type { AnyCommand } from '../common/command.js';

export interface Entry {
  name: string;
  summary: string;
  load: () => Promise<AnyCommand>;
}

export const registry: Entry[] = [
  { name: 'sample', summary: 'sample images from prompts', load: async () => (await import('./sample.js')).command },
  {
    name: 'data',
    summary: 'prepare preference pairs or images with captions for training, and look at what was prepared',
    load: async () => (await import('./data.js')).command,
  },
  {
    name: 'pretrain',
    summary: 'train a base model from scratch, part by part, or go on from given weights',
    load: async () => (await import('./pretrain.js')).command,
  },
  {
    name: 'train',
    summary: 'train a reward model from preference pairs',
    load: async () => (await import('./train.js')).command,
  },
  {
    name: 'grpo',
    summary: 'fine-tune a base by reinforcement learning from a reward, as an adapter (LoRA)',
    load: async () => (await import('./grpo.js')).command,
  },
  {
    name: 'pull',
    summary: 'fetch a model or data set from the Hugging Face hub into the shared cache',
    load: async () => (await import('./pull.js')).command,
  },
  {
    name: 'eval',
    summary: 'measure models by scorers, and rewards by preferences or real images',
    load: async () => (await import('./eval.js')).command,
  },
  {
    name: 'lora',
    summary: 'look into adapter files, merge them into a base, convert their names',
    load: async () => (await import('./lora.js')).command,
  },
  {
    name: 'score',
    summary: 'score images under their prompts by a reward model or a scorer',
    load: async () => (await import('./score.js')).command,
  },
  {
    name: 'report',
    summary: 'draw runs on one page: curves, images, settings, warnings',
    load: async () => (await import('./report.js')).command,
  },
  {
    name: 'reproduce',
    summary: "run the paper's experiments as one chain that resumes, and lay our figures beside the paper's",
    load: async () => (await import('./reproduce.js')).command,
  },
  {
    name: 'list',
    summary: 'what there is, and where: models, rewards, scorers, configs, runs',
    load: async () => (await import('./list.js')).command,
  },
  {
    name: 'config',
    summary: 'show resolved settings and where each comes from, list configs, or check a file',
    load: async () => (await import('./config.js')).command,
  },
  {
    name: 'doctor',
    summary: 'say what this machine has, and what to do about what it lacks',
    load: async () => (await import('./doctor.js')).command,
  },
  {
    name: 'completion',
    summary: 'print shell completion for bash, zsh or fish',
    load: async () => (await import('./completion.js')).completionOf(registry),
  },
];
