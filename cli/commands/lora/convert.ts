// `drm lora convert`: the same adapter under other names.
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { convertLora, inspectLora } from '../../../binding/index.js';
import type { LoraConversion } from '../../../binding/types.js';
import { prepareFolder } from '../../common/files.js';
import { needed } from '../../common/options.js';
import { findLora, UNSTATED } from '../../lora/loras.js';
import type { ConvertContext } from './options.js';

/** What a file of these names is called by those who read them. */
const FILE_NAMES: Record<LoraConversion['to'], string> = {
  diffusers: 'pytorch_lora_weights.safetensors',
  peft: 'adapter_model.safetensors',
  kohya: 'lora_kohya.safetensors',
};

/** --out is the file, or the folder for it. PEFT finds its files by their names. */
function target(out: string, to: LoraConversion['to']): string {
  const name = FILE_NAMES[to];
  if (!out.endsWith('.safetensors')) return join(out, name);
  if (to !== 'peft' || basename(out) === name) return out;
  throw new DrmError(
    'USAGE',
    `lora convert --to peft --out ${out}: expected a folder, in which PEFT looks for ${name}`,
  );
}

export async function convertNames({ args, options, global, events, signal }: ConvertContext): Promise<void> {
  const started = performance.now();
  const [name] = args;
  const { to, out: asked } = needed('lora convert', {
    to: { value: options.to, what: 'whose names to write', give: '--to diffusers, peft or kohya' },
    out: { value: global.out, what: 'where the result goes', give: '--out FILE.safetensors (for peft, --out DIR)' },
  });
  const out = target(asked, to);
  for (const path of [out, ...(to === 'peft' ? [join(dirname(out), 'adapter_config.json')] : [])])
    if (existsSync(path))
      throw new DrmError('USAGE', `lora convert: ${path} is there already; name another place with --out`);
  const file = await findLora(name);
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
