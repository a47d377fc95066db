// Options of commands that sample, which are settings at the same time.
import { randomInt } from 'node:crypto';
import { DrmError } from '../../binding/error.js';
import { toNumber } from '../common/options.js';

/** A command may have some of them only. */
export interface SampleFlags {
  model?: string | undefined;
  lora?: string[] | undefined;
  negativePrompt?: string | undefined;
  steps?: number | undefined;
  guidance?: number | undefined;
  k?: number | undefined;
  reward?: string | undefined;
  noiseLevel?: number | undefined;
  sde?: boolean;
  select?: string | undefined;
  scoreFrom?: number | undefined;
  scoreUntil?: number | undefined;
  /** Of both sides, where they are not given. */
  size?: number | undefined;
  height?: number | undefined;
  width?: number | undefined;
  seed?: number | undefined;
  n?: number | undefined;
  batch?: number | undefined;
  t5Length?: number | undefined;
  freeEncoders?: boolean;
  tile?: number | undefined;
  /** True: without a number. */
  preview?: number | true | undefined;
  skipLayers?: number[] | undefined;
  skipLayerScale?: number | undefined;
  skipLayerStart?: number | undefined;
  skipLayerStop?: number | undefined;
  revision?: string | undefined;
}

/** A whole number, or `random`: one of 2^31. It is in the image's metadata, by which --from repeats it. */
export const toSeed = (text: string, flag: string): number =>
  text === 'random' ? randomInt(2 ** 31) : toNumber(text, flag);

/** Block numbers such as 7,8,9. Throws DrmError USAGE. */
export const toLayers = (text: string, flag: string): number[] =>
  text.split(',').map((part) => {
    const layer = Number(part);
    if (part.trim() === '' || !Number.isInteger(layer))
      throw new DrmError('USAGE', `${flag}: expected block numbers such as 7,8,9, found ${JSON.stringify(text)}`);
    return layer;
  });
