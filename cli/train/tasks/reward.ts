// `drm train`: a reward model from preference pairs. The run's model/ is its folder (see cli/rewards/describe.ts).
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { describeModel, type Trainer } from '../../../binding/index.js';
import type {
  ComponentFiles,
  ModelDescription,
  PipelineSource,
  PromptTokens,
  RewardObjective,
  TrainBatch,
} from '../../../binding/types.js';
import { writeAtomically } from '../../common/files.js';
import { VERSION } from '../../common/version.js';
import type { TrainSettings } from '../../config/types.js';
import { type PairBatch, type PairPass, squaresOf } from '../../data/load/pair_loader.js';
import { weightsHash } from '../../hub/fingerprint.js';
import type { ResolvedModel } from '../../hub/resolve.js';
import type { Team } from '../../parallel/team.js';
import { baseFits, type DescribedReward, findDrm, keptByRule, otherVae } from '../../rewards/base_fit.js';
import { DRM_CLASS, type RewardDescription } from '../../rewards/describe.js';
import { METRICS_FILE, readMetrics } from '../../runs/metrics.js';
import { loadTokenizers, type PromptTokenizer } from '../../text/tokenizer.js';
import { bytes } from '../../ui/figures.js';
import { cutWarnings, partsFit, readConfig, targetsFit, trainableBase, warnOfCuts } from '../fit.js';
import type { Values } from '../loop.js';
import { memoryShare } from '../memory.js';
import { type Prepared, type TaskContext, trainerOptions } from '../run.js';
import { EncodedInputs, promptBytes } from './encoded.js';
import { NativeTask } from './native.js';
import { openPairs, PairData, type PairForm, type PairPart, type PairParts, passesOf, recordsOf } from './pairs.js';
import { meanValues, pictureWarnings } from './pictures.js';
import { Texts } from './texts.js';

type Head = RewardDescription['head'];

const headOf = (s: TrainSettings): Head => ({
  channels: s.head_channels,
  groups: s.head_groups,
  hidden: s.head_hidden,
  dropout: s.head_dropout,
});

/** What the model is made of, by settings and files. */
interface Plan {
  base: ResolvedModel;
  described: ModelDescription;
  /** config.json of the base's transformer. */
  backbone: Record<string, unknown>;
  from: DescribedReward | undefined;
  keepLayers: number;
  layers: number;
  head: Head;
}

async function planOf(s: TrainSettings, warn: (message: string) => void): Promise<Plan> {
  if (s.model === '')
    throw new DrmError(
      'USAGE',
      'train: expected --model, the base that becomes a reward model, such as tiny or sd3.5-medium',
    );
  if (s.from !== '' && s.init === 'random')
    throw new DrmError(
      'USAGE',
      'train: --from goes on with trained weights, --from-scratch (init=random) draws new ones; leave one of the two out',
    );
  if (s.init === 'random' && s.backbone !== 'full')
    throw new DrmError(
      'BAD_CONFIG',
      `[train] backbone: expected full where first weights are random, found ${s.backbone}, which would leave them as they are drawn; give --backbone full, or leave --from-scratch out`,
      { key: 'backbone', found: s.backbone },
    );
  if (s.init === 'random' && s.export === 'authors')
    throw new DrmError(
      'BAD_CONFIG',
      "[train] export: expected drm where first weights are random, found authors, whose layout holds the base's skipped blocks beside blocks that never saw them; leave --export or --from-scratch out",
      { key: 'export', found: s.export },
    );
  const { base, transformer: file } = await trainableBase('train', s, 512);
  partsFit(s.size, base.source);
  if (s.backbone === 'lora') await targetsFit(s.lora_targets, base.source.transformer.weights);
  const backbone = readConfig(file);
  const described = describeModel({ source: base.source });
  const { layers } = described;
  const from = s.from === '' ? undefined : findDrm(s.from);
  const own = from?.description;
  if (from) {
    baseFits(from, s.model, base.source);
    const other = await otherVae(from, s.model, base.source.vae);
    if (other !== undefined) warn(other);
    for (const key of ['size', 't5_length'] as const)
      if (own && own[key] !== s[key])
        warn(
          `${from.name} was trained with ${key} ${own[key]} and goes on with ${s[key]}; keep it with --set ${key}=${own[key]}`,
        );
  }
  const keepLayers = own?.keep_layers ?? (s.keep_layers > 0 ? s.keep_layers : keptByRule(layers));
  if (s.keep_layers > 0 && s.keep_layers !== keepLayers)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] keep_layers: expected ${keepLayers}, as ${s.from} has it, found ${s.keep_layers}; leave it out`,
      { key: 'keep_layers' },
    );
  if (keepLayers > layers)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] keep_layers: expected at most ${layers}, the blocks of ${s.model}, found ${keepLayers}; 0 chooses by rule`,
      { key: 'keep_layers', expected: String(layers), found: String(keepLayers) },
    );
  const head = { ...headOf(s), ...own?.head, dropout: s.head_dropout };
  if (head.channels % head.groups !== 0)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] head_channels: expected a multiple of head_groups (${head.groups}), found ${head.channels}`,
      { key: 'head_channels', found: String(head.channels) },
    );
  return { base, described, backbone, from, keepLayers, layers, head };
}

/** What the core is asked to train. */
export function rewardObjective(
  s: TrainSettings,
  {
    source: { transformer, ...others },
    checkpoint,
    keepLayers,
    head = headOf(s),
  }: { source: PipelineSource; checkpoint?: ComponentFiles; keepLayers: number; head?: Head },
): RewardObjective {
  const source = { ...others, transformer: s.init === 'random' ? { ...transformer, weights: [] } : transformer };
  return {
    kind: 'reward',
    source,
    ...(checkpoint && { checkpoint }),
    settings: {
      ...s,
      keep_layers: keepLayers,
      head_channels: head.channels,
      head_groups: head.groups,
      head_hidden: head.hidden,
      head_dropout: head.dropout,
    },
  };
}

/** What the trainer has in its memory; the rest comes with each batch. */
interface Caches {
  /** Rows of the prompts, where they are encoded. */
  texts: Pick<Texts, 'row'> | undefined;
  latents: boolean;
}

class RewardTask extends NativeTask<PairBatch> {
  evaluate?: (steps: number, signal: AbortSignal) => Promise<Values>;

  constructor(
    trainer: Trainer,
    private readonly settings: TrainSettings,
    private readonly plan: Plan,
    private readonly parts: PairParts,
    private readonly form: PairForm,
    private readonly texts: Pick<Texts, 'row'> | undefined,
  ) {
    super(trainer);
    const { heldOut } = parts;
    if (heldOut) this.evaluate = (_steps, signal) => this.#evaluate(heldOut, signal);
  }

  batches(batch: PairBatch): TrainBatch[] {
    return batch.passes.map((pass) => this.#given(pass));
  }

  #given({ captions, ...pass }: PairPass): TrainBatch {
    return this.texts ? { ...pass, texts: captions.map((caption) => this.texts?.row(caption) as number) } : pass;
  }

  async #evaluate(heldOut: PairPart, signal: AbortSignal): Promise<Values> {
    const { settings, form, trainer } = this;
    const part = heldOut.first(settings.evaluate_samples);
    const given = this.#given.bind(this);
    const batches = async function* () {
      for await (const pass of passesOf(part, { ...form, pass: form.pass || settings.batch })) yield given(pass);
    };
    return meanValues(batches(), (batch) => trainer.evaluate(batch, { signal }));
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings: s, trainer, plan, parts } = this;
    const model = join(runFolder, 'model');
    await mkdir(model, { recursive: true });
    let evaluation: { step: number; values: Values } | undefined;
    for await (const event of readMetrics(join(runFolder, METRICS_FILE)))
      if (event.event === 'evaluation') evaluation = { step: event.step, values: event.values };
    const config: RewardDescription = {
      _class_name: DRM_CLASS,
      base: s.model,
      base_vae_sha256: await weightsHash(plan.base.source.vae),
      backbone: plan.backbone,
      keep_layers: plan.keepLayers,
      head: plan.head,
      t5_length: s.t5_length,
      size: s.size,
      training: { drm: VERSION, pairs: parts.train.length, ...(evaluation && { evaluation }), settings: s },
    };
    await trainer.export(join(model, 'model.safetensors'), s.export_dtype, { signal, layout: s.export });
    await writeAtomically(join(model, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    return { model, parameters: trainer.parameters };
  }
}

/** Images encoded at once. */
const atOnce = (size: number) => Math.max(1, Math.min(32, Math.floor(2 ** 22 / size ** 2)));

/** Encodes every image of these parts; returns the bad ones of each set. */
async function cacheLatents(
  trainer: Trainer,
  parts: PairPart[],
  size: number,
  warn: (message: string) => void,
  { events, signal }: TaskContext,
): Promise<Map<PairPart['set'], Set<number>>> {
  const started = performance.now();
  const wanted = new Map<PairPart['set'], { firstPicture: number; pictures: Set<number> }>();
  for (const part of parts) {
    const { firstPicture, pictures } = wanted.get(part.set) ?? { firstPicture: part.firstPicture, pictures: new Set() };
    for await (const { chosen, rejected } of recordsOf(part)) pictures.add(chosen).add(rejected);
    wanted.set(part.set, { firstPicture, pictures });
  }
  const total = [...wanted.values()].reduce((sum, { pictures }) => sum + pictures.size, 0);
  const bad = new Map<PairPart['set'], Set<number>>();
  let done = 0;
  for (const [set, { firstPicture, pictures }] of wanted) {
    const squares = squaresOf(set, { size, keepBytes: 0, onWarning: warn });
    const badHere = new Set<number>();
    bad.set(set, badHere);
    const list = [...pictures].sort((a, b) => a - b);
    const length = atOnce(size);
    const decode = (from: number) =>
      Promise.all(
        list.slice(from, from + length).map(async (picture) => ({ picture, pixels: await squares.get(picture) })),
      );
    let ahead = decode(0);
    for (let from = 0; from < list.length; from += length) {
      const decoded = await ahead;
      ahead = decode(from + length); // while these are encoded
      ahead.catch(() => {}); // heard of at the next turn
      const good = decoded.filter(({ pixels }) => pixels !== undefined);
      for (const { picture, pixels } of decoded) if (pixels === undefined) badHere.add(picture);
      if (good.length > 0) {
        const pixels = new Uint8Array(good.length * size ** 2 * 3);
        for (const [row, square] of good.entries()) pixels.set(square.pixels as Uint8Array, row * size ** 2 * 3);
        const numbers = good.map(({ picture }) => picture + firstPicture);
        await trainer.cacheLatents({ samples: [], pictures: numbers, pixels, height: size, width: size }, { signal });
      }
      done += decoded.length;
      events.emit({
        event: 'progress',
        id: 'latents',
        label: 'encoding images',
        step: done,
        total,
        unit: 'image',
        seconds: (performance.now() - started) / 1000,
      });
    }
    squares.close();
  }
  return bad;
}

/** Every distinct prompt of the parts; undefined when there are more than `most`. */
async function promptsOf(parts: PairPart[], most: number): Promise<Texts | undefined> {
  const texts = new Texts();
  for (const part of parts)
    for await (const { prompt } of recordsOf(part)) {
      texts.row(prompt);
      if (texts.all.length > most) return undefined;
    }
  return texts;
}

/** What is encoded once and kept, by the settings or by what fits. */
async function chooseCaches(
  s: TrainSettings,
  plan: Plan,
  parts: PairPart[],
  tokenizer: PromptTokenizer,
  { events, device, team }: TaskContext,
): Promise<Caches> {
  const say = (message: string) => events.emit({ event: 'info', message });
  const each = promptBytes(plan.base, tokenizer.clipLength + s.t5_length, 'fp32');
  const share = await memoryShare(device, team.localSize);
  const most = s.text === 'cached' ? Number.POSITIVE_INFINITY : Math.floor(share / each);
  const texts = s.text === 'on_the_fly' ? undefined : await promptsOf(parts, most);
  if (s.text === 'auto')
    say(
      texts
        ? `prompts: ${texts.all.length} of ${bytes(each)} each are encoded once and kept`
        : `prompts: more than ${most} of ${bytes(each)} each would take over ${bytes(share)}, a quarter of the memory; they are encoded at every step (text=cached keeps them all the same)`,
    );
  const { inChannels, vaeFactor } = plan.described;
  const latent = 2 * 4 * inChannels * (s.size / vaeFactor) ** 2;
  const pictures = [...new Set(parts.map(({ set }) => set))].reduce((sum, set) => sum + set.pictureCount, 0);
  const main = await memoryShare('cpu', team.localSize); // latents wait there whatever the device
  const latents = s.latents === 'cached' || (s.latents === 'auto' && pictures * latent <= main);
  if (s.latents === 'auto')
    say(
      latents
        ? `latents: ${pictures} images of ${bytes(latent)} each are encoded once and kept`
        : `latents: ${pictures} images of ${bytes(latent)} each would take over ${bytes(main)}, a quarter of the memory; they are encoded at every step (latents=cached keeps them all the same)`,
    );
  return { texts, latents };
}

/** What the first process has chosen, by its memory and files: which pairs there are must not differ between them. */
async function sameCaches(team: Team, parts: PairPart[], own: Caches): Promise<Caches> {
  const texts = own.texts !== undefined;
  const first = await team.fromFirst(async () => ({ texts, latents: own.latents }));
  if (first.texts === texts && first.latents === own.latents) return own;
  const all = first.texts ? await promptsOf(parts, Number.POSITIVE_INFINITY) : undefined;
  return { texts: all, latents: first.latents };
}

async function cachePrompts(
  trainer: Trainer,
  texts: Texts,
  t5Length: number,
  tokenizer: PromptTokenizer,
  { events, signal }: TaskContext,
): Promise<void> {
  const tokens: PromptTokens[] = [];
  const cut: string[] = [];
  for (const text of texts.all) {
    const prompt = await tokenizer.encode(text, t5Length);
    if (prompt.truncated.length > 0) cut.push(text);
    tokens.push(prompt.tokens);
  }
  warnOfCuts(cut, texts.all.length, events);
  events.emit({ event: 'info', message: `encoding ${tokens.length} prompts` }); // minutes, with a T5
  await trainer.cachePrompts(tokens, { signal });
}

export async function prepareReward(s: TrainSettings, context: TaskContext): Promise<Prepared> {
  const { events, device, dtype, signal, team } = context;
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const warnOfPicture = pictureWarnings(events);
  const plan = await planOf(s, warn);
  const parts = await openPairs(s, events);
  const used = [parts.train, ...(parts.heldOut ? [parts.heldOut.first(s.evaluate_samples)] : [])];
  try {
    const tokenizer = loadTokenizers(plan.base.tokenizers);
    const found =
      s.text === 'on_the_fly' || s.latents === 'on_the_fly'
        ? undefined
        : await EncodedInputs.find(used, plan.base, s, tokenizer.clipLength);
    const own = found ? { texts: found, latents: true } : await chooseCaches(s, plan, used, tokenizer, context);
    const caches = await sameCaches(team, used, own);
    const encoded = caches.texts === found ? found : undefined;
    const { Trainer } = await import('../../../binding/index.js');
    const { from, keepLayers, head } = plan;
    const files = { source: plan.base.source, ...(from && { checkpoint: from.checkpoint }) };
    const objective = rewardObjective(s, { ...files, keepLayers, head });
    const trainer = await Trainer.create(objective, trainerOptions(s, device, dtype), { signal, group: team.group });
    try {
      if (caches.texts instanceof Texts) await cachePrompts(trainer, caches.texts, s.t5_length, tokenizer, context);
      if (encoded)
        events.emit({ event: 'info', message: `latents and prompts are read from ${encoded.folders.join(', ')}` });
      let leftOut = 0;
      if (caches.latents) {
        const bad = encoded
          ? await encoded.load(trainer, signal)
          : await cacheLatents(trainer, used, s.size, warnOfPicture, context);
        const without = (part: PairPart) => part.without(bad.get(part.set) ?? new Set());
        const before = parts.train.length;
        parts.train = await without(parts.train);
        if (parts.heldOut) parts.heldOut = await without(parts.heldOut.first(s.evaluate_samples));
        leftOut = before - parts.train.length;
        if (parts.train.length < s.batch)
          throw new DrmError(
            'BAD_FILE',
            `[train] ${s.data}: expected at least ${s.batch} pairs whose images can be read, a batch, found ${parts.train.length} of ${before}; check it with \`drm data inspect ${s.data} --verify\``,
            { file: s.data },
          );
      }
      const cut = cutWarnings(warn);
      const form: PairForm = {
        size: s.size,
        pass: s.micro_batch,
        pixels: !caches.latents,
        onWarning: warnOfPicture,
        ...(!caches.texts && {
          tokens: async (prompt: string) => {
            const { tokens, truncated } = await tokenizer.encode(prompt, s.t5_length);
            if (truncated.length > 0) cut(prompt);
            return tokens;
          },
        }),
      };
      const { train, heldOut } = parts;
      return {
        task: new RewardTask(trainer, s, plan, parts, form, caches.texts),
        data: new PairData(train, s, form, team, leftOut),
        steps: s.steps > 0 ? s.steps : Math.max(1, Math.ceil((s.epochs * train.length) / s.batch)),
        facts: {
          model: s.model,
          blocks: `${plan.keepLayers}/${plan.layers}`,
          ...(s.backbone !== 'full' && { backbone: s.backbone }),
          ...(s.init === 'random' && { init: s.init }),
          ...(plan.from && { from: plan.from.name }),
          parameters: trainer.parameters,
          pairs: train.length,
          ...(heldOut && { held_out: heldOut.length, held_out_from: parts.note }),
          size: s.size,
        },
        close: async () => {
          trainer.dispose();
          await parts.close();
        },
      };
    } catch (error) {
      trainer.dispose();
      throw error;
    }
  } catch (error) {
    await parts.close();
    throw error;
  }
}
