// From what a user calls a model to the files of its components.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { componentsInside } from '../../binding/index.js';
import type { ComponentFiles, ComponentInside, PipelineSource } from '../../binding/types.js';
import { readObject } from '../common/json.js';
import { nearest } from '../common/nearest.js';
import { packageRoot } from '../common/root.js';
import { cachedSnapshot, isHubId } from './cache.js';
import { madeFolder } from './made_folders.js';

export interface ModelOptions {
  /** A diffusers folder or hub id that supplies what the model lacks. */
  components?: string;
  vae?: string;
  clipL?: string;
  clipG?: string;
  t5?: string;
  revision?: string;
  noT5?: boolean;
}

export interface ResolvedModel {
  name: string;
  source: PipelineSource;
  /** Folders. */
  tokenizers: { clipL: string; clipG: string; t5?: string };
  /** Sentences worth telling. */
  notes: string[];
}

const SD35_MEDIUM = 'stabilityai/stable-diffusion-3.5-medium';

const BUILT_IN: Record<string, { folder?: string; id?: string; note?: string }> = {
  tiny: { folder: join(packageRoot, 'models/tiny') },
  'sd3.5-medium': { id: SD35_MEDIUM },
  'sd3.5-large': { id: 'stabilityai/stable-diffusion-3.5-large' },
  'sd3-medium': { id: 'stabilityai/stable-diffusion-3-medium-diffusers' },
};

const T5_ABSENT =
  'T5 is absent: zeros stand in for its states, as in the reference; long or detailed prompts are followed less closely';

type Slot = 'transformer' | 'vae' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';
const PURPOSE: Record<Slot, string> = {
  transformer: 'the denoising network',
  vae: 'turns latents into images',
  text_encoder: 'CLIP-L, reads the prompt',
  text_encoder_2: 'CLIP-G, reads the prompt',
  text_encoder_3: 'T5, reads long prompts',
};

function files(folder: string): string[] {
  return existsSync(folder) && statSync(folder).isDirectory() ? readdirSync(folder).sort() : [];
}

/** The weights of one component folder: an index of shards before a single file, full precision before variants. */
function findWeights(folder: string): string[] | undefined {
  const names = files(folder);
  for (const stem of ['diffusion_pytorch_model', 'model']) {
    for (const variant of ['', '.fp16', '.bf16']) {
      for (const name of [
        `${stem}.safetensors.index${variant}.json`,
        `${stem}${variant}.safetensors.index.json`,
        `${stem}${variant}.safetensors`,
      ])
        if (names.includes(name)) return [join(folder, name)];
    }
  }
  return undefined;
}

function component(root: string, slot: Slot): ComponentFiles | undefined {
  const folder = join(root, slot);
  const weights = findWeights(folder);
  if (!weights) return undefined;
  const config = join(folder, 'config.json');
  return { weights, ...(existsSync(config) && { config }) };
}

function missing(root: string, slot: Slot): DrmError {
  const folder = join(root, slot);
  const pickles = files(folder).filter((name) => /\.(bin|ckpt|pt|pth)$/.test(name));
  if (pickles.length > 0) {
    return new DrmError(
      'BAD_FILE',
      `[model] ${folder}: expected safetensors, found only ${pickles.join(', ')} (pickle, which can run code when loaded and is never read here); fetch the safetensors with \`drm pull\`, or convert the file in Python`,
      { file: folder },
    );
  }
  return new DrmError(
    'MISSING_WEIGHTS',
    `[model] ${folder}: expected model.safetensors, diffusion_pytorch_model.safetensors or an index of shards (${slot}: ${PURPOSE[slot]}), found ${files(folder).join(', ') || 'nothing'}; fetch it with \`drm pull\`, or supply it with --components`,
    { file: folder, component: slot },
  );
}

function readIndex(root: string): Record<string, unknown> {
  const file = join(root, 'model_index.json');
  if (!existsSync(file)) {
    const held = files(root);
    throw new DrmError(
      'BAD_FILE',
      `[model] ${root}: expected a diffusers folder with model_index.json, found ${held.length > 0 ? held.slice(0, 10).join(', ') : 'an empty folder'}; name the folder that holds transformer/, vae/ and text_encoder/`,
      { file: root },
    );
  }
  return readObject(file, { part: 'model', advice: 'fetch it again with `drm pull`' });
}

function expectClass(root: string, index: Record<string, unknown>, key: string, expected: string[]): void {
  const entry = index[key];
  const found = Array.isArray(entry) ? entry[1] : entry;
  if (typeof found !== 'string' || expected.includes(found)) return;
  throw new DrmError(
    'BAD_CONFIG',
    `[model] ${key} in ${join(root, 'model_index.json')}: expected ${expected.join(' or ')}, found ${found}; drm runs Stable Diffusion 3 and 3.5`,
    { file: join(root, 'model_index.json'), key, expected: expected.join(' or '), found },
  );
}

function fromFolder(name: string, root: string, options: ModelOptions): ResolvedModel {
  const index = readIndex(root);
  expectClass(root, index, '_class_name', [
    'StableDiffusion3Pipeline',
    'StableDiffusion3Img2ImgPipeline',
    'StableDiffusion3InpaintPipeline',
  ]);
  expectClass(root, index, 'scheduler', ['FlowMatchEulerDiscreteScheduler']);
  expectClass(root, index, 'transformer', ['SD3Transformer2DModel']);
  expectClass(root, index, 'vae', ['AutoencoderKL']);
  const notes: string[] = [];
  const need = (slot: Slot, file?: string): ComponentFiles => {
    const own = component(root, slot);
    if (file) return { weights: [existing(file, slot)], ...(own?.config !== undefined && { config: own.config }) };
    if (!own) throw missing(root, slot);
    return own;
  };
  const source: PipelineSource = {
    transformer: need('transformer'),
    vae: need('vae', options.vae),
    textEncoder: need('text_encoder', options.clipL),
    textEncoder2: need('text_encoder_2', options.clipG),
  };
  const declared = Array.isArray(index.text_encoder_3) && index.text_encoder_3[1] !== null;
  const t5 = options.noT5
    ? undefined
    : options.t5
      ? need('text_encoder_3', options.t5)
      : component(root, 'text_encoder_3');
  if (t5) source.textEncoder3 = t5;
  else
    notes.push(declared && !options.noT5 ? `${T5_ABSENT} (${join(root, 'text_encoder_3')} has no weights)` : T5_ABSENT);
  const scheduler = join(root, 'scheduler', 'scheduler_config.json');
  if (existsSync(scheduler)) source.schedulerConfig = scheduler;
  return { name, source, tokenizers: tokenizers(root, t5 !== undefined), notes };
}

function tokenizers(root: string, t5: boolean): ResolvedModel['tokenizers'] {
  const folder = (slot: string): string => {
    const path = join(root, slot);
    if (files(path).length > 0) return path;
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[model] ${path}: expected a tokenizer (tokenizer.json, or vocab.json with merges.txt), found nothing; fetch it with \`drm pull\``,
      { file: path },
    );
  };
  return { clipL: folder('tokenizer'), clipG: folder('tokenizer_2'), ...(t5 && { t5: folder('tokenizer_3') }) };
}

function existing(file: string, slot: Slot): string {
  if (existsSync(file)) return file;
  throw new DrmError('BAD_FILE', `[model] ${file}: expected weights (${slot}: ${PURPOSE[slot]}), found no such file`, {
    file,
  });
}

/** The original single file: transformer, and VAE and encoders where their keys are inside; the rest from elsewhere. */
async function fromSingleFile(file: string, options: ModelOptions): Promise<ResolvedModel> {
  const inside = await componentsInside(file);
  const root =
    options.components === undefined
      ? cachedSnapshot(SD35_MEDIUM, options.revision)
      : folderOf(options.components, options);
  const notes: string[] = [];
  const choose = (
    slot: Slot,
    flag: string,
    given: string | undefined,
    part: ComponentInside,
  ): ComponentFiles | undefined => {
    const own = root === undefined ? undefined : component(root, slot);
    const config = own?.config === undefined ? {} : { config: own.config };
    if (given !== undefined) return { weights: [existing(given, slot)], ...config };
    if (inside.includes(part)) return { weights: [file], ...(slot === 'vae' ? {} : config) };
    if (own) return own;
    if (slot === 'text_encoder_3') return undefined;
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[model] ${file}: holds no ${slot} (${PURPOSE[slot]}); name it with ${flag} FILE, or a diffusers folder that has it with --components DIR, or run \`drm pull ${SD35_MEDIUM}\``,
      { file, component: slot },
    );
  };
  const source: PipelineSource = { transformer: { weights: [file] }, vae: { weights: [] } };
  source.vae = choose('vae', '--vae', options.vae, 'vae') as ComponentFiles;
  source.textEncoder = choose('text_encoder', '--clip-l', options.clipL, 'clip_l') as ComponentFiles;
  source.textEncoder2 = choose('text_encoder_2', '--clip-g', options.clipG, 'clip_g') as ComponentFiles;
  const t5 = options.noT5 ? undefined : choose('text_encoder_3', '--t5', options.t5, 't5xxl');
  if (t5) source.textEncoder3 = t5;
  else notes.push(T5_ABSENT);
  if (root === undefined) {
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[model] ${file}: a single file has no tokenizers; name a diffusers folder that has them with --components DIR, or run \`drm pull ${SD35_MEDIUM} --include 'tokenizer*'\``,
      { file },
    );
  }
  const scheduler = join(root, 'scheduler', 'scheduler_config.json');
  if (existsSync(scheduler)) source.schedulerConfig = scheduler;
  return { name: file, source, tokenizers: tokenizers(root, t5 !== undefined), notes };
}

/** A folder, or a hub id in the cache; undefined when it is not there. */
function findFolder(spec: string, revision?: string): string | undefined {
  const builtIn = BUILT_IN[spec];
  if (builtIn?.folder) return builtIn.folder;
  const made = madeFolder(spec);
  if (made !== undefined) return made;
  const inRun = join(spec, 'model'); // of a run that trained a base
  if (existsSync(join(inRun, 'model_index.json')) && !existsSync(join(spec, 'model_index.json'))) return resolve(inRun);
  if (existsSync(spec)) return resolve(spec);
  const id = builtIn?.id ?? spec;
  return isHubId(id) ? cachedSnapshot(id, revision) : undefined;
}

/** The models that have a name, and where each is; undefined where it is not on this machine. */
export function namedModels(): { name: string; id: string | undefined; folder: string | undefined }[] {
  return Object.entries(BUILT_IN).map(([name, { id }]) => ({ name, id, folder: findFolder(name) }));
}

/** The settings that a model's maker recommends: drm.json beside model_index.json, where there is one. */
export function recommendedSettingsFile(spec: string, revision?: string): string | undefined {
  const folder = findFolder(spec, revision);
  const file = folder && join(folder, 'drm.json');
  return file && existsSync(file) ? file : undefined;
}

function folderOf(spec: string, options: ModelOptions): string {
  const folder = findFolder(spec, options.revision);
  if (folder) return folder;
  const id = BUILT_IN[spec]?.id ?? spec;
  if (isHubId(id)) {
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[model] ${spec}: expected ${id}${options.revision ? ` at ${options.revision}` : ''} in the Hugging Face cache, found nothing; run \`drm pull ${id}\``,
      { id },
    );
  }
  const guess = nearest(spec, Object.keys(BUILT_IN));
  throw new DrmError(
    'BAD_FILE',
    `[model] ${spec}: expected a name (${Object.keys(BUILT_IN).join(', ')}), a diffusers folder, a .safetensors file or a hub id, found no such thing${guess ? `; did you mean ${guess}?` : '; check the path'}`,
    { file: spec },
  );
}

/** The model that --model names, if it was given, for commands that need none of the other flags. */
export async function modelAsked({
  model,
  revision,
}: {
  model: string | undefined;
  revision: string | undefined;
}): Promise<ResolvedModel | undefined> {
  return model === undefined ? undefined : resolveModel(model, revision === undefined ? {} : { revision });
}

/** Finds all files of a model. Throws DrmError BAD_FILE, BAD_CONFIG or MISSING_WEIGHTS. */
export async function resolveModel(spec: string, options: ModelOptions = {}): Promise<ResolvedModel> {
  if (existsSync(spec) && statSync(spec).isFile()) {
    if (!spec.endsWith('.safetensors') && /\.(bin|ckpt|pt|pth)$/.test(spec)) {
      throw new DrmError(
        'BAD_FILE',
        `[model] ${spec}: expected a .safetensors file, found a pickle checkpoint, which can run code when loaded and is never read here; convert it in Python, or fetch the safetensors`,
        { file: spec },
      );
    }
    return fromSingleFile(resolve(spec), options);
  }
  const model = fromFolder(spec, folderOf(spec, options), options);
  const note = BUILT_IN[spec]?.note;
  if (note) model.notes.unshift(note);
  return model;
}
