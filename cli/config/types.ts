// Generated from configs/schema by generate_types.ts: edit the schemas.

/** Settings of `drm grpo`, every one with a value. */
export interface GrpoSettings {
  /** Which command the file is for. */
  task: 'grpo';
  /** Flow-GRPO (a reward at the end, groups of a prompt's images) or Step-GRPO (a reward at every step, groups of a state's candidates). */
  algorithm: 'flow' | 'step';
  /** Base that the adapter is for: name, diffusers folder or hub id. */
  model: string;
  /** What is raised: a reward model, a scorer, or a weighted sum such as 0.7*drm:a+0.3*judge. */
  reward: string;
  /** File of prompts (text, or JSONL with `prompt`), or a folder that has one as train.txt or train_metadata.jsonl; empty is the model's own. */
  prompts: string;
  /** Edge of the images in pixels; 0 is the model's own. */
  size: number;
  /** Tokens of T5 that the policy reads; a reward model reads as many as it was trained with. */
  t5_length: number;
  /** Rank of the adapter. */
  lora_rank: number;
  /** Strength of the adapter is alpha / rank. */
  lora_alpha: number;
  /** Layers that are adapted, by the end of their name (flow_grpo's). */
  lora_targets: string[];
  /** Go on from this adapter file, whose rank and layers then count; empty is a new one, which changes nothing at first. */
  lora_from: string;
  /** Iterations in all: each collects trajectories, then updates the adapter. */
  iterations: number;
  /** Prompts an iteration, all different. */
  prompts_per_iteration: number;
  /** Flow-GRPO: trajectories of a prompt, whose rewards are compared; over all processes. */
  group: number;
  /** Step-GRPO: trajectories of a prompt. */
  trajectories: number;
  /** Step-GRPO: candidates of a state, whose rewards are compared. */
  k: number;
  /** Trajectories a network call when sampling, on each process. */
  batch: number;
  /** Trajectories a pass when updating, for less memory; 0 is as `batch`, with which the ratio before an update is 1 to the bit. */
  micro_batch: number;
  /** Optimizer steps an iteration, each on its own share of the trajectories; 0 is 2 for Flow-GRPO and 1 for Step-GRPO. */
  updates_per_iteration: number;
  /** Steps of sampling (T). */
  denoising_steps: number;
  /** Classifier-free guidance, in sampling and in updates; off at 1 and below. */
  guidance: number;
  /** Of the steps with noise (a in Eq. 6; 0.8 is usual with cps). */
  noise_level: number;
  /** How noise comes in: flow_grpo's SDE step, or the coefficients-preserving one (CPS). */
  sde: 'sde' | 'cps';
  /** Fraction of the steps where noise, and with it training, begins; Euler steps before. */
  window_from: number;
  /** Fraction where it ends; the last step is never trained. */
  window_until: number;
  /** So many steps in a row of these alone, drawn anew for each iteration; 0 is all of them. */
  window_size: number;
  /** Step-GRPO: the candidate that goes on, drawn, best by the reward, first, or the Euler step in the place of all. */
  continue: 'random' | 'best' | 'first' | 'ode';
  /** Flow-GRPO: the reward of the image for every step, or for each step what it gained (reward models only). */
  credit: 'terminal' | 'gain';
  /** What is compared: the rewards of a prompt (Step-GRPO: of a state), or all of the iteration. */
  statistics: 'prompt' | 'batch';
  /** Advantages are divided by the deviation of all rewards instead of the group's. */
  global_deviation: boolean;
  /** Added to the deviation. */
  advantage_epsilon: number;
  /** Advantages are cut to plus and minus this in the loss. */
  advantage_clip: number;
  /** Groups whose rewards are all equal are left out of the update, with their KL; else they only have no advantage. */
  drop_zero_variance: boolean;
  /** The ratio counts as far as 1 plus and minus this. */
  clip_range: number;
  /** Weight of the KL divergence from the base; 0 is none, and saves a pass. */
  kl_beta: number;
  /** How it is measured: flow_grpo's (without the step's length), exact, or between velocities. */
  kl: 'flow' | 'exact' | 'velocity';
  /** No gradient through guidance's unconditional half. */
  detach_unconditional: boolean;
  /** Trajectories of a prompt begin from the same noise. */
  same_latent: boolean;
  /** Recompute block by block in the backward pass: less memory, a third more time. */
  gradient_checkpointing: boolean;
  /** Peak of the schedule. */
  learning_rate: number;
  /** Shape after the warm-up, by iterations. */
  schedule: 'constant' | 'linear' | 'cosine';
  /** Iterations of linear warm-up. */
  warm_up: number;
  /** Decoupled weight decay. */
  weight_decay: number;
  /** Decay of the adapter's average that is evaluated and exported, with warm-up; 0 keeps none. */
  ema_decay: number;
  /** Optimizer steps between updates of the average. */
  ema_every: number;
  /** Held-out prompts, likewise (test.txt, test_metadata.jsonl); empty is the test list beside that of `prompts`. */
  evaluate_prompts: string;
  /** Images an evaluation makes and judges, one for each of the first prompts there are. */
  evaluate_samples: number;
  /** Steps of sampling in evaluations, without noise. */
  evaluate_steps: number;
  /** Guidance in evaluations; 0 is as `guidance`. */
  evaluate_guidance: number;
  /** Iterations between evaluations with their sample sheets; 0 is never. */
  evaluate_every: number;
  /** Scorer that judges the held-out images, and has no part in the reward; empty is none. */
  judge: string;
  /** Warnings that end the run, with checkpoint and result. pictures-change is what images-change was called. */
  stop_when: (
    | 'judge-falls'
    | 'images-change'
    | 'pictures-change'
    | 'rewards-equal'
    | 'groups-equal'
    | 'ratio-drifts'
    | 'ratio-clipped'
    | 'kl-grows'
    | 'gradient-jumps'
  )[];
  /** Iterations between figures. */
  log_every: number;
  /** Iterations between checkpoints; 0 is by time alone. */
  checkpoint_every: number;
  /** Iterations that may be skipped because reward, loss or gradient is not finite. */
  skip_not_finite: number;
  /** Of the adapter's file. */
  export_dtype: 'fp32' | 'bf16' | 'fp16';
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
  /** AdamW's decay of the gradient's mean. */
  beta1: number;
  /** AdamW's decay of the squared gradient's mean. */
  beta2: number;
  /** AdamW's guard against division by zero. */
  eps: number;
  /** Gradients are scaled down to this norm; 0 only measures it. */
  max_gradient_norm: number;
  /** Of several processes (--nproc, torchrun), each keeps a part of the optimizer's state instead of all of it (ZeRO-1): less memory, the same numbers. */
  zero: boolean;
  /** Of first weights, data order, noise and all other draws. */
  seed: number;
  /** Of matrix products, by autocast over fp32 weights, in fp16 with a scaled loss; auto is bf16 on a GPU, on a CPU bf16 where it has instructions for it and else fp32, which is several times quicker there (grpo, whose ratios 16 bits blur: always fp32 on a CPU). */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** A checkpoint is due after so many minutes in any case; 0 is never. */
  checkpoint_minutes: number;
  /** Newest checkpoints that are kept. */
  keep_last: number;
  /** Checkpoints at multiples of so many steps are kept, too; 0 is none. */
  keep_every: number;
}

/** Settings of `drm pretrain clip`, every one with a value. */
export interface PretrainClipSettings {
  /** Which command the file is for. */
  task: 'pretrain_clip';
  /** Folder with the config.json of a transformers CLIPModel. */
  architecture: string;
  /** Folder of the tokenizer (drm data tokenizer); copied into the model. */
  tokenizer: string;
  /** A .safetensors file to go on from; empty is from scratch. */
  weights: string;
  /** Edge of the training images in pixels: the architecture's image_size. */
  size: number;
  /** How far training images are moved and scaled (fraction of their edge) and their colours turned (fraction of half a turn), faded or lit. */
  augment: number;
  /** Degrees by which training images are rotated at most, either way. */
  rotate: number;
  /** Share of an image's patches that training leaves out, others each time; trains faster, and overfits less. */
  patch_dropout: number;
  /** Share of samples trained with their caption cut before its last comma, so that plain words are understood without a style. */
  short_caption: number;
  /** Prepared set (drm data prepare). */
  data: string;
  /** Split to train on, or several with commas between. */
  split: string;
  /** Split that held-out figures are from, or several with commas between. */
  evaluate_split: string;
  /** Held-out samples an evaluation looks at, the first of the split. */
  evaluate_samples: number;
  /** Optimizer steps in all. */
  steps: number;
  /** Samples a step. */
  batch: number;
  /** Samples a pass; gradients of the passes of a step add up. 0 is the whole batch. */
  micro_batch: number;
  /** Batches decoded ahead. */
  prefetch: number;
  /** Peak of the schedule. */
  learning_rate: number;
  /** Shape after the warm-up. */
  schedule: 'constant' | 'linear' | 'cosine';
  /** Steps of linear warm-up. */
  warm_up: number;
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
  /** AdamW's decay of the gradient's mean. */
  beta1: number;
  /** AdamW's decay of the squared gradient's mean. */
  beta2: number;
  /** AdamW's guard against division by zero. */
  eps: number;
  /** Decoupled weight decay. */
  weight_decay: number;
  /** Gradients are scaled down to this norm; 0 only measures it. */
  max_gradient_norm: number;
  /** Decay of the weight average that is evaluated and exported, with warm-up; 0 keeps none. */
  ema_decay: number;
  /** Of several processes (--nproc, torchrun), each keeps a part of the optimizer's state instead of all of it (ZeRO-1): less memory, the same numbers. */
  zero: boolean;
  /** Of first weights, data order, noise and all other draws. */
  seed: number;
  /** Of matrix products, by autocast over fp32 weights, in fp16 with a scaled loss; auto is bf16 on a GPU, on a CPU bf16 where it has instructions for it and else fp32, which is several times quicker there (grpo, whose ratios 16 bits blur: always fp32 on a CPU). */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Steps between figures. */
  log_every: number;
  /** Steps between held-out figures; 0 is never. */
  evaluate_every: number;
  /** Steps between checkpoints; 0 is by time alone. */
  checkpoint_every: number;
  /** A checkpoint is due after so many minutes in any case; 0 is never. */
  checkpoint_minutes: number;
  /** Newest checkpoints that are kept. */
  keep_last: number;
  /** Checkpoints at multiples of so many steps are kept, too; 0 is none. */
  keep_every: number;
  /** Steps that may be skipped because their loss or gradient is not finite. */
  skip_not_finite: number;
  /** Of the weights that the run is for. */
  export_dtype: 'fp32' | 'bf16' | 'fp16';
}

/** Settings of `drm pretrain flow`, every one with a value. */
export interface PretrainFlowSettings {
  /** Which command the file is for. */
  task: 'pretrain_flow';
  /** Base to go on from: name, diffusers folder or hub id; empty trains a transformer from scratch beside the parts below. */
  model: string;
  /** From scratch: folder with the config.json of an SD3Transformer2DModel. */
  architecture: string;
  /** From scratch: folder with the scheduler_config.json. */
  scheduler: string;
  /** From scratch: folder of the VAE (a run of drm pretrain vae: RUN/model/vae). */
  vae: string;
  /** From scratch: folder of the first CLIP with its tokenizer (a run of drm pretrain clip: RUN/model). */
  clip_l: string;
  /** From scratch: folder of the second CLIP with its tokenizer. */
  clip_g: string;
  /** Edge of the training images in pixels. */
  size: number;
  /** Tokens of T5, zeros where the base has none; a base (--model) that recommends a length for sampling is trained with it. Written into the model as its recommendation. */
  t5_length: number;
  /** How noise levels are drawn (Esser et al. 2024). */
  timestep_sampling: 'logit_normal' | 'uniform';
  /** Of logit_normal. */
  logit_mean: number;
  /** Of logit_normal. */
  logit_deviation: number;
  /** The scheduler's shift acts on the levels that are drawn, too. */
  shifted: boolean;
  /** Share of samples trained with the empty prompt, for guidance. */
  prompt_dropout: number;
  /** Share of samples trained with their caption cut before its last comma. */
  short_caption: number;
  /** Latents are drawn from the VAE's posterior, else its mode. */
  posterior_sample: boolean;
  /** Encode every image once and keep its latents in memory; off for sets that do not fit. */
  cache_latents: boolean;
  /** Recompute block by block in the backward pass: less memory, a third more time. */
  gradient_checkpointing: boolean;
  /** Train adapters of this rank instead of all weights; 0 trains all. */
  lora_rank: number;
  /** Strength of the adapters is alpha / rank. */
  lora_alpha: number;
  /** Layers that get an adapter, by the end of their name (flow_grpo's). */
  lora_targets: string[];
  /** Prompts of the sample sheets; empty takes captions of the held-out split. */
  preview_prompts: string[];
  /** Denoising steps of previews; written into the model as its recommendation. */
  preview_steps: number;
  /** Guidance of previews; written into the model as its recommendation. */
  preview_guidance: number;
  /** Prepared set (drm data prepare). */
  data: string;
  /** Split to train on, or several with commas between. */
  split: string;
  /** Split that held-out figures are from, or several with commas between. */
  evaluate_split: string;
  /** Held-out samples an evaluation looks at, the first of the split. */
  evaluate_samples: number;
  /** Optimizer steps in all. */
  steps: number;
  /** Samples a step. */
  batch: number;
  /** Samples a pass; gradients of the passes of a step add up. 0 is the whole batch. */
  micro_batch: number;
  /** Batches decoded ahead. */
  prefetch: number;
  /** Peak of the schedule. */
  learning_rate: number;
  /** Shape after the warm-up. */
  schedule: 'constant' | 'linear' | 'cosine';
  /** Steps of linear warm-up. */
  warm_up: number;
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
  /** AdamW's decay of the gradient's mean. */
  beta1: number;
  /** AdamW's decay of the squared gradient's mean. */
  beta2: number;
  /** AdamW's guard against division by zero. */
  eps: number;
  /** Decoupled weight decay. */
  weight_decay: number;
  /** Gradients are scaled down to this norm; 0 only measures it. */
  max_gradient_norm: number;
  /** Decay of the weight average that is evaluated and exported, with warm-up; 0 keeps none. */
  ema_decay: number;
  /** Of several processes (--nproc, torchrun), each keeps a part of the optimizer's state instead of all of it (ZeRO-1): less memory, the same numbers. */
  zero: boolean;
  /** Of first weights, data order, noise and all other draws. */
  seed: number;
  /** Of matrix products, by autocast over fp32 weights, in fp16 with a scaled loss; auto is bf16 on a GPU, on a CPU bf16 where it has instructions for it and else fp32, which is several times quicker there (grpo, whose ratios 16 bits blur: always fp32 on a CPU). */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Steps between figures. */
  log_every: number;
  /** Steps between held-out figures; 0 is never. */
  evaluate_every: number;
  /** Steps between checkpoints; 0 is by time alone. */
  checkpoint_every: number;
  /** A checkpoint is due after so many minutes in any case; 0 is never. */
  checkpoint_minutes: number;
  /** Newest checkpoints that are kept. */
  keep_last: number;
  /** Checkpoints at multiples of so many steps are kept, too; 0 is none. */
  keep_every: number;
  /** Steps that may be skipped because their loss or gradient is not finite. */
  skip_not_finite: number;
  /** Of the weights that the run is for. */
  export_dtype: 'fp32' | 'bf16' | 'fp16';
  /** Steps between sample sheets; 0 is never. */
  preview_every: number;
}

/** Settings of `drm pretrain scorer`, every one with a value. */
export interface PretrainScorerSettings {
  /** Which command the file is for. */
  task: 'pretrain_scorer';
  /** Folder with the config.json of a transformers CLIPModel, of which the image tower is trained, and head_config. */
  architecture: string;
  /** A .safetensors file to go on from; empty is from scratch. */
  weights: string;
  /** Edge of the training images in pixels: the architecture's image_size. */
  size: number;
  /** Half of the training pairs are seen in a mirror, both images alike. */
  mirror: boolean;
  /** Prepared pairs that held-out figures are from; empty takes them from the set itself. */
  evaluate_data: string;
  /** Percent of the prompts held out of training where there is neither evaluate_data nor an evaluate_split. */
  hold_out: number;
  /** Prepared set (drm data prepare). */
  data: string;
  /** Split to train on, or several with commas between. */
  split: string;
  /** Split that held-out figures are from, or several with commas between. */
  evaluate_split: string;
  /** Held-out samples an evaluation looks at, the first of the split. */
  evaluate_samples: number;
  /** Optimizer steps in all. */
  steps: number;
  /** Samples a step. */
  batch: number;
  /** Samples a pass; gradients of the passes of a step add up. 0 is the whole batch. */
  micro_batch: number;
  /** Batches decoded ahead. */
  prefetch: number;
  /** Peak of the schedule. */
  learning_rate: number;
  /** Shape after the warm-up. */
  schedule: 'constant' | 'linear' | 'cosine';
  /** Steps of linear warm-up. */
  warm_up: number;
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
  /** AdamW's decay of the gradient's mean. */
  beta1: number;
  /** AdamW's decay of the squared gradient's mean. */
  beta2: number;
  /** AdamW's guard against division by zero. */
  eps: number;
  /** Decoupled weight decay. */
  weight_decay: number;
  /** Gradients are scaled down to this norm; 0 only measures it. */
  max_gradient_norm: number;
  /** Decay of the weight average that is evaluated and exported, with warm-up; 0 keeps none. */
  ema_decay: number;
  /** Of several processes (--nproc, torchrun), each keeps a part of the optimizer's state instead of all of it (ZeRO-1): less memory, the same numbers. */
  zero: boolean;
  /** Of first weights, data order, noise and all other draws. */
  seed: number;
  /** Of matrix products, by autocast over fp32 weights, in fp16 with a scaled loss; auto is bf16 on a GPU, on a CPU bf16 where it has instructions for it and else fp32, which is several times quicker there (grpo, whose ratios 16 bits blur: always fp32 on a CPU). */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Steps between figures. */
  log_every: number;
  /** Steps between held-out figures; 0 is never. */
  evaluate_every: number;
  /** Steps between checkpoints; 0 is by time alone. */
  checkpoint_every: number;
  /** A checkpoint is due after so many minutes in any case; 0 is never. */
  checkpoint_minutes: number;
  /** Newest checkpoints that are kept. */
  keep_last: number;
  /** Checkpoints at multiples of so many steps are kept, too; 0 is none. */
  keep_every: number;
  /** Steps that may be skipped because their loss or gradient is not finite. */
  skip_not_finite: number;
  /** Of the weights that the run is for. */
  export_dtype: 'fp32' | 'bf16' | 'fp16';
}

/** Settings of `drm pretrain vae`, every one with a value. */
export interface PretrainVaeSettings {
  /** Which command the file is for. */
  task: 'pretrain_vae';
  /** Folder with the config.json of a diffusers AutoencoderKL. */
  architecture: string;
  /** A .safetensors file to go on from; empty is from scratch. */
  weights: string;
  /** Edge of the training images in pixels. */
  size: number;
  /** Weight of the mean absolute error of images in [-1, 1]. */
  l1: number;
  /** Weight of the mean squared error. */
  l2: number;
  /** Weight of the error of differences between neighbouring pixels, horizontal and vertical. */
  edges: number;
  /** Weight of the posterior's divergence from N(0, 1), a mean over latent elements. */
  kl: number;
  /** Prepared set (drm data prepare). */
  data: string;
  /** Split to train on, or several with commas between. */
  split: string;
  /** Split that held-out figures are from, or several with commas between. */
  evaluate_split: string;
  /** Held-out samples an evaluation looks at, the first of the split. */
  evaluate_samples: number;
  /** Optimizer steps in all. */
  steps: number;
  /** Samples a step. */
  batch: number;
  /** Samples a pass; gradients of the passes of a step add up. 0 is the whole batch. */
  micro_batch: number;
  /** Batches decoded ahead. */
  prefetch: number;
  /** Peak of the schedule. */
  learning_rate: number;
  /** Shape after the warm-up. */
  schedule: 'constant' | 'linear' | 'cosine';
  /** Steps of linear warm-up. */
  warm_up: number;
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
  /** AdamW's decay of the gradient's mean. */
  beta1: number;
  /** AdamW's decay of the squared gradient's mean. */
  beta2: number;
  /** AdamW's guard against division by zero. */
  eps: number;
  /** Decoupled weight decay. */
  weight_decay: number;
  /** Gradients are scaled down to this norm; 0 only measures it. */
  max_gradient_norm: number;
  /** Decay of the weight average that is evaluated and exported, with warm-up; 0 keeps none. */
  ema_decay: number;
  /** Of several processes (--nproc, torchrun), each keeps a part of the optimizer's state instead of all of it (ZeRO-1): less memory, the same numbers. */
  zero: boolean;
  /** Of first weights, data order, noise and all other draws. */
  seed: number;
  /** Of matrix products, by autocast over fp32 weights, in fp16 with a scaled loss; auto is bf16 on a GPU, on a CPU bf16 where it has instructions for it and else fp32, which is several times quicker there (grpo, whose ratios 16 bits blur: always fp32 on a CPU). */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Steps between figures. */
  log_every: number;
  /** Steps between held-out figures; 0 is never. */
  evaluate_every: number;
  /** Steps between checkpoints; 0 is by time alone. */
  checkpoint_every: number;
  /** A checkpoint is due after so many minutes in any case; 0 is never. */
  checkpoint_minutes: number;
  /** Newest checkpoints that are kept. */
  keep_last: number;
  /** Checkpoints at multiples of so many steps are kept, too; 0 is none. */
  keep_every: number;
  /** Steps that may be skipped because their loss or gradient is not finite. */
  skip_not_finite: number;
  /** Of the weights that the run is for. */
  export_dtype: 'fp32' | 'bf16' | 'fp16';
  /** Steps between sample sheets; 0 is never. */
  preview_every: number;
}

/** Settings of `drm reproduce`, every one with a value. */
export interface ReproduceSettings {
  /** Which command the file is for. */
  task: 'reproduce';
  /** Base of reward models, policies and images: name, diffusers folder or hub id. */
  model: string;
  /** Processes of every training, run and evaluation, a GPU each where there are GPUs. */
  nproc: number;
  /** Preference sets by name: what follows `drm data prepare`, pairs that come of it (for estimates), the split that Tables 1 and 2 judge by (none: not judged) and its pairs. */
  data: Record<string, { prepare: string[]; pairs: number; judged?: string; judged_pairs?: number }>;
  /** Of these the one that reward models learn from. */
  train_data: string;
  /** Reward models by name, rows of Table 1: their config of `drm train`, what is set besides, the row of the paper beside them. Table 2 and Figure 2 are of the first. */
  trainings: Record<string, { label: string; config: string; set: string[]; paper?: string }>;
  /** What all trainings set, before their own: key=value. */
  train_set: string[];
  /** Scorers that Table 1 has beside the reward models. */
  baselines: string[];
  /** Pairs of a set that are judged, chosen by seed 0; 0 is all. */
  max_pairs: number;
  /** Of Table 2: 1000 times noise levels. */
  timesteps: number[];
  /** Of Figure 2. */
  curve_timesteps: number[];
  /** Reward model that policies learn from and step-wise sampling chooses by; empty is the first of the trainings. */
  reward: string;
  /** Policies by name, rows of Table 3 and curves of Figure 7: their config of `drm grpo`, and what is set besides. */
  policies: Record<string, { label: string; config: string; set: string[] }>;
  /** What all policies set, before their own: key=value. */
  policy_set: string[];
  /** Every policy is trained once with each. */
  seeds: number[];
  /** Prompts that policies learn from: a file or a folder of flow_grpo's; empty is the model's own. The list of held-out prompts is beside it. */
  prompts: string;
  /** Of the held-out prompts so many, the first there are, make the images of Tables 3 and 4; 0 is all. */
  held_out: number;
  /** Config of `drm sample` by which those images are made; empty is what the model recommends. */
  sample_config: string;
  /** What is set besides: key=value. */
  sample_set: string[];
  /** Judges of images in Tables 3 and 4. */
  scorers: string[];
  /** Candidates a step, rows of Table 4. */
  k: number[];
  /** Images of a prompt in Table 4, whose distance is their diversity. */
  images: number;
  /** Distance between images, as of `drm eval images --diversity`; empty is that of a CLIP scorer's features. */
  diversity: string;
  /** What --plan reckons with until this machine has measured it, by kind of step (prepare, train, pairs, policy, images): seconds to start and of a unit, bytes of a folder and of a unit. */
  costs: Record<string, { start: number; seconds: number; bytes: number; unit_bytes: number }>;
  /** Where these were measured, or that they are guessed. */
  costs_from: string;
  /** Files and folders that the config names, with how to get each. */
  inputs: Record<string, string>;
}

/** Settings of `drm sample`, every one with a value. */
export interface SampleSettings {
  /** Which command the file is for. */
  task: 'sample';
  /** Name, diffusers folder, single .safetensors file, or hub id in the cache. */
  model: string;
  /** Adapters on the transformer, each FILE or FILE:SCALE; the scale multiplies the file's own alpha / rank. */
  lora: string[];
  /** What guidance steers away from; empty text, as the reference has it, is encoded like any other. */
  negative_prompt: string;
  /** Denoising steps (diffusers' default for SD3; the paper uses 50). */
  steps: number;
  /** Classifier-free guidance scale (paper: 4.5); on when above 1. */
  guidance: number;
  /** Candidates a step, among which the reward chooses (paper: 6); 1 samples plainly and loads no reward. */
  k: number;
  /** What chooses when k is above 1: a reward model (a name, a folder that drm train wrote, the authors' file), or a scorer of finished images, which sees each candidate's estimate decoded and costs as much more. */
  reward: string;
  /** a of the SDE step (Eq. 6) by which candidates branch (Flow-GRPO: 0.7). */
  noise_level: number;
  /** With k = 1: a candidate's noise at each step and no choice, which tells what the noise does beside what the choice does. */
  sde: boolean;
  /** Which candidate goes on: argmax, the best (Eq. 12), or softmax:T, drawn at temperature T. */
  select: string;
  /** Fraction of the trajectory from which candidates are scored; steps outside are Euler's. */
  score_from: number;
  /** Fraction of the trajectory until which candidates are scored; the last step is always Euler's. */
  score_until: number;
  /** Pixels, a multiple of VAE factor x patch (16); 0 is the model's default. */
  height: number;
  /** Pixels, a multiple of VAE factor x patch (16); 0 is the model's default. */
  width: number;
  /** Image i of a prompt has seed + i: the image that diffusers gives with a CPU generator of that seed. */
  seed: number;
  /** Images a prompt. */
  n: number;
  /** Images a network call; 0 chooses by size. Images do not depend on it beyond rounding. */
  batch: number;
  /** Tokens that T5 reads (diffusers: 256; the DRM authors: 512); 0 leaves them out of a model without T5. */
  t5_length: number;
  /** Of the weights; auto is bf16 on a GPU and fp32 on a CPU. */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Give the text encoders' memory back before denoising. */
  free_encoders: boolean;
  /** Edge of a VAE tile in latent pixels; 0 tiles images above 2048 pixels only, -1 never. */
  tile: number;
  /** Steps between previews of the first image; 0 is none. */
  preview: number;
  /** Blocks left out in skip-layer guidance (Stability AI's for SD3.5-Medium: 7, 8, 9); empty is off. */
  skip_layers: number[];
  /** Weight of skip-layer guidance. */
  skip_layer_scale: number;
  /** Fraction of the steps at which it begins. */
  skip_layer_start: number;
  /** Fraction of the steps at which it ends. */
  skip_layer_stop: number;
}

/** Settings of `drm train`, every one with a value. */
export interface TrainSettings {
  /** Which command the file is for. */
  task: 'train';
  /** Base whose transformer is the backbone, with its VAE and text encoders: name, diffusers folder or hub id. */
  model: string;
  /** First weights of the backbone: the base's, or random ones of the same shape. */
  init: 'pretrained' | 'random';
  /** Go on from this reward model instead: its folder, or the authors' single file; empty is from the base. */
  from: string;
  /** Blocks of the base that are run; 0 is all but the last eighth, rounded up (21 of 24, 33 of 38), or as `from` has it. */
  keep_layers: number;
  /** Channels of the first convolution of the head; the other two have twice as many. */
  head_channels: number;
  /** Groups of the head's normalisations. */
  head_groups: number;
  /** Width of the head's hidden layer. */
  head_hidden: number;
  /** Dropout before the last layer, in training alone. */
  head_dropout: number;
  /** Edge of the images in pixels; every image is resized to the square, its shape not kept. */
  size: number;
  /** Tokens of T5, zeros where the base has none; part of the reward model. */
  t5_length: number;
  /** How the noise level of a pair is drawn. */
  timestep_sampling: 'logit_normal' | 'uniform';
  /** Of logit_normal. */
  logit_mean: number;
  /** Of logit_normal. */
  logit_deviation: number;
  /** The level is drawn from the scheduler's own table, its shift included (Medium); off is without the shift (Large). */
  shifted: boolean;
  /** How likely a preference is, given two scores: by their difference, or by it over a deviation that grows with the noise level (DiNa-LRM). */
  likelihood: 'bradley_terry' | 'thurstone';
  /** Of thurstone: the variance of a clean image's score. */
  score_variance: number;
  /** Of thurstone: what a noise level of 1 adds to it; level s adds s squared times that. */
  score_variance_noise: number;
  /** Both images of a pair get the same noise, else each its own. */
  shared_noise: boolean;
  /** Latents are drawn from the VAE's posterior, else its mode. */
  posterior_sample: boolean;
  /** What of the backbone is trained beside the head: all, adapters, nothing. */
  backbone: 'full' | 'lora' | 'frozen';
  /** Rank of the adapters. */
  lora_rank: number;
  /** Strength of the adapters is alpha / rank. */
  lora_alpha: number;
  /** Layers that get an adapter, by the end of their name (flow_grpo's). */
  lora_targets: string[];
  /** Recompute block by block in the backward pass: less memory, a third more time. */
  gradient_checkpointing: boolean;
  /** Prompts are encoded once and kept, or at every step; auto keeps them when they fit into a quarter of the memory. What `drm data encode` left beside the data is read instead, unless this or latents is on_the_fly. */
  text: 'auto' | 'cached' | 'on_the_fly';
  /** Likewise the latents of the images. */
  latents: 'auto' | 'cached' | 'on_the_fly';
  /** Prepared pairs that held-out figures are from; empty takes them from the set itself. */
  evaluate_data: string;
  /** Percent of the prompts held out of training where there is neither evaluate_data nor an evaluate_split. */
  hold_out: number;
  /** Times that every pair is seen, where steps is 0. */
  epochs: number;
  /** Optimizer steps in all; 0 is as many as epochs ask for. */
  steps: number;
  /** Pairs a step. */
  batch: number;
  /** Pairs a pass; gradients of the passes of a step add up. 0 is the whole batch. */
  micro_batch: number;
  /** Peak of the schedule. */
  learning_rate: number;
  /** Shape after the warm-up. */
  schedule: 'constant' | 'linear' | 'cosine';
  /** Decoupled weight decay. */
  weight_decay: number;
  /** Decay of the weight average that is evaluated and exported, with warm-up; 0 keeps none. */
  ema_decay: number;
  /** Held-out pairs an evaluation looks at, the first there are. */
  evaluate_samples: number;
  /** Steps between checkpoints; 0 is by time alone. */
  checkpoint_every: number;
  /** Layout of the result: a folder with the kept blocks, or the authors' single file with all of the base's. */
  export: 'drm' | 'authors';
  /** Prepared set (drm data prepare). */
  data: string;
  /** Split to train on, or several with commas between. */
  split: string;
  /** Split that held-out figures are from, or several with commas between. */
  evaluate_split: string;
  /** Batches decoded ahead. */
  prefetch: number;
  /** Steps of linear warm-up. */
  warm_up: number;
  /** Where linear and cosine end, as a fraction of the peak. */
  floor: number;
  /** AdamW's decay of the gradient's mean. */
  beta1: number;
  /** AdamW's decay of the squared gradient's mean. */
  beta2: number;
  /** AdamW's guard against division by zero. */
  eps: number;
  /** Gradients are scaled down to this norm; 0 only measures it. */
  max_gradient_norm: number;
  /** Of several processes (--nproc, torchrun), each keeps a part of the optimizer's state instead of all of it (ZeRO-1): less memory, the same numbers. */
  zero: boolean;
  /** Of first weights, data order, noise and all other draws. */
  seed: number;
  /** Of matrix products, by autocast over fp32 weights, in fp16 with a scaled loss; auto is bf16 on a GPU, on a CPU bf16 where it has instructions for it and else fp32, which is several times quicker there (grpo, whose ratios 16 bits blur: always fp32 on a CPU). */
  dtype: 'auto' | 'fp32' | 'bf16' | 'fp16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Steps between figures. */
  log_every: number;
  /** Steps between held-out figures; 0 is never. */
  evaluate_every: number;
  /** A checkpoint is due after so many minutes in any case; 0 is never. */
  checkpoint_minutes: number;
  /** Newest checkpoints that are kept. */
  keep_last: number;
  /** Checkpoints at multiples of so many steps are kept, too; 0 is none. */
  keep_every: number;
  /** Steps that may be skipped because their loss or gradient is not finite. */
  skip_not_finite: number;
  /** Of the weights that the run is for. */
  export_dtype: 'fp32' | 'bf16' | 'fp16';
}

/** By task. */
export interface Settings {
  grpo: GrpoSettings;
  pretrain_clip: PretrainClipSettings;
  pretrain_flow: PretrainFlowSettings;
  pretrain_scorer: PretrainScorerSettings;
  pretrain_vae: PretrainVaeSettings;
  reproduce: ReproduceSettings;
  sample: SampleSettings;
  train: TrainSettings;
}

export type Task = keyof Settings;
