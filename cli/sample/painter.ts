// Images that a base model draws for a data set, some dozens a call: each is a function of its prompt, seed and recipe,
// and of the others in its call only in the last bit, which is why the calls are fixed, too.
import { DrmError } from '../../binding/error.js';
import type { Pipeline } from '../../binding/index.js';
import type { Dtype } from '../../binding/types.js';
import { groupedBy } from '../common/grouped_by.js';
import type { Painter, Recipe, Wish } from '../data/emoji/painter.js';
import type { ResolvedModel } from '../hub/resolve.js';
import type { Image } from '../image/write.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { tokenize } from './jobs.js';
import { sdePath } from './sde.js';

export interface PainterOptions {
  models: ResolvedModel[];
  device: string;
  dtype: Dtype;
  size: number;
  t5Length: number;
  signal: AbortSignal;
  onWarning(message: string): void;
}

/** Models are loaded when the first image of each is wished for. */
export function openPainter(options: PainterOptions): { paint: Painter; dispose(): Promise<void> } {
  const { models, device, dtype, size, t5Length, signal, onWarning } = options;
  const pipelines = new Map<number, Promise<Pipeline>>();
  const load = async (index: number): Promise<Pipeline> => {
    const { Pipeline } = await import('../../binding/index.js');
    return await Pipeline.load((models[index] as ResolvedModel).source, { device, dtype }, { signal });
  };
  const tokenizers = models.map((model) => loadTokenizers(model.tokenizers));
  const paintAlike = async ({ model, steps, guidance, noise }: Recipe, wishes: Wish[]): Promise<Image[]> => {
    const pipeline = pipelines.get(model) ?? load(model);
    pipelines.set(model, pipeline);
    const jobs = wishes.map(({ prompt, seed }) => ({ prompt, negative: '', seed: BigInt(seed) }));
    const texts = await tokenize(jobs, tokenizers[model] as (typeof tokenizers)[number], t5Length, onWarning);
    const images: Image[] = [];
    await (await pipeline).sample(
      {
        ...texts,
        steps,
        guidance,
        ...(noise > 0 && { stepwise: sdePath(noise) }),
        height: size,
        width: size,
        t5Length,
        batch: 0,
        freeEncoders: false,
        decode: true,
        previewEvery: 0,
        tile: 0,
      },
      {
        signal,
        onEvent: (event) => {
          if (event.kind === 'warning') onWarning(String(event.message));
          if (event.kind === 'image' && event.bytes)
            images[Number(event.index)] = {
              pixels: event.bytes,
              width: Number(event.width),
              height: Number(event.height),
            };
        },
      },
    );
    return images;
  };
  return {
    async paint(wishes) {
      const alike = groupedBy([...wishes.keys()], (i) => {
        const { model, steps, guidance, noise } = wishes[i] as Wish;
        return `${model} ${steps} ${guidance} ${noise}`;
      });
      const all: Image[] = [];
      for (const places of alike) {
        const group = places.map((i) => wishes[i] as Wish);
        const painted = await paintAlike(group[0] as Wish, group);
        for (const [n, i] of places.entries()) {
          const image = painted[n];
          if (!image) throw new DrmError('INTERNAL', `[data] the base drew no image for ${group[n]?.prompt}`);
          all[i] = image;
        }
      }
      return all;
    },
    async dispose() {
      for (const pipeline of pipelines.values()) await pipeline.then((loaded) => loaded.dispose()).catch(() => {});
    },
  };
}
