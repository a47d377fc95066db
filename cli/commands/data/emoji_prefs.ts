// From the flags of `drm data prepare emoji-prefs` to its source: the base model is found and named, not yet loaded.
import { DrmError } from '../../../binding/error.js';
import { chooseDevice } from '../../common/device.js';
import { emojiPrefsSource } from '../../data/emoji/emoji_prefs.js';
import type { Likeness } from '../../data/emoji/likeness.js';
import { ratedPrefsSource } from '../../data/emoji/rated_prefs.js';
import type { Source } from '../../data/prepared/source.js';
import { weightsFingerprint } from '../../hub/fingerprint.js';
import { resolveModel } from '../../hub/resolve.js';
import { cosine } from '../../rewards/features.js';
import { findImageReward } from '../../rewards/registry.js';
import type { FeatureSpace } from '../../rewards/reward.js';
import { openPainter } from '../../sample/painter.js';
import { sampleSettings } from '../../sample/settings.js';
import type { PrepareContext } from './options.js';

/** The mean of the cosines to the real image and to its caption. */
const likenessIn =
  (space: FeatureSpace): Likeness =>
  async (drawn, real, caption) => {
    const images = await space.images([real, ...drawn]);
    const captions = await space.captions([caption]);
    return drawn.map((_, i) => (cosine(images, i + 1, images, 0) + cosine(images, i + 1, captions, 0)) / 2);
  };

/** What has no meaning there. Throws DrmError USAGE. */
function refuseBesideRaters({ scorer, early }: PrepareContext['options']): void {
  const flag = scorer !== undefined ? '--scorer' : early?.length ? '--early' : undefined;
  if (flag)
    throw new DrmError(
      'USAGE',
      `--raters with ${flag}: expected one of them, since raters vote on images of the base alone; leave one of the two out`,
    );
}

export async function openEmojiPrefs(
  context: PrepareContext,
  { size, maxPairs }: { size: number; maxPairs: number | undefined },
): Promise<Source> {
  const { options, global, events, signal } = context;
  const { scorer: by, raters } = options;
  if (raters === undefined && options.ownImages !== undefined)
    throw new DrmError(
      'USAGE',
      '--own-images: expected --raters N beside it, which alone draws images so; add it, or leave this out',
    );
  if (raters !== undefined) refuseBesideRaters(options);
  const {
    model,
    steps,
    guidance,
    seed,
    t5_length: t5Length,
    device: asked,
    dtype: kind,
  } = sampleSettings(context, undefined);
  const { setThreads } = await import('../../../binding/index.js');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice({ device: asked, dtype: kind });
  const names = [model, ...(options.early ?? [])];
  const models = [];
  for (const name of names) models.push(await resolveModel(name, {}));
  const { paint, dispose } = openPainter({
    models,
    device,
    dtype,
    size,
    t5Length,
    signal,
    onWarning: (message) => events.emit({ event: 'warning', message }),
  });
  if (raters !== undefined) {
    const [base] = models as [(typeof models)[number]];
    const rated = ratedPrefsSource(
      {
        ...{ size, seed, split: options.split ?? 'all', maxPairs, raters },
        ...{ ownImages: options.ownImages, minConfidence: options.minConfidence },
        ...{ steps, guidance, dtype, t5Length },
        model: { name: base.name, fingerprint: weightsFingerprint(base.source) },
      },
      paint,
    );
    return { ...rated, close: dispose };
  }
  const reward = by === undefined ? undefined : await findImageReward(by).load({ device, dtype: 'fp32', signal });
  if (reward && !reward.space)
    throw new DrmError('USAGE', `--scorer ${by}: expected one that compares images with each other, such as a CLIP`);
  const source = emojiPrefsSource(
    {
      size,
      seed,
      split: options.split ?? 'all',
      maxPairs,
      steps,
      guidance,
      models: models.map(({ name, source }) => ({ name, fingerprint: weightsFingerprint(source) })),
      ...(reward && { scorer: { name: reward.name, fingerprint: reward.weights } }),
      dtype,
      t5Length,
    },
    paint,
    reward?.space && likenessIn(reward.space),
  );
  const close = async () => {
    await dispose();
    reward?.dispose();
  };
  return { ...source, close };
}
