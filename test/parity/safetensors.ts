// Just enough of safetensors for the tests: small files written by libraries we trust, or by hand.
import { readFileSync, writeFileSync } from 'node:fs';

export interface Tensor {
  dtype: string;
  shape: number[];
  data: Float32Array | BigInt64Array | Uint8Array;
}

export function readTensors(file: string): Map<string, Tensor> {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString('utf8')) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Tensor>();
  for (const [name, info] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = info.data_offsets;
    const slice = new Uint8Array(bytes.subarray(8 + length + begin, 8 + length + end)).buffer; // copied, hence aligned
    const data =
      info.dtype === 'F32'
        ? new Float32Array(slice)
        : info.dtype === 'I64'
          ? new BigInt64Array(slice)
          : new Uint8Array(slice);
    tensors.set(name, { dtype: info.dtype, shape: info.shape, data });
  }
  return tensors;
}

/** In the order of the map, which must suit the alignment of its types. */
export function writeTensors(file: string, tensors: Map<string, Tensor>): void {
  let at = 0;
  const header: Record<string, object> = {};
  const parts: Buffer[] = [];
  for (const [name, { dtype, shape, data }] of tensors) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
    parts.push(bytes);
  }
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([size, text, ...parts]));
}

/** Largest absolute difference of two equally long lists; null when any difference is NaN, infinity when lengths differ. */
export function largestDifference(got: ArrayLike<number | bigint>, want: ArrayLike<number | bigint>): number | null {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs(Number(got[i]) - Number(want[i]));
    if (Number.isNaN(difference)) return null;
    if (difference > worst) worst = difference;
  }
  return worst;
}
