// What a reward model's training encodes once and keeps: prompts and latents, by the settings, by what `drm data encode` left
// there, or by what fits into memory.
import type { Trainer } from '../../../binding/index.js';
import type { PromptTokens } from '../../../binding/types.js';
import type { TrainSettings } from '../../config/types.js';
import type { Team } from '../../parallel/team.js';
import type { PromptTokenizer } from '../../text/tokenizer.js';
import { bytes } from '../../ui/figures.js';
import { warnOfCuts } from '../fit.js';
import { memoryShare } from '../memory.js';
import type { TaskContext } from '../run.js';
import { EncodedInputs, promptBytes } from './encoded.js';
import { type PairPart, recordsOf } from './pairs.js';
import { cacheLatents } from './reward_latents.js';
import type { RewardPlan } from './reward_plan.js';
import { Texts } from './texts.js';

/** What the trainer has in its memory; the rest comes with each batch. */
interface Caches {
  /** Rows of the prompts, where they are encoded. */
  texts: Pick<Texts, 'row'> | undefined;
  latents: boolean;
}

/** The same for all processes, and where it comes from. */
export interface RewardInputs extends Caches {
  /** Left there by `drm data encode`; undefined where this training encodes. */
  encoded: EncodedInputs | undefined;
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
  plan: RewardPlan,
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
  const images = [...new Set(parts.map(({ set }) => set))].reduce((sum, set) => sum + set.imageCount, 0);
  const main = await memoryShare('cpu', team.localSize); // latents wait there whatever the device
  const latents = s.latents === 'cached' || (s.latents === 'auto' && images * latent <= main);
  if (s.latents === 'auto')
    say(
      latents
        ? `latents: ${images} images of ${bytes(latent)} each are encoded once and kept`
        : `latents: ${images} images of ${bytes(latent)} each would take over ${bytes(main)}, a quarter of the memory; they are encoded at every step (latents=cached keeps them all the same)`,
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

export async function chooseInputs(
  s: TrainSettings,
  plan: RewardPlan,
  parts: PairPart[],
  tokenizer: PromptTokenizer,
  context: TaskContext,
): Promise<RewardInputs> {
  const found =
    s.text === 'on_the_fly' || s.latents === 'on_the_fly'
      ? undefined
      : await EncodedInputs.find(parts, plan.base, s, tokenizer.clipLength);
  const own = found ? { texts: found, latents: true } : await chooseCaches(s, plan, parts, tokenizer, context);
  const caches = await sameCaches(context.team, parts, own);
  return { ...caches, encoded: caches.texts === found ? found : undefined };
}

/** Gives the trainer what it keeps; returns each set's images that could not be decoded, undefined where none were read. */
export async function giveInputs(
  trainer: Trainer,
  { texts, latents, encoded }: RewardInputs,
  { settings: s, parts, tokenizer }: { settings: TrainSettings; parts: PairPart[]; tokenizer: PromptTokenizer },
  warnOfImage: (message: string) => void,
  context: TaskContext,
): Promise<Map<PairPart['set'], Set<number>> | undefined> {
  const { events, signal } = context;
  if (texts instanceof Texts) await cachePrompts(trainer, texts, s.t5_length, tokenizer, context);
  if (encoded)
    events.emit({ event: 'info', message: `latents and prompts are read from ${encoded.folders.join(', ')}` });
  if (!latents) return undefined;
  return encoded
    ? await encoded.load(trainer, signal)
    : await cacheLatents(trainer, parts, s.size, warnOfImage, context);
}
