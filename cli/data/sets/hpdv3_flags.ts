// Flags of `drm data prepare hpdv3`: which of its lists, how much of each, and what else to train on.
import { DrmError } from '../../../binding/error.js';
import type { Option } from '../../common/command.js';
import { numberOption, wholeOption } from '../../common/options.js';
import type { Hpdv3Options, MixedList } from './hpdv3.js';
import type { PairSetOptions } from './listed.js';

export const HPDV3_FLAGS: readonly Option[] = [
  { flags: '--list <file>', description: 'prepare hpdv3: the training list', default: 'train.json' },
  {
    flags: '--mix <list=images[:n]>',
    description: 'prepare hpdv3: trains on this list, too, or on n of its pairs; may be repeated',
    repeatable: true,
  },
  { flags: '--sample <n>', description: 'prepare hpdv3: n pairs of the training list', default: 'all' },
];

/** Throws DrmError USAGE. */
export function hpdv3Flags(flags: Readonly<Record<string, unknown>>): Omit<Hpdv3Options, keyof PairSetOptions> {
  return {
    minConfidence: numberOption(flags, 'minConfidence') ?? 0.95,
    list: flags.list === undefined ? undefined : String(flags.list),
    mix: ((flags.mix as string[] | undefined) ?? []).map(mixedList),
    sample: wholeOption(flags, 'sample', 1),
    seed: wholeOption(flags, 'seed', 0) ?? 0,
  };
}

function mixedList(text: string): MixedList {
  const [, list = '', images = '', sample] = /^([^=]+)=(.+?)(?::(\d+))?$/.exec(text) ?? [];
  if (list === '')
    throw new DrmError(
      'USAGE',
      `--mix ${text}: expected list=images or list=images:pairs, such as --mix pickapic.json=../pickapic_v1:200000`,
    );
  return { list, images, ...(sample !== undefined && { sample: Number(sample) }) };
}
