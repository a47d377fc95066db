// `drm lora convert`: the same adapter under other names.
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { convertLora, inspectLora } from '../../../binding/index.js';
import type { LoraConversion } from '../../../binding/types.js';
import { prepareFolder } from '../../common/files.js';
import { findLora, UNSTATED } from '../../lora/loras.js';
import type { LoraContext } from './options.js';

/** What a file of these names is called by those who read them. */
const FILE_NAMES: Record<LoraConversion['to'], string> = {
  diffusers: 'pytorch_lora_weights.safetensors',
  peft: 'adapter_model.safetensors',
  kohya: 'lora_kohya.safetensors',
};

/** --out is the file, or the folder for it. PEFT finds its files by their names. */
function target(out: string | undefined, to: LoraConversion['to']): string {
  const name = FILE_NAMES[to];
  if (out === undefined)
    throw new DrmError(
      'USAGE',
      `lora convert: expected --out ${to === 'peft' ? 'DIR' : 'FILE.safetensors'}, where the result goes`,
    );
  if (!out.endsWith('.safetensors')) return join(out, name);
  if (to !== 'peft' || basename(out) === name) return out;
  throw new DrmError(
    'USAGE',
    `lora convert --to peft --out ${out}: expected a folder, in which PEFT looks for ${name}`,
  );
}

export async function convertNames({ args, options, global, events, signal }: LoraContext): Promise<void> {
  const started = performance.now();
  const [, files] = args;
  if (files.length !== 1) throw new DrmError('USAGE', `lora convert: expected one file, found ${files.length}`);
  const { to } = options;
  if (to === undefined) throw new DrmError('USAGE', 'lora convert: expected --to diffusers, peft or kohya');
  const out = target(global.out, to);
  for (const path of [out, ...(to === 'peft' ? [join(dirname(out), 'adapter_config.json')] : [])])
    if (existsSync(path))
      throw new DrmError('USAGE', `lora convert: ${path} is there already; name another place with --out`);
  const file = await findLora(files[0] as string);
  const found = await inspectLora(file, undefined, { signal });
  if (!found.alphaStated) events.emit({ event: 'warning', message: `${file} ${UNSTATED}` });
  await prepareFolder(dirname(out));
  await convertLora({ file, to, out }, { signal });
  const { tensors, layers, spelling } = found;
  const data = { file, from: spelling, to, out, tensors, layers: layers.length };
  events.emit({ event: 'result', text: out, data });
  events.emit({
    event: 'done',
    seconds: (performance.now() - started) / 1000,
    facts: { from: spelling, to, tensors, layers: layers.length },
  });
}
