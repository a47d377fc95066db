// By which settings the base draws: worse ones than recommended, and what they are called.
import type { Grade } from './corruptions.js';
import type { Recipe } from './painter.js';

/**
 * Worse than the recommended settings: fewer steps, with less guidance or with too much of it. At 1 the two are close, at 5
 * there are two steps.
 */
export function worseRecipe(best: Recipe, grade: Grade, much: boolean): Recipe {
  const part = [0.5, 0.35, 0.25, 0.15, 0.07][grade - 1] as number;
  const less = [0.5, 0.25, 0, 0, 0][grade - 1] as number;
  const more = [2, 2.7, 3.5, 5, 7][grade - 1] as number;
  return {
    model: best.model,
    steps: Math.max(1, Math.round(best.steps * part)),
    noise: best.noise,
    guidance: much ? best.guidance * more : 1 + (best.guidance - 1) * less,
  };
}

export const recipeName = ({ model, steps, guidance, noise }: Recipe, names: readonly string[]): string =>
  `${names[model]}, ${steps} steps, guidance ${guidance}${noise > 0 ? `, noise level ${noise}` : ''}`;
