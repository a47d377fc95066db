// The adapter of a run as it stood at one of its checkpoints. A checkpoint holds it among the optimizer's state; here it
// becomes a file as others are.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { parseJson, shaped } from '../common/json.js';
import { count, listOf, mapOf, number, objectOf, optional, text } from '../common/shape.js';
import { type CheckpointName, openNamed, scratchFolder } from '../runs/checkpoint_name.js';
import { readRunConfig } from '../runs/folder.js';

const STATE = 'state.safetensors';

/** What is exported from a run: its average, where one is kept. */
const PREFIXES = ['average.', 'parameter.'] as const;

/** Runs whose adapters are a policy's. */
const TASKS = ['grpo', 'pretrain flow'];

const HEADER = mapOf(objectOf({ dtype: text, shape: listOf(count), data_offsets: listOf(count) }));
const SETTINGS = objectOf({ lora_rank: number, lora_alpha: number, lora_targets: optional(listOf(text)) });

/**
 * Writes the adapter of a checkpoint, to the bit what the run would have exported there, in diffusers' layout; the file lasts
 * as long as this process. Throws DrmError BAD_FILE for a step without a checkpoint, a damaged one, and a run without adapters.
 */
export async function writeCheckpointAdapter({ run, step }: CheckpointName): Promise<string> {
  const fail = (what: string): DrmError => new DrmError('BAD_FILE', `[lora] ${run}: ${what}`, { folder: run });
  const config = await readRunConfig(run);
  if (!TASKS.includes(config.task))
    throw fail(`expected a run of drm ${TASKS.join(' or drm ')}, found one of drm ${config.task}, which is no --lora`);
  const { folder, step: at } = await openNamed({ run, step }, 'lora');
  const file = join(folder, STATE);
  if (!existsSync(file))
    throw fail(`expected ${STATE} in ${folder}, found none; it was written by another version of drm`);
  const bytes = readFileSync(file);
  const body = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: _, ...tensors } = parseJson(bytes.toString('utf8', 8, body)) as Record<string, unknown>;
  const known = Object.entries(shaped(file, tensors, HEADER, { part: 'lora' }));
  const prefix = PREFIXES.find((one) => known.some(([name]) => name.startsWith(one) && /\.lora_A\.weight$/.test(name)));
  if (prefix === undefined)
    throw fail(`expected adapters in checkpoint ${at}, found none; it trains all weights, and is no --lora`);
  const settings = shaped(join(run, 'config.json'), config.settings, SETTINGS, { part: 'lora' });

  const parts: Buffer[] = [];
  const header: Record<string, unknown> = { __metadata__: metadataOf(settings) };
  let offset = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of known) {
    if (!name.startsWith(prefix)) continue;
    const part = bytes.subarray(body + (offsets[0] as number), body + (offsets[1] as number));
    header[`transformer.${name.slice(prefix.length)}`] = { dtype, shape, data_offsets: [offset, offset + part.length] };
    offset += part.length;
    parts.push(part);
  }
  const head = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const out = join(scratchFolder(), `${basename(resolve(run))}@${at}.safetensors`);
  writeFileSync(out, Buffer.concat([length, head, ...parts]));
  return out;
}

const metadataOf = (settings: ReturnType<typeof SETTINGS>): Record<string, string> => ({
  format: 'pt',
  lora_adapter_metadata: JSON.stringify({
    'transformer.peft_type': 'LORA',
    'transformer.r': settings.lora_rank,
    'transformer.lora_alpha': settings.lora_alpha,
    'transformer.rank_pattern': {},
    'transformer.alpha_pattern': {},
    'transformer.target_modules': settings.lora_targets ?? [],
  }),
});
