// What the embedded preferences ask of a base model: images by prompt, seed and recipe. Who draws them: sample/painter.ts.
import type { Image } from '../../image/write.js';

export interface Recipe {
  /** Which of the models, by index. */
  model: number;
  steps: number;
  guidance: number;
  /** a of the SDE step (Eq. 6); 0: the ODE. */
  noise: number;
}

export interface Wish extends Recipe {
  prompt: string;
  seed: number;
}

/** Draws what is wished for, in order. */
export type Painter = (wishes: Wish[]) => Promise<Image[]>;
