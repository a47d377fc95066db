// Random weights for any scorer at any size: its loader says which tensors it wants. Speed does not depend on their values.
import { closeSync, openSync, writeSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import { Scorer } from '../../binding/index.js';

type Shapes = Map<string, number[]>;

/** Of the table of random numbers: a prime, so that rows of a matrix are not copies of each other. */
const TABLE = 1_048_573;

const count = (shape: readonly number[]) => shape.reduce((product, side) => product * side, 1);

/** bf16: the upper half of fp32. */
const bf16 = (values: Float32Array): Uint16Array => new Uint16Array(values.buffer).filter((_, half) => half % 2 === 1); // little-endian

/** Uniform between -1 and 1. */
function uniform(): Float32Array {
  let state = 1;
  return Float32Array.from({ length: TABLE }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2 ** 31;
  });
}

/** A matrix's numbers have the deviation 1 / sqrt(fan-in), so that activations stay finite; norms are 1, biases 0. */
function filler(): (name: string, shape: readonly number[]) => Uint16Array {
  const table = uniform();
  const scaled = new Map<number, Uint16Array>();
  return (name, shape) => {
    if (shape.length < 2) return bf16(new Float32Array(count(shape)).fill(name.endsWith('.bias') ? 0 : 1));
    const fanIn = count(shape) / (shape[0] as number);
    let numbers = scaled.get(fanIn);
    if (!numbers) {
      numbers = bf16(table.map((value) => value * Math.sqrt(3 / fanIn)));
      scaled.set(fanIn, numbers);
    }
    return numbers;
  };
}

/** A safetensors file in bf16. */
function write(file: string, shapes: Shapes): void {
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (const [name, shape] of shapes) {
    const end = at + 2 * count(shape);
    header[name] = { dtype: 'BF16', shape, data_offsets: [at, end] };
    at = end;
  }
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const out = openSync(file, 'w');
  try {
    writeSync(out, Buffer.concat([length, padded]));
    const fill = filler();
    for (const [name, shape] of shapes) {
      const numbers = fill(name, shape);
      for (let left = count(shape); left > 0; left -= TABLE) writeSync(out, numbers.subarray(0, Math.min(left, TABLE)));
    }
  } finally {
    closeSync(out);
  }
}

const linesOf = (text: string | undefined) => (text ?? '').split('\n').filter((line) => line !== '');

/**
 * What the loader asks for: of files that lack tensors it names them, of wrong shapes it says the right ones. Of a table
 * that it takes as long as the file has it, the first side is `rows`.
 */
async function shapesOf(kind: string, config: string, file: string, rows: number): Promise<Shapes> {
  const shapes: Shapes = new Map();
  for (;;) {
    write(file, shapes);
    try {
      (await Scorer.load({ kind, config, weights: [file] }, { device: 'cpu', dtype: 'fp32' })).dispose();
      return shapes;
    } catch (error) {
      if (!(error instanceof DrmError && error.code === 'KEYS_MISMATCH')) throw error;
      const { missing, misshaped } = error.details as Record<string, string | undefined>;
      for (const key of linesOf(missing)) shapes.set(key, [1, 1]);
      const wrong = linesOf(misshaped);
      for (const line of wrong) {
        const [, key = '', sides = ''] = /^(.*): expected \(([^)]*)\)/.exec(line) ?? [];
        const shape = sides === '' ? [] : sides.split(', ').map(Number);
        shapes.set(key, key.endsWith('embed_tokens.weight') ? [rows, ...shape.slice(1)] : shape);
      }
      if (linesOf(missing).length === 0 && wrong.length === 0) throw error;
      if (linesOf(missing).length === 0) return shapes;
    }
  }
}

/** Parameters written. */
export async function writeRandomWeights(kind: string, config: string, file: string, rows: number): Promise<number> {
  const shapes = await shapesOf(kind, config, file, rows);
  write(file, shapes);
  return [...shapes.values()].reduce((sum, shape) => sum + count(shape), 0);
}
