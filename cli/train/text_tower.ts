// The text tower of a CLIP model as a text encoder of its own, the way SD3's folders hold it: its tensors copied byte for
// byte, its config flattened.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { writeAtomically } from '../common/files.js';
import { type JsonObject, readShaped } from '../common/json.js';
import { anything, mapOf, number, objectOf, optional } from '../common/shape.js';

interface Header {
  [tensor: string]: { dtype: string; shape: number[]; data_offsets: [number, number] };
}

const CONFIG = objectOf<{ projection_dim: number | undefined; text_config: JsonObject | undefined }>({
  projection_dim: optional(number),
  text_config: optional(mapOf(anything)),
});

const isText = (key: string) => key.startsWith('text_model.') || key === 'text_projection.weight';

/** Reads CLIP's config.json and model.safetensors in `from`; writes those of its text tower into `to`. */
export async function writeTextTower(from: string, to: string): Promise<void> {
  const file = join(from, 'model.safetensors');
  const bytes = await readFile(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Header;
  const kept: Header = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [key, tensor] of Object.entries(header)) {
    if (!isText(key)) continue;
    const [begin, end] = tensor.data_offsets;
    parts.push(bytes.subarray(8 + length + begin, 8 + length + end));
    kept[key] = { ...tensor, data_offsets: [at, at + end - begin] };
    at += end - begin;
  }
  if (parts.length === 0)
    throw new DrmError('BAD_FILE', `[pretrain] ${file}: expected a CLIP model, found no text_model tensors`, { file });
  const text = JSON.stringify({ __metadata__: { format: 'pt' }, ...kept });
  const padded = Buffer.from(text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(padded.length));
  await writeAtomically(join(to, 'model.safetensors'), Buffer.concat([size, padded, ...parts]));

  const whole = readShaped(join(from, 'config.json'), CONFIG, { part: 'pretrain', expected: "a CLIP's config" });
  const config = {
    architectures: ['CLIPTextModelWithProjection'],
    ...whole.text_config,
    ...(whole.projection_dim !== undefined && { projection_dim: whole.projection_dim }),
  };
  await writeAtomically(join(to, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
