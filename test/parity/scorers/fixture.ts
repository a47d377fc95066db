// The fixture of scorers that a golden check reads: tensors by name, images, the description of each case.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Bitmap } from '../../../binding/types.js';
import type { Comparison } from '../report.js';
import { readTensors, type Tensor } from '../safetensors.js';

export interface Case {
  weights: string[] | null;
  tolerance: Record<string, number>;
  /** Names of tensors that hold what a known mistake would give. */
  negative_controls: string[];
  config: unknown;
}

interface Stored {
  rtol: number;
  cases: Record<string, Case>;
}

export class ScorersFixture {
  readonly io: Map<string, Tensor>;
  readonly stored: Stored;

  constructor(readonly folder: string) {
    this.io = readTensors(join(folder, 'io.safetensors'));
    this.stored = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Stored;
  }

  tensor(name: string): Tensor {
    const tensor = this.io.get(name);
    if (!tensor) throw new Error(`${this.folder}/io.safetensors: expected a tensor ${name}`);
    return tensor;
  }

  async photo(name: string): Promise<Bitmap> {
    const { data, info } = await sharp(join(this.folder, `images/photo_${name}.png`), { ignoreIcc: true })
      .removeAlpha()
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { pixels: data, width: info.width, height: info.height };
  }

  /** |got - want| <= tolerance + rtol |want| is what passes: the error beyond the second term is given. */
  compare(tensor: string, got: ArrayLike<number>, want: ArrayLike<number>, atol: number): Comparison {
    if (got.length !== want.length) return { tensor, note: `expected ${want.length} numbers, got ${got.length}` };
    let error = 0;
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs((got[i] as number) - (want[i] as number));
      if (Number.isNaN(difference)) return { tensor, error: null, atol };
      error = Math.max(error, difference - this.stored.rtol * Math.abs(want[i] as number));
    }
    return { tensor, error, atol };
  }

  /** What a known mistake gives must be ten tolerances away: the error is ten tolerances by how far it is. */
  unlike(name: string, controls: string[], got: ArrayLike<number>, atol: number): Comparison[] {
    return controls.map((control) => {
      const mistaken = this.tensor(`${name}/${control}`).data as Float32Array;
      const gap = mistaken.reduce((most, value, i) => Math.max(most, Math.abs(value - (got[i] ?? Number.NaN))), 0);
      return { tensor: `${name}/${control}`, error: (10 * atol) / gap, atol: 1, note: 'a known mistake' };
    });
  }

  /** What a known mistake would give, which must be more than ten tolerances away somewhere. */
  differs(tensor: string, got: ArrayLike<number>, mistake: ArrayLike<number>, atol: number): Comparison {
    let gap = 0;
    for (let i = 0; i < mistake.length; i++) gap = Math.max(gap, Math.abs((got[i] as number) - (mistake[i] as number)));
    if (gap > 10 * atol) return { tensor, error: 0, atol };
    return { tensor, note: `expected another result than a known mistake's, found it within ${gap}` };
  }

  described(name: string): Case {
    const found = this.stored.cases[name];
    if (!found) throw new Error(`${this.folder}/config.json: expected a case ${name}`);
    return found;
  }
}

/** Compares one case; `scratch` is a folder for files that the check writes. */
export type ScorerCheck = (s: ScorersFixture, name: string, scratch: string) => Promise<Comparison[]>;
