// What people said of two images, as Pick-a-Pic and HPDv2 write it. Preparing and evaluating read it by the same rule.
import { flagIn, type Stated, shareIn, UNCLEAR } from './fields.js';

export interface ChoiceColumns {
  label_0?: unknown;
  has_label?: unknown;
}

export const TIE = 0.5;

/**
 * 1 when image 0 was preferred, 0 when image 1 was, 0.5 for anything between, which is a tie; undefined when there is no
 * label. Nothing but label_0 and has_label decides, whatever types the columns have.
 */
export function choiceIn({ label_0, has_label }: ChoiceColumns): Stated<0 | 0.5 | 1> {
  const [label, isLabelled] = [shareIn(label_0), flagIn(has_label)];
  if (isLabelled === false) return undefined;
  if (label === UNCLEAR || isLabelled === UNCLEAR) return UNCLEAR;
  return label === undefined || label === 0 || label === 1 ? label : TIE;
}

/** Places of the preferred image and the other one; undefined unless one of two is 1 and one is 0. */
export function preferenceIn(value: unknown): Stated<[chosen: number, rejected: number]> {
  if (!Array.isArray(value)) return UNCLEAR;
  const shares = value.map(shareIn);
  if (shares.includes(UNCLEAR)) return UNCLEAR;
  const [chosen, rejected] = [shares.indexOf(1), shares.indexOf(0)];
  return value.length === 2 && chosen >= 0 && rejected >= 0 ? [chosen, rejected] : undefined;
}
