// Flags of `drm data prepare hpdv3`: which of its lists, how much of each, and what else to train on.
import { DrmError } from '../../../binding/error.js';
import type { Option, OptionsOf } from '../../common/option.js';
import { toWhole } from '../../common/options.js';
import type { Hpdv3Options, MixedList } from './hpdv3.js';
import type { AskedPairs } from './published.js';

export const HPDV3_FLAGS = [
  { flags: '--list <file>', description: 'hpdv3: the training list', default: 'train.json' },
  {
    flags: '--mix <list=images[:n]>',
    description: 'hpdv3: trains on this list, too, or on n of its pairs; may be repeated',
    repeatable: true,
  },
  {
    flags: '--sample <n>',
    description: 'hpdv3: n pairs of the training list',
    default: 'all',
    parse: toWhole(1),
  },
] as const satisfies readonly Option[];

/** Throws DrmError USAGE. */
export const hpdv3Options = (
  pairs: AskedPairs,
  { list, mix = [], sample }: OptionsOf<typeof HPDV3_FLAGS>,
): Hpdv3Options => ({ ...pairs, minConfidence: pairs.minConfidence ?? 0.95, list, mix: mix.map(mixedList), sample });

function mixedList(text: string): MixedList {
  const [, list = '', images = '', sample] = /^([^=]+)=(.+?)(?::(\d+))?$/.exec(text) ?? [];
  if (list === '')
    throw new DrmError(
      'USAGE',
      `--mix ${text}: expected list=images or list=images:pairs, such as --mix pickapic.json=../pickapic_v1:200000`,
    );
  return { list, images, ...(sample !== undefined && { sample: Number(sample) }) };
}
