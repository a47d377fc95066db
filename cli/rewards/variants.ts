// What is chosen of a scorer by its name: hpsv2@no-antialias, pickscore@over-26@fp16. Each kind says which it has.
import { DrmError } from '../../binding/error.js';
import type { Dtype } from '../../binding/types.js';
import { nearest } from '../common/nearest.js';

/** Names of variants, and what they change. */
export type Variants = Readonly<Record<string, string>>;

export const PRECISIONS: Variants = {
  fp32: 'computed in fp32',
  bf16: 'computed in bf16',
  fp16: 'computed in fp16',
};

/** "hpsv2@no-antialias" in its parts. */
export function splitVariants(name: string): { kind: string; variants: string[] } {
  const [kind = '', ...variants] = name.split('@');
  return { kind, variants };
}

/** Throws DrmError USAGE for a variant that this kind does not have. */
export function expectVariants(name: string, kind: string, variants: readonly string[], known: Variants = {}): void {
  for (const variant of variants) {
    if (Object.hasOwn(known, variant)) continue;
    const names = Object.keys(known);
    const guess = nearest(variant, names);
    const expected =
      names.length > 0 ? `one of ${names.map((one) => `${kind}@${one}`).join(', ')}` : `${kind}, which has no variants`;
    throw new DrmError(
      'USAGE',
      `[reward] ${name}: expected ${expected}, found @${variant}${guess ? `; did you mean ${kind}@${guess}?` : ''}`,
      { reward: name },
    );
  }
}

/** The last precision counts. */
export const precisionOf = (variants: readonly string[], usual: Dtype): Dtype =>
  (variants.findLast((variant) => Object.hasOwn(PRECISIONS, variant)) as Dtype | undefined) ?? usual;
