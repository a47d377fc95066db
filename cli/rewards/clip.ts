// A CLIP folder as a reward: transformers' layout, with its tokenizer in the same folder.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { ScorerSource } from '../../binding/types.js';
import { chooseDevice } from '../common/device.js';
import type { JsonObject } from '../common/json.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { cosine } from './features.js';
import { distinct, type FeatureSpace, imageReward, type Reward } from './reward.js';
import type { ImageSpec, RewardLoading } from './spec.js';

/** The files of a CLIP folder. Throws DrmError MISSING_WEIGHTS naming what was looked for. */
function clipFiles(folder: string): ScorerSource {
  const missing = (what: string) =>
    new DrmError(
      'MISSING_WEIGHTS',
      `[score] ${folder}: expected a CLIP folder as transformers writes it, found no ${what}; name another folder with --scorer clip:FOLDER`,
      { file: folder },
    );
  if (!existsSync(folder)) throw missing('such folder');
  const config = join(folder, 'config.json');
  if (!existsSync(config)) throw missing('config.json');
  const names = readdirSync(folder);
  const weights = ['model.safetensors', 'model.safetensors.index.json', 'open_clip_model.safetensors'].find((name) =>
    names.includes(name),
  );
  if (!weights) throw missing('model.safetensors');
  const preprocessor = join(folder, 'preprocessor_config.json');
  return {
    kind: 'clip',
    config,
    weights: [join(folder, weights)],
    ...(existsSync(preprocessor) && { preprocessorConfig: preprocessor }),
  };
}

async function loadClip(name: string, folder: string, loading: RewardLoading): Promise<Reward> {
  const { Scorer } = await import('../../binding/index.js');
  const { Tokenizer } = await import('../text/tokenizer.js');
  const { signal, onWarning } = loading;
  const { device, dtype } = await chooseDevice({ device: loading.device, dtype: 'fp32' });
  const source = clipFiles(folder);
  const tokenizer = Tokenizer.fromFolder(folder);
  const clip = await Scorer.load(source, { device, dtype }, signal ? { signal } : {});
  const rowsOf = async (captions: readonly string[]) => {
    const rows: BigInt64Array[] = [];
    let cut = 0;
    for (const caption of captions) {
      const { ids, dropped } = await tokenizer.padded(caption, clip.info.tokens);
      rows.push(ids);
      if (dropped !== '') cut += 1;
    }
    if (cut > 0)
      onWarning?.(`${name} reads ${clip.info.tokens} tokens; ${cut} of ${captions.length} captions are longer`);
    return rows;
  };
  const space: FeatureSpace = {
    images: (images, job) => clip.imageFeatures(images, job),
    captions: async (captions, job) => clip.textFeatures(await rowsOf(captions), job),
  };
  return imageReward({
    ...{ name, unit: 'cosine', definition: 'cosine of image and prompt', space },
    scale: Math.exp(clip.info.logitScale),
    weights: weightsFingerprint({ scorer: { weights: source.weights } }),
    score: async (judged, job) => {
      const { all, of } = distinct(judged.map(({ prompt }) => prompt));
      const said = await space.captions(all, job);
      const seen = await space.images(
        judged.map(({ image }) => image),
        job,
      );
      return judged.map((_, i) => cosine(seen, i, said, of[i] as number));
    },
    guide: async (prompts) => {
      const { all, of } = distinct(prompts);
      return { scorer: clip.handle(), rows: (await rowsOf(all)).map((ids) => ({ ids })), rowOf: of, factor: 1 };
    },
    dispose: () => clip.dispose(),
  });
}

/** Of a folder that is not looked into before it is loaded. */
export const clipAt = (name: string, folder: string): ImageSpec => ({
  name,
  sees: 'images',
  load: (loading) => loadClip(name, folder, loading),
});

export const isClipConfig = ({ model_type }: JsonObject): boolean => model_type === 'clip';
