// What judges pictures, as the commands see it.
import type { Dtype, Features, JobOptions } from '../../binding/types.js';
import type { Picture } from '../image/write.js';

export interface Scorer {
  /** As the user called it. */
  readonly name: string;
  /** What the number is: 'cosine'. */
  readonly unit: string;
  /** Of a CLIP: its logits are this times the cosine. */
  readonly scale?: number;
  /** A number for each picture under its own caption; larger is better. */
  score(pictures: Picture[], captions: string[], job?: JobOptions): Promise<number[]>;
  /** For a scorer whose pictures and captions meet in one space: then pictures can be searched by caption, and sets of
   * pictures have a distance. */
  readonly space?: Space;
  dispose(): void;
}

export interface Space {
  /** Unit vectors. */
  pictures(pictures: Picture[], job?: JobOptions): Promise<Features>;
  captions(captions: string[], job?: JobOptions): Promise<Features>;
}

export interface ScorerOptions {
  device: string;
  dtype: Dtype;
  signal?: AbortSignal;
  onWarning?: (message: string) => void;
}
