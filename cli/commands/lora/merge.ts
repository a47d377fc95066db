// `drm lora merge`: a diffusers folder whose transformer has the adapters in its weights.
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { copyFile, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { mergeLoras, setThreads } from '../../../binding/index.js';
import { diskError, prepareFolder } from '../../common/files.js';
import { needed } from '../../common/options.js';
import { copyBase } from '../../hub/copy_base.js';
import { modelAsked, type ResolvedModel } from '../../hub/resolve.js';
import { findLoras, tellLoras, textOf, usesOf } from '../../lora/loras.js';
import type { MergeContext } from './options.js';

/** A new name, or an empty folder. */
function outFolder(out: string): string {
  if (existsSync(out)) {
    const held = readdirSync(out);
    if (held.length > 0)
      throw new DrmError(
        'USAGE',
        `lora merge --out ${out}: expected a new or empty folder, found ${held.slice(0, 3).join(', ')}${held.length > 3 ? ', …' : ''}; name another`,
      );
  }
  return resolve(out);
}

/** A diffusers folder: all that is not the transformer is taken over from there. */
async function base(options: MergeContext['options'], name: string): Promise<ResolvedModel> {
  if (existsSync(name) && statSync(name).isFile())
    throw new DrmError(
      'BAD_FILE',
      `[lora] ${name}: expected a diffusers folder to merge into, found a single file; fetch the folder with \`drm pull\``,
      { file: name },
    );
  const model = (await modelAsked(options)) as ResolvedModel;
  if (model.source.transformer.config !== undefined) return model;
  throw new DrmError('BAD_FILE', `[lora] ${name}: expected transformer/config.json in this folder, found none`, {
    file: name,
  });
}

export async function mergeIntoBase(context: MergeContext): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const asked = needed('lora merge', {
    model: { value: options.model, what: 'the base to merge into', give: '--model tiny' },
    out: { value: global.out, what: 'a new folder for the merged model', give: '--out DIR' },
  });
  const out = outFolder(asked.out);
  const model = await base(options, asked.model);
  const config = model.source.transformer.config as string;
  const loras = await findLoras(args[0]);
  if (global.threads !== undefined) setThreads(global.threads);
  events.emit({
    event: 'started',
    version: 1,
    command: 'lora merge',
    facts: { model: model.name, lora: loras.map(textOf).join(', ') },
  });
  await prepareFolder(dirname(out));
  // Put in place whole: half a model would load as one whose parts are missing.
  const staged = join(dirname(out), `.${basename(out)}.${randomBytes(4).toString('hex')}`);
  try {
    const transformer = join(staged, 'transformer');
    await mkdir(transformer, { recursive: true });
    const applied = await mergeLoras(
      {
        transformer: model.source.transformer,
        loras: usesOf(loras),
        out: join(transformer, 'diffusion_pytorch_model.safetensors'),
        ...(global.dtype !== undefined && { dtype: global.dtype }),
      },
      {
        signal,
        onProgress: (p) => events.emit({ event: 'progress', id: 'merge', label: 'merging', unit: 'tensor', ...p }),
      },
    );
    tellLoras(applied, events);
    await copyBase(dirname(dirname(config)), staged, { link: true });
    await copyFile(config, join(transformer, 'config.json'));
    if (existsSync(out)) await rmdir(out); // empty, as was seen
    await rename(staged, out);
  } catch (error) {
    await rm(staged, { recursive: true, force: true });
    throw (error as NodeJS.ErrnoException).code !== undefined && !(error instanceof DrmError)
      ? diskError(out, error)
      : error;
  }
  events.emit({ event: 'result', text: asked.out, data: { model: model.name, out: asked.out, loras } });
  events.emit({
    event: 'done',
    seconds: (performance.now() - started) / 1000,
    facts: { model: asked.out },
  });
}
