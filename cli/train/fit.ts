// Whether settings, tokenizer and parts fit each other. Asked before anything large is loaded, so that a mistake is told
// in the words of flags and settings; the core checks shapes again in its own.
import { DrmError } from '../../binding/error.js';
import { tensorNames } from '../../binding/index.js';
import type { ModelDescription, PipelineSource } from '../../binding/types.js';
import type { Events } from '../common/events.js';
import { type JsonObject, readObject } from '../common/json.js';
import { describeBase } from '../hub/description.js';
import { type ResolvedModel, resolveModel } from '../hub/resolve.js';

type Config = JsonObject;

/** A model's config.json. Throws DrmError BAD_FILE. */
export const readConfig = (file: string): Config => readObject(file, { part: 'train', expected: "a model's config" });

const part = (config: Config, key: string): Config => (config[key] ?? {}) as Config;

/** A number of a config; undefined where the config leaves it to the core's default. */
function number(config: Config, key: string): number | undefined {
  const value = config[key];
  return typeof value === 'number' ? value : undefined;
}

const misfit = (what: string, details: Record<string, string> = {}) =>
  new DrmError('BAD_CONFIG', `[train] ${what}`, details);

/** The base that a run trains or adapts, and config.json of its transformer. Throws DrmError BAD_REQUEST, BAD_CONFIG or what resolveModel() throws. */
export async function trainableBase(
  where: string,
  { model, t5_length }: { model: string; t5_length: number },
  usualLength: number,
): Promise<{ base: ResolvedModel; transformer: string }> {
  const base = await resolveModel(model);
  const transformer = base.source.transformer.config;
  if (transformer === undefined)
    throw new DrmError(
      'BAD_REQUEST',
      `[${where}] ${model}: expected a diffusers folder, found a single file; give the folder (\`drm pull\` fetches it)`,
    );
  if (base.tokenizers.t5 !== undefined && t5_length === 0)
    throw new DrmError(
      'BAD_CONFIG',
      `[${where}] t5_length: expected at least 1, since ${model} reads prompts with T5, too, found 0; give --set t5_length=${usualLength}`,
      { key: 't5_length' },
    );
  return { base, transformer };
}

/** What sizes in pixels must be multiples of, and the largest, with the reasons. */
interface SizeRule {
  unit: number;
  why: string;
  most?: number;
  whyMost?: string;
}

function fitsRule(size: number, { unit, why, most = Number.POSITIVE_INFINITY, whyMost }: SizeRule): void {
  if (size % unit !== 0) {
    const below = Math.floor(size / unit) * unit;
    const near = [below, below + unit].filter((near) => near > 0 && near <= most);
    throw misfit(
      `size: expected a multiple of ${unit} (${why}), found ${size}; choose ${near.join(' or ')} with --set size=${near[0]}`,
      { key: 'size', expected: String(unit), found: String(size) },
    );
  }
  if (size > most)
    throw misfit(
      `size: expected at most ${most} (${whyMost}, ${why}), found ${size}; choose a smaller one with --set size=${most}`,
      { key: 'size', expected: String(most), found: String(size) },
    );
}

/** Throws DrmError BAD_CONFIG when images of this size do not reduce to whole latents of the VAE of this config.json. */
export function sizeFitsVae(size: number, vaeConfig: string): void {
  const channels = readConfig(vaeConfig).block_out_channels;
  const factor = 2 ** ((Array.isArray(channels) ? channels.length : 4) - 1);
  fitsRule(size, { unit: factor, why: `${factor} pixels a latent` });
}

/** Throws DrmError BAD_CONFIG when images of this size do not reduce to whole patches of the model. */
function sizeFits(size: number, { sizeUnit, vaeFactor, patchSize, largestSize }: ModelDescription, file: string): void {
  const patches = patchSize > 1 ? ` × ${patchSize} latents a patch` : '';
  fitsRule(size, {
    unit: sizeUnit,
    why: `${vaeFactor} pixels a latent${patches}`,
    most: largestSize,
    whyMost: `pos_embed_max_size ${largestSize / sizeUnit} in ${file}`,
  });
}

export interface TokenizerFacts {
  /** Tokens of a caption, as it is cut and padded. */
  length: number;
  /** Id of the token that closes a text. */
  closing: number;
  /** Entries. */
  size: number;
}

/** Throws DrmError BAD_CONFIG when the image tower of this config.json sees images of another size. */
export function towerFits(size: number, file: string, config = readConfig(file)): void {
  const edge = number(part(config, 'vision_config'), 'image_size');
  if (edge !== undefined && edge !== size)
    throw misfit(
      `size: expected ${edge}, the image_size of ${file}, found ${size}; give --set size=${edge}, or another architecture`,
      { key: 'size', expected: String(edge), found: String(size) },
    );
}

/** Throws DrmError BAD_CONFIG when the CLIP of this config.json cannot read such captions or images. */
export function clipFits(
  {
    size,
    tokenizer: folder,
    batch,
    micro_batch,
  }: { size: number; tokenizer: string; batch: number; micro_batch: number },
  file: string,
  tokenizer: TokenizerFacts,
): void {
  const config = readConfig(file);
  const text = part(config, 'text_config');
  towerFits(size, file, config);
  const must = (key: string, fits: (value: number) => boolean, expected: string, remedy: string) => {
    const found = number(text, key);
    if (found !== undefined && !fits(found))
      throw misfit(`text_config.${key} in ${file}: expected ${expected}, found ${found}; ${remedy}`, {
        file,
        key,
        found: String(found),
      });
  };
  const shorter = (flag: string) => `change it there, or make a tokenizer with ${flag}`;
  must(
    'vocab_size',
    (entries) => entries >= tokenizer.size,
    `at least ${tokenizer.size}, the entries of the tokenizer ${folder}`,
    shorter(`--vocabulary ${number(text, 'vocab_size')}`),
  );
  must(
    'max_position_embeddings',
    (positions) => positions >= tokenizer.length,
    `at least ${tokenizer.length}, the length of captions that the tokenizer ${folder} gives`,
    shorter(`--max-length ${number(text, 'max_position_embeddings')}`),
  );
  // A text's feature is read at this token; were it never there, every caption would have the same one. 2 is what old
  // configs hold, for which the highest id is taken.
  must(
    'eos_token_id',
    (id) => id === 2 || id === tokenizer.closing,
    `${tokenizer.closing}, the token that the tokenizer ${folder} closes captions with`,
    `copy the architecture's folder, write ${tokenizer.closing} there (bos_token_id and vocab_size likewise), and name it with --set architecture=DIR`,
  );
  const rest = micro_batch > 0 ? batch % micro_batch : 0;
  if (batch < 2 || micro_batch === 1 || rest === 1)
    throw misfit(
      `${micro_batch > 0 ? 'micro_batch' : 'batch'}: expected at least 2 samples in each pass, since a caption is told from the others of its pass, found 1; choose others with --batch N${micro_batch > 0 ? ' --set micro_batch=N' : ''}`,
      { key: micro_batch > 0 ? 'micro_batch' : 'batch' },
    );
}

/** Width of a text encoder's states and of its pooled feature, from the config of one tower or of a whole CLIP. */
function textWidths(file: string): { states: number | undefined; pooled: number | undefined } {
  const config = readConfig(file);
  return {
    states: number(part(config, 'text_config'), 'hidden_size') ?? number(config, 'hidden_size'),
    pooled: number(config, 'projection_dim') ?? number(part(config, 'text_config'), 'projection_dim'),
  };
}

/** Throws DrmError BAD_CONFIG when transformer, VAE and text encoders are not of one model, or the size does not fit them. */
export function partsFit(size: number, source: PipelineSource): void {
  const { transformer, vae, textEncoder, textEncoder2 } = source;
  const [file, vaeFile] = [transformer.config, vae.config];
  if (file === undefined || vaeFile === undefined) return; // the core knows such files' shapes
  const model = describeBase(source);
  const must = (key: string, found: number, fits: boolean, expected: string) => {
    if (!fits)
      throw misfit(`${key} in ${file}: expected ${expected}, found ${found}; do these parts belong together?`, {
        file,
        key,
        found: String(found),
      });
  };
  const { vaeChannels, inChannels, pooledWidth, sequenceWidth } = model;
  must('in_channels', inChannels, inChannels === vaeChannels, `${vaeChannels}, the latent_channels of ${vaeFile}`);
  if (textEncoder?.config !== undefined && textEncoder2?.config !== undefined) {
    const of = `of ${textEncoder.config} and ${textEncoder2.config}`;
    const [l, g] = [textWidths(textEncoder.config), textWidths(textEncoder2.config)];
    if (l.pooled !== undefined && g.pooled !== undefined && pooledWidth > 0) {
      const pooled = l.pooled + g.pooled;
      const expected = `${l.pooled} + ${g.pooled} = ${pooled}, the projection_dim ${of}`;
      must('pooled_projection_dim', pooledWidth, pooledWidth === pooled, expected);
    }
    if (l.states !== undefined && g.states !== undefined) {
      const states = l.states + g.states;
      const expected = `at least ${l.states} + ${g.states} = ${states}, the hidden_size ${of}`;
      must('joint_attention_dim', sequenceWidth, sequenceWidth >= states, expected);
    }
  }
  sizeFits(size, model, file);
}

/** Throws DrmError BAD_CONFIG naming the targets that no layer of these weights answers to. */
export async function targetsFit(targets: readonly string[], weights: readonly string[]): Promise<void> {
  const layers = (await tensorNames(weights)).flatMap((key) => /^(.*)\.weight$/.exec(key)?.[1] ?? []);
  if (!layers.some((layer) => layer.startsWith('transformer_blocks.'))) return; // other spellings: the core translates them
  const lost = targets.filter((target) => !layers.some((layer) => layer === target || layer.endsWith(`.${target}`)));
  if (lost.length === 0) return;
  const inBlock = layers.flatMap((layer) => /^transformer_blocks\.\d+\.((?!.*\bnorm_).*)$/.exec(layer)?.[1] ?? []);
  throw misfit(
    `lora_targets: expected the ends of layers' names, found ${lost.join(', ')}, which no layer of ${weights[0]} has; layers of a block: ${[...new Set(inBlock)].join(', ')}`,
    { key: 'lora_targets', found: lost.join(', ') },
  );
}

/** The beginning of a text that may be very long. */
const beginningOf = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

/** Says that captions are longer than what their encoder reads. */
export function warnOfCuts(captions: readonly string[], all: number, events: Events): void {
  if (captions.length === 0) return;
  events.emit({
    event: 'warning',
    message: `${captions.length} of ${all} captions are longer than the tokenizer's length and are cut, such as ${beginningOf(captions[0] as string)}`,
  });
}

/** Where prompts come one by one, the first that is cut stands for all. */
export function cutWarnings(warn: (message: string) => void): (prompt: string) => void {
  let told = false;
  return (prompt) => {
    if (told) return;
    told = true;
    warn(`a prompt is longer than an encoder reads and is cut: ${beginningOf(prompt)}; others may be, too, untold`);
  };
}
