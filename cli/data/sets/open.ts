// From the flags of `drm data prepare` to the source of a published set of pairs.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { numberOption, wholeOption } from '../../common/options.js';
import { WORK } from '../prepared/prepare.js';
import type { Source } from '../prepared/source.js';
import type { MixedList } from './hpdv3.js';
import type { PairSetOptions } from './listed.js';

type Options = Record<string, unknown>;

const textOf = (value: unknown): string | undefined => (value === undefined ? undefined : String(value));

/** Throws DrmError USAGE. */
export function pairSetOptions(options: Options, out: string, size: number | undefined): PairSetOptions {
  return {
    from: String(options.from),
    split: String(options.split ?? 'all'),
    size,
    selfContained: options.selfContained === true,
    keepTies: options.keepTies === true,
    images: textOf(options.images),
    rewrite: ((options.rewrite as string[] | undefined) ?? []).map(rewriteRule),
    work: join(out, WORK),
  };
}

export async function openPairSet(kind: string, pairs: PairSetOptions, options: Options): Promise<Source> {
  if (kind === 'hpdv2') return (await import('./hpdv2.js')).hpdv2Source(pairs);
  if (kind === 'imagereward') return (await import('./imagereward.js')).imagerewardSource(pairs);
  if (kind === 'pickapic') return (await import('./pickapic.js')).pickapicSource(pairs);
  const { hpdv3Source } = await import('./hpdv3.js');
  return hpdv3Source({
    ...pairs,
    minConfidence: numberOption(options, 'minConfidence') ?? 0.95,
    list: textOf(options.list),
    mix: ((options.mix as string[] | undefined) ?? []).map(mixedList),
    sample: wholeOption(options, 'sample', 1),
    seed: wholeOption(options, 'seed', 0) ?? 0,
  });
}

function rewriteRule(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new DrmError('USAGE', `--rewrite ${text}: expected from=to, such as --rewrite images/=`);
  return [text.slice(0, at), text.slice(at + 1)];
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
