// From the flags of `drm data prepare emoji-prefs` to its source: the base model is found and named, not yet loaded.
import { DrmError } from '../../binding/error.js';
import type { Context } from '../command.js';
import { chooseDevice } from '../device.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { resolveModel } from '../hub/resolve.js';
import { findImageReward } from '../rewards/registry.js';
import { sampleSettings } from '../sample/settings.js';
import { openPainter } from './base_samples.js';
import { emojiPrefsSource } from './emoji_prefs.js';
import { likenessIn } from './likeness.js';
import type { Source } from './source.js';

export async function openEmojiPrefs(
  context: Context,
  { size, maxPairs }: { size: number; maxPairs: number | undefined },
): Promise<Source> {
  const { options, global, events, signal } = context;
  const {
    model,
    steps,
    guidance,
    seed,
    t5_length: t5Length,
    device: asked,
    dtype: kind,
  } = sampleSettings(context, undefined);
  const { setThreads } = await import('../../binding/index.js');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice({ device: asked, dtype: kind });
  const names = [model, ...((options.early as string[] | undefined) ?? [])];
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
  const by = options.scorer as string | undefined;
  const reward = by === undefined ? undefined : await findImageReward(by).load({ device, dtype: 'fp32', signal });
  if (reward && !reward.space)
    throw new DrmError('USAGE', `--scorer ${by}: expected one that compares pictures with each other, such as a CLIP`);
  const source = emojiPrefsSource(
    {
      size,
      seed,
      split: String(options.split ?? 'all'),
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
