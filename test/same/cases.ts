// What is run: a name, and the words after `drm`. `{out}` is the case's own place, `{name}` that of another case, which is
// run before it; other paths are those of inputs.ts. All is small: what counts is that a path is taken, not how far.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { VOCABULARY } from './inputs.js';

export interface Case {
  name: string;
  argv: string[];
  /** How it has to end. */
  code: number;
  /** Lines for people, instead of the event stream. */
  plain: boolean;
  /** Without the settings that all others are given: threads, device, dtype. */
  bare: boolean;
  needs: string[];
  /** Before it is run; paths of places as in `argv`. */
  before?: ((place: (name: string) => string) => void) | undefined;
}

interface More {
  code?: number;
  plain?: boolean;
  bare?: boolean;
  needs?: string[];
  before?: (place: (name: string) => string) => void;
}

/** Words of a line; those with spaces stand in double quotes. */
const words = (line: string): string[] => (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));

function run(name: string, line: string, more: More = {}): Case {
  const argv = words(line);
  const places = argv.flatMap((word) => [...word.matchAll(/\{([^}]+)\}/g)].map(([, place]) => place as string));
  const needs = [...new Set([...places.filter((place) => place !== 'out'), ...(more.needs ?? [])])];
  return { code: 0, plain: false, bare: false, ...more, name, argv, needs };
}

/** A copy of what another case made, to work on. */
const copy =
  (from: string, to = 'out') =>
  (place: (name: string) => string) => {
    mkdirSync(dirname(place(to)), { recursive: true });
    cpSync(place(from), place(to), { recursive: true });
  };

/** A run as it was when it was killed after its checkpoint of step 2. */
const stoppedAfterTwo = (from: string) => (place: (name: string) => string) => {
  copy(from)(place);
  const checkpoints = join(place('out'), 'checkpoints');
  for (const name of readdirSync(checkpoints))
    if (Number(name) > 2) rmSync(join(checkpoints, name), { recursive: true });
  rmSync(join(place('out'), 'model'), { recursive: true });
};

/** A run whose figures of time are functions of the step, since a report draws them. */
const atFixedTimes =
  (...runs: string[]) =>
  (place: (name: string) => string) => {
    for (const run of runs) {
      const to = join(place('out'), run.replaceAll('/', '-'));
      cpSync(place(run), to, { recursive: true });
      const metrics = join(to, 'metrics.jsonl');
      const lines = readFileSync(metrics, 'utf8').trimEnd().split('\n');
      const fixed = lines.map((line, n) =>
        line
          .replace(/("(?:step_)?seconds"|"[a-z]+_seconds"|"seconds_left"):[\d.e+-]+/g, `$1:${1 + n}`)
          .replace(/("\w+_per_second"):[\d.e+-]+/g, '$1:100')
          .replace(/("data_wait"):[\d.e+-]+/g, '$1:0.25')
          .replace(/("memory_mb"):[\d.e+-]+/g, '$1:300')
          .replace(/("time"):[\d.e+-]+/g, `$1:${1.7e9 + n}`),
      );
      writeFileSync(metrics, `${fixed.join('\n')}\n`);
    }
  };

const APPLE = '"red apple, noto style"';
const FOX =
  'sample --model base --prompt "a red fox" --seed 5 --steps 3 --guidance 3 --height 32 --width 48 --out {out}';

const images: Case[] = [
  run('sample/plain', `sample --prompt ${APPLE} --steps 3 --seed 1 --preview 1 --out {out}`),
  run('sample/lines', `sample --prompt ${APPLE} --prompt rocket --steps 2 --seed 1 --out {out}`, { plain: true }),
  run('sample/quiet', `${FOX} --quiet`, { plain: true }),
  run('sample/k6', `sample --prompt ${APPLE} --steps 2 --seed 1 --k 6 --reward tiny --trace --out {out}`),
  run(
    'sample/k4-softmax',
    `${FOX} --steps 5 --k 4 --reward {train/full} --select softmax:2 --score-from 0.2 --score-until 0.8 --noise-level 0.5 --trace`,
  ),
  run('sample/two-loras', `${FOX} --lora lora.safetensors:0.6 --lora {grpo/step}:0.5`),
  run(
    'sample/skip-layers',
    `${FOX} --steps 4 --skip-layers 0,1 --skip-layer-scale 2 --skip-layer-start 0 --skip-layer-stop 0.8`,
  ),
  run('sample/bf16', `sample --prompt ${APPLE} --steps 2 --seed 1 --dtype bf16 --out {out}`),
  run('sample/fp16', `${FOX} --steps 2 --dtype fp16`),
  run('sample/negative', `${FOX} --negative-prompt "a blue cat"`),
  run('sample/from', 'sample --from {sample/negative}/5-a-red-fox.png --steps 2 --out {out}'),
  run('sample/save-latents', `${FOX} --n 2 --save-latents {out}/latents.safetensors`),
  run('sample/init-latents', `${FOX} --n 2 --init-latents {sample/save-latents}/latents.safetensors:latents`),
  run(
    'sample/prompts',
    'sample --model base --prompts prompts.jsonl --n 2 --batch 4 --grid --steps 2 --size 32 --out {out}',
  ),
  run(
    'sample/prompt-list',
    'sample --model base --prompts samples/prompts/geneval/test_metadata.jsonl --steps 1 --size 32 --guidance 1 --out {out}',
  ),
  run('sample/t5', `${FOX} --t5-length 16 --free-encoders --tile 8`),
  run('sample/no-t5', `${FOX} --no-t5`),
  run('sample/config', `sample --config sample/tiny --set steps=2 --prompt ${APPLE} --size 64 --out {out}`),
  run('sample/trained', `sample --model {pretrain/flow-new}/model --prompt "image 3" --steps 2 --size 32 --out {out}`),
  run(
    'sample/single-file',
    'sample --model base/transformer/diffusion_pytorch_model.safetensors --components base --prompt "a red fox" --steps 2 --height 32 --width 48 --out {out}',
  ),
];

const data: Case[] = [
  run('data/captions', 'data prepare jsonl --from images/captions.jsonl --hold-out 25 --size 32 --out {out}'),
  run('data/pairs', 'data prepare jsonl --from images/pairs.jsonl --hold-out 30 --shard-samples 10 --out {out}'),
  run('data/pairs-lines', 'data prepare jsonl --from images/pairs.jsonl --size 24 --self-contained --out {out}', {
    plain: true,
  }),
  run('data/hpdv3', 'data prepare hpdv3 --from samples/hpdv3 --out {out}'),
  run(
    'data/hpdv3-mix',
    'data prepare hpdv3 --from samples/hpdv3 --split train --mix pickapic.json=samples/pickapic --mix imagereward.json=samples/imagerewarddb:3 --seed 2 --size 48 --out {out}',
  ),
  run(
    'data/hpdv3-sample',
    'data prepare hpdv3 --from samples/hpdv3 --split train --sample 4 --seed 3 --min-confidence 0.5 --out {out}',
  ),
  run('data/hpdv2', 'data prepare hpdv2 --from samples/hpdv2 --out {out}'),
  run('data/hpdv2-ties', 'data prepare hpdv2 --from samples/hpdv2 --split test --keep-ties --max-pairs 12 --out {out}'),
  run('data/imagereward', 'data prepare imagereward --from samples/imagerewarddb --out {out}'),
  run('data/imagereward-list', 'data prepare imagereward --from samples/imagerewarddb/test.json --out {out}'),
  run('data/pickapic', 'data prepare pickapic --from samples/pickapic --out {out}'),
  run('data/pickapic-struct', 'data prepare pickapic --from samples/cases/pickapic-image-struct --out {out}'),
  run('data/pair-flags', 'data prepare jsonl --from samples/cases/pair-flags/tie.jsonl --keep-ties --out {out}'),
  run('data/jsonl-array', 'data prepare jsonl --from samples/cases/jsonl-that-is-an-array/pairs.json --out {out}'),
  run('data/text-files', 'data prepare jsonl --from samples/cases/sidecar-case --out {out}'),
  run('data/webdataset', 'data prepare webdataset --from {data/captions} --size 24 --out {out}'),
  run('data/emoji', 'data prepare emoji --split test-style --size 32 --also openmoji --out {out}'),
  run(
    'data/emoji-prefs',
    'data prepare emoji-prefs --model quick-tiny --max-pairs 2 --seed 1 --split test --out {out}',
  ),
  run('data/tokenizer', `data tokenizer {data/captions} --vocabulary ${VOCABULARY} --max-length 12 --out {out}`),
  run('data/encode', 'data encode {out} --model base --size 32 --t5-length 8', {
    needs: ['data/pairs'],
    before: copy('data/pairs'),
  }),
  run('data/inspect-pairs', 'data inspect {data/pairs} --samples 6 --seed 2 --verify --out {out}'),
  run('data/inspect-captions', 'data inspect {data/captions} --samples 6 --out {out}'),
  run('data/inspect-lines', 'data inspect {data/hpdv2} --samples 4 --out {out}', { plain: true }),
];

const pretraining: Case[] = [
  run('pretrain/vae', 'pretrain vae --config vae.json --out {out}', { needs: ['data/captions'] }),
  run('pretrain/vae-resumed', 'pretrain vae --out {out} --resume', {
    needs: ['pretrain/vae'],
    before: stoppedAfterTwo('pretrain/vae'),
  }),
  run('pretrain/clip-l', 'pretrain clip --config clip-l.json --out {out}', {
    needs: ['data/captions', 'data/tokenizer'],
  }),
  run('pretrain/clip-g', 'pretrain clip --config clip-g.json --out {out}', {
    needs: ['data/captions', 'data/tokenizer'],
  }),
  run('pretrain/flow-new', 'pretrain flow --config flow-new.json --out {out}', {
    needs: ['data/captions', 'pretrain/clip-l', 'pretrain/clip-g'],
  }),
  run('pretrain/flow-more', 'pretrain flow --config flow-more.json --out {out}', { needs: ['data/captions'] }),
  run(
    'pretrain/flow-lora',
    'pretrain flow --config flow-more.json --set lora_rank=4 --set schedule=linear --out {out}',
    { needs: ['data/captions'] },
  ),
  run('pretrain/flow-lora-resumed', 'pretrain flow --out {out} --resume', {
    needs: ['pretrain/flow-lora'],
    before: stoppedAfterTwo('pretrain/flow-lora'),
  }),
  run('pretrain/two-processes', 'pretrain vae --config vae.json --steps 2 --nproc 2 --set zero=true --out {out}', {
    needs: ['data/captions'],
  }),
];

const TRAIN = 'train --config train.json --out {out}';
const onPairs = { needs: ['data/pairs'] };
const training: Case[] = [
  run('train/full', `${TRAIN} --set ema_decay=0.9`, onPairs),
  run('train/full-resumed', 'train --out {out} --resume', {
    needs: ['train/full'],
    before: stoppedAfterTwo('train/full'),
  }),
  run('train/lines', `${TRAIN} --steps 1`, { ...onPairs, plain: true }),
  run('train/lora', `${TRAIN} --steps 2 --backbone lora --set lora_rank=4`, onPairs),
  run('train/frozen', `${TRAIN} --steps 2 --backbone frozen --set shared_noise=true`, onPairs),
  run(
    'train/scratch',
    `${TRAIN} --steps 2 --from-scratch --set timestep_sampling=uniform --set shifted=false`,
    onPairs,
  ),
  run('train/authors', `${TRAIN} --steps 2 --export authors`, onPairs),
  run(
    'train/mode',
    `${TRAIN} --steps 2 --set posterior_sample=false --set keep_layers=1 --set gradient_checkpointing=true`,
    onPairs,
  ),
  run('train/on-the-fly', `${TRAIN} --steps 2 --set text=on_the_fly --set latents=on_the_fly`, onPairs),
  run('train/encoded', `${TRAIN} --steps 2 --data {data/encode}`),
  run('train/from', `${TRAIN} --steps 2 --from {train/authors} --batch 2 --micro-batch 1`, onPairs),
  run(
    'train/bf16',
    `${TRAIN} --steps 2 --dtype bf16 --set schedule=cosine --set weight_decay=0.1 --set export_dtype=bf16`,
    onPairs,
  ),
  run('train/fp16', `${TRAIN} --steps 2 --dtype fp16`, onPairs),
  run('train/two-processes', `${TRAIN} --steps 2 --nproc 2`, onPairs),
  run(
    'train/tiny',
    'train --config train/tiny --data {data/pairs} --steps 1 --batch 2 --dtype fp32 --set log_every=1 --set evaluate_samples=2 --out {out}',
  ),
];

const GRPO = 'grpo --config grpo.json --out {out}';
const SHORT = `${GRPO} --iterations 1 --set evaluate_every=0`;
const byReward = { needs: ['train/full'] };
const policies: Case[] = [
  run('grpo/flow', GRPO, byReward),
  run('grpo/flow-resumed', 'grpo --out {out} --resume', { needs: ['grpo/flow'], before: stoppedAfterTwo('grpo/flow') }),
  run('grpo/step', `${GRPO} --step --judge clip:{pretrain/clip-l}/model`, byReward),
  run('grpo/step-resumed', 'grpo --out {out} --resume', { needs: ['grpo/step'], before: stoppedAfterTwo('grpo/step') }),
  run('grpo/lines', `${SHORT} --step`, { ...byReward, plain: true }),
  run('grpo/weighted-sum', `${SHORT} --reward 0.5*judge+0.5*drm:{train/full} --set size=64`),
  run('grpo/gains', `${SHORT} --set credit=gain --set statistics=batch --set global_deviation=true`, byReward),
  run('grpo/cps-window', `${SHORT} --set sde=cps --set window_size=2 --set same_latent=true --set kl=exact`, byReward),
  run('grpo/best-velocity', `${SHORT} --step --set continue=best --set kl=velocity --set kl_beta=0.1`, byReward),
  run(
    'grpo/ode-checkpointing',
    `${SHORT} --step --set continue=ode --set gradient_checkpointing=true --set guidance=1 --set kl_beta=0`,
    byReward,
  ),
  run(
    'grpo/trajectories',
    `${SHORT} --step --set trajectories=2 --set micro_batch=1 --set batch=2 --set lora_from={grpo/flow}/model/pytorch_lora_weights.safetensors`,
    byReward,
  ),
  run('grpo/two-processes', `${SHORT} --nproc 2`, byReward),
  run(
    'grpo/tiny',
    'grpo --step --config grpo/tiny-demo --iterations 1 --prompts-per-iteration 2 --denoising-steps 3 --k 2 --set evaluate_samples=2 --set evaluate_steps=2 --out {out}',
  ),
  run('grpo/plan', 'grpo --config grpo.json --step --plan', byReward),
  run('grpo/plan-lines', 'grpo --config grpo.json --plan', { ...byReward, plain: true }),
];

const measuring: Case[] = [
  run('score/tiny-judge', 'score --reward tiny --reward judge --prompt "image 1" images/1.png images/2.png'),
  run('score/lines', 'score --reward 0.7*tiny+0.3*judge --prompt "image 1" images/1.png images/2.png', {
    plain: true,
  }),
  run(
    'score/noise',
    'score --reward {train/full} --pairs images/scored.jsonl --timestep 500 --draws 2 --posterior-sample --seed 3',
  ),
  run(
    'score/authors',
    'score --reward {train/full} --protocol drm-authors --timestep 5 --prompt "image 1" images/1.png',
  ),
  run(
    'eval/pairs',
    'eval pairs --data {data/pairs} --reward {train/full} --reward {train/lora} --timesteps 0,500 --draws 2 --out {out}',
  ),
  run(
    'eval/pairs-lines',
    'eval pairs --data {data/hpdv2} --data {data/pairs} --split test --max-pairs 4 --reward judge --reward tiny --out {out}',
    { plain: true },
  ),
  run('eval/scores', 'eval pairs --scores samples/EVAL.json'),
  run('eval/scores-lines', 'eval pairs --scores samples/EVAL.json', { plain: true }),
  run(
    'eval/images',
    'eval images --model base --prompts prompts.jsonl --steps 2 --size 32 --n 2 --k 1,2 --reward {train/full} --scorer judge --reference {data/captions} --grid --out {out}',
  ),
  run(
    'eval/images-sweep',
    'eval images --model base --prompt "image 1" --prompt "image 2" --size 32 --sweep steps=1,2 --sweep lora=none,lora.safetensors --scorer {train/full} --scorer judge --out {out}',
  ),
  run(
    'eval/retrieval',
    'eval retrieval --data {data/captions} --split test --among 4 --scorer judge --scorer clip:{pretrain/clip-l}/model --out {out}',
  ),
];

const adapters: Case[] = [
  run('lora/inspect', 'lora inspect lora.safetensors --model base'),
  run('lora/inspect-lines', 'lora inspect {pretrain/flow-lora}', { plain: true }),
  run('lora/kohya', 'lora convert lora.safetensors --to kohya --out {out}/kohya.safetensors'),
  run('lora/peft', 'lora convert {lora/kohya}/kohya.safetensors --to peft --out {out}'),
  run('lora/diffusers', 'lora convert {lora/peft} --to diffusers --out {out}'),
  run('lora/merge', 'lora merge lora.safetensors:0.5 {grpo/flow} --model base --out {out}'),
  run('lora/lycoris', 'lora inspect samples/lora/lycoris.safetensors'),
  run('lora/pissa', 'lora inspect samples/lora/pissa', { code: 3 }),
];

const saying: Case[] = [
  run('report/one', 'report {out}/train-full --out {out}/report.html', {
    needs: ['train/full'],
    before: atFixedTimes('train/full'),
  }),
  run('report/several', 'report {out}/grpo-flow {out}/grpo-step --out {out}/report.html', {
    needs: ['grpo/flow', 'grpo/step'],
    before: atFixedTimes('grpo/flow', 'grpo/step'),
  }),
  ...['sample', 'train', 'grpo', 'pretrain_vae', 'pretrain_clip', 'pretrain_flow'].map((task) =>
    run(`config/show-${task}`, `config show ${task}`, { plain: true, bare: true }),
  ),
  run('config/show-model', 'config show grpo --model tiny', { bare: true }),
  run('config/show-file', 'config show grpo/tiny-step --set k=3', { bare: true }),
  run('config/check', 'config check train.json', { bare: true }),
  ...['bash', 'zsh', 'fish'].map((shell) =>
    run(`completion/${shell}`, `completion ${shell}`, { plain: true, bare: true }),
  ),
];

const mistakes: Case[] = [
  run('mistake/no-command', 'sampel', { plain: true, bare: true, code: 2 }),
  run('mistake/option', 'sample --stpes 3', { plain: true, bare: true, code: 2 }),
  run('mistake/setting', 'train --config train.json --set bacth=3 --out {out}', { plain: true, code: 2 }),
  run('mistake/no-model', 'sample --model tinny --prompt x --out {out}', { code: 3 }),
  run('mistake/size', 'sample --model base --prompt x --size 33 --out {out}', { code: 3 }),
  run('mistake/lora', 'sample --model base --prompt x --lora other-lora --out {out}', { plain: true, code: 3 }),
  run('mistake/no-data', 'train --config train.json --data nowhere --out {out}', { code: 3 }),
  run('mistake/there-already', 'train --config train.json --out {train/full}', { code: 3 }),
];

export const CASES: readonly Case[] = [
  ...saying,
  ...mistakes,
  ...data,
  ...pretraining,
  ...training,
  ...policies,
  ...images,
  ...measuring,
  ...adapters,
];
