// Which form of its caption a sample is trained with: as it is, or cut before its last comma ("red apple, noto style" to
// "red apple"). A function of seed, step and sample.
import { philox } from '../../random/philox.js';

/** The caption without what follows its last comma; the caption itself when it has none. */
export function shortCaption(caption: string): string {
  const at = caption.lastIndexOf(',');
  return at > 0 ? caption.slice(0, at).trimEnd() : caption;
}

/** Purpose::Caption of csrc/random/philox.h. */
const PURPOSE = 9;

/** Whether the sample's caption is short at this step: true for `share` of them. */
export function isShort(seed: number, step: number, sample: number, share: number): boolean {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  const [word = 0] = philox([0, sample, step, PURPOSE * 2 ** 24], key);
  return word / 2 ** 32 < share;
}
