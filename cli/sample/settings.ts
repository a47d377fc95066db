// From the flags of `drm sample` to its settings.
import { DrmError } from '../../binding/error.js';
import type { SampleRequest } from '../../binding/types.js';
import type { Context } from '../common/command.js';
import { numberOption } from '../common/options.js';
import { resolveConfig } from '../config/resolve.js';
import type { SampleSettings } from '../config/types.js';
import { recommendedSettingsFile } from '../hub/resolve.js';
import type { Recipe } from './metadata.js';

function layers(text: unknown): number[] | undefined {
  if (text === undefined) return undefined;
  return String(text)
    .split(',')
    .map((part) => {
      const layer = Number(part);
      if (part.trim() === '' || !Number.isInteger(layer))
        throw new DrmError(
          'USAGE',
          `--skip-layers: expected block numbers such as 7,8,9, found ${JSON.stringify(text)}`,
        );
      return layer;
    });
}

/** Flags over the recipe of an image (--from) over --set, files, the model's own settings and the defaults. */
export function sampleSettings({ options, global }: Context, from: Recipe | undefined): SampleSettings {
  const size = numberOption(options, 'size');
  const given = {
    model: options.model,
    lora: options.lora,
    negative_prompt: options.negativePrompt,
    steps: numberOption(options, 'steps'),
    guidance: numberOption(options, 'guidance'),
    k: numberOption(options, 'k'),
    reward: options.reward,
    noise_level: numberOption(options, 'noiseLevel'),
    select: options.select,
    score_from: numberOption(options, 'scoreFrom'),
    score_until: numberOption(options, 'scoreUntil'),
    height: numberOption(options, 'height') ?? size,
    width: numberOption(options, 'width') ?? size,
    seed: numberOption(options, 'seed'),
    n: numberOption(options, 'n'),
    batch: numberOption(options, 'batch'),
    t5_length: numberOption(options, 't5Length'),
    dtype: global.dtype,
    device: global.device === 'auto' ? undefined : global.device,
    free_encoders: options.freeEncoders,
    tile: numberOption(options, 'tile'),
    preview: options.preview === true ? 5 : numberOption(options, 'preview'),
    skip_layers: layers(options.skipLayers),
    skip_layer_scale: numberOption(options, 'skipLayerScale'),
    skip_layer_start: numberOption(options, 'skipLayerStart'),
    skip_layer_stop: numberOption(options, 'skipLayerStop'),
  };
  const repeated = from && { ...from.settings, negative_prompt: from.negative_prompt, seed: Number(from.seed) };
  return resolveConfig('sample', {
    ...(global.config !== undefined && { file: global.config }),
    set: global.set,
    flags: { ...repeated, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) },
    recommended: (model) =>
      recommendedSettingsFile(model, options.revision === undefined ? undefined : String(options.revision)),
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
    freeEncoders: settings.free_encoders,
    decode: true,
    previewEvery: settings.preview,
    tile: settings.tile,
  } satisfies Partial<SampleRequest>;
}
