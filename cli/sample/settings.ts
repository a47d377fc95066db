// From the flags of `drm sample` to its settings.
import type { SampleRequest } from '../../binding/types.js';
import type { Context } from '../common/command.js';
import { resolveConfig } from '../config/resolve.js';
import type { SampleSettings } from '../config/types.js';
import { recommendedSettingsFile } from '../hub/resolve.js';
import type { PromptSettings } from '../text/prompts.js';
import type { SampleFlags } from './flags.js';
import type { Recipe } from './metadata.js';
import { sdePath } from './sde.js';

/** What a prompt says for itself over flags, over the recipe of an image (--from), --set, files, the model's own settings
 * and the defaults. */
export function sampleSettings(
  { options, global }: Pick<Context<SampleFlags>, 'options' | 'global'>,
  from: Recipe | undefined,
  own: PromptSettings = {},
): SampleSettings {
  const { size } = options;
  const given = {
    model: options.model,
    lora: options.lora,
    negative_prompt: options.negativePrompt,
    steps: options.steps,
    guidance: options.guidance,
    k: options.k,
    reward: options.reward,
    noise_level: options.noiseLevel,
    sde: options.sde || undefined,
    select: options.select,
    score_from: options.scoreFrom,
    score_until: options.scoreUntil,
    height: options.height ?? size,
    width: options.width ?? size,
    seed: options.seed,
    n: options.n,
    batch: options.batch,
    t5_length: options.t5Length,
    dtype: global.dtype,
    device: global.device === 'auto' ? undefined : global.device,
    free_encoders: options.freeEncoders || undefined, // a switch only turns on
    tile: options.tile,
    preview: options.preview === true ? 5 : options.preview,
    skip_layers: options.skipLayers,
    skip_layer_scale: options.skipLayerScale,
    skip_layer_start: options.skipLayerStart,
    skip_layer_stop: options.skipLayerStop,
  };
  const repeated = from && { ...from.settings, negative_prompt: from.negative_prompt, seed: Number(from.seed) };
  return resolveConfig('sample', {
    ...(global.config !== undefined && { file: global.config }),
    set: global.set,
    flags: {
      ...repeated,
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
      ...own,
    },
    recommended: (model) => recommendedSettingsFile(model, options.revision),
  }).values;
}

/** The part of a request that the settings say. */
export function requestOf(settings: SampleSettings) {
  return {
    steps: settings.steps,
    guidance: settings.guidance,
    height: settings.height,
    width: settings.width,
    t5Length: settings.t5_length,
    batch: settings.batch,
    ...(settings.skip_layers.length > 0 && {
      skipLayers: {
        layers: settings.skip_layers,
        scale: settings.skip_layer_scale,
        start: settings.skip_layer_start,
        stop: settings.skip_layer_stop,
      },
    }),
    ...(settings.sde &&
      settings.k === 1 && {
        stepwise: sdePath(settings.noise_level, settings.score_from, settings.score_until),
      }),
    freeEncoders: settings.free_encoders,
    decode: true,
    previewEvery: settings.preview,
    tile: settings.tile,
  } satisfies Partial<SampleRequest>;
}
