import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { SampleRequest } from '../../binding/types.js';
import type { Command, Context } from '../command.js';
import type { Resolved } from '../config/resolve.js';
import type { ModelOptions } from '../hub/resolve.js';
import type { Picture } from '../image/write.js';
import type { Prompt } from '../text/prompts.js';
import { VERSION } from '../version.js';

interface Settings {
  model: string;
  negative_prompt: string;
  steps: number;
  guidance: number;
  height: number;
  width: number;
  seed: number;
  n: number;
  batch: number;
  t5_length: number;
  dtype: 'auto' | 'fp32' | 'bf16';
  device: string;
  free_encoders: boolean;
  tile: number;
  preview: number;
  skip_layers: number[];
  skip_layer_scale: number;
  skip_layer_start: number;
  skip_layer_stop: number;
}

/** One picture to make. */
interface Job {
  prompt: string;
  negative: string;
  seed: bigint;
}

/** The settings inside a PNG of ours; `drm sample --from` reads them back. */
interface Metadata {
  drm: string;
  settings: Partial<Settings>;
  prompt: string;
  negative_prompt: string;
  seed: string;
}

/** Settings that change the pixels, and so belong into a picture. */
const PICTURE_KEYS = [
  'model',
  'steps',
  'guidance',
  'height',
  'width',
  't5_length',
  'dtype',
  'tile',
  'skip_layers',
  'skip_layer_scale',
  'skip_layer_start',
  'skip_layer_stop',
] as const;

function number(options: Record<string, unknown>, name: string, flag: string): number | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text === '' || Number.isNaN(value))
    throw new DrmError('USAGE', `${flag}: expected a number, found ${JSON.stringify(text)}`);
  return value;
}

function layers(text: unknown): number[] | undefined {
  if (text === undefined) return undefined;
  return String(text)
    .split(',')
    .map((part) => {
      const layer = Number(part);
      if (part.trim() === '' || !Number.isInteger(layer))
        throw new DrmError(
          'USAGE',
          `--skip-layers: expected block numbers such as 7,8,9, found ${JSON.stringify(text)}`,
        );
      return layer;
    });
}

async function readMetadata(file: string): Promise<Metadata> {
  const { readText } = await import('../image/png_text.js');
  if (!existsSync(file))
    throw new DrmError('BAD_FILE', `[sample] --from ${file}: expected a PNG made by drm, found no such file`, { file });
  let text: string | undefined;
  try {
    text = readText(readFileSync(file)).drm;
  } catch (error) {
    throw new DrmError('BAD_FILE', `[sample] --from ${file}: ${(error as Error).message}`, { file });
  }
  try {
    const metadata = JSON.parse(text ?? '') as Metadata;
    if (typeof metadata.prompt !== 'string' || typeof metadata.settings !== 'object') throw new Error('no settings');
    return metadata;
  } catch {
    throw new DrmError(
      'BAD_FILE',
      `[sample] --from ${file}: expected a PNG made by drm, found one without its settings (were they stripped by another program?)`,
      { file },
    );
  }
}

async function settle(context: Context, from: Metadata | undefined): Promise<Resolved & { settings: Settings }> {
  const { options, global } = context;
  const { resolveConfig } = await import('../config/resolve.js');
  const { recommendedSettingsFile } = await import('../hub/resolve.js');
  const size = number(options, 'size', '--size');
  const given = {
    model: options.model,
    negative_prompt: options.negativePrompt,
    steps: number(options, 'steps', '--steps'),
    guidance: number(options, 'guidance', '--guidance'),
    height: number(options, 'height', '--height') ?? size,
    width: number(options, 'width', '--width') ?? size,
    seed: number(options, 'seed', '--seed'),
    n: number(options, 'n', '--n'),
    batch: number(options, 'batch', '--batch'),
    t5_length: number(options, 't5Length', '--t5-length'),
    dtype: global.dtype,
    device: global.device === 'auto' ? undefined : global.device,
    free_encoders: options.freeEncoders,
    tile: number(options, 'tile', '--tile'),
    preview: options.preview === true ? 5 : number(options, 'preview', '--preview'),
    skip_layers: layers(options.skipLayers),
    skip_layer_scale: number(options, 'skipLayerScale', '--skip-layer-scale'),
    skip_layer_start: number(options, 'skipLayerStart', '--skip-layer-start'),
    skip_layer_stop: number(options, 'skipLayerStop', '--skip-layer-stop'),
  };
  const kept = from ? { ...from.settings, negative_prompt: from.negative_prompt, seed: Number(from.seed) } : {};
  const flags = { ...kept, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
  const resolved = resolveConfig('sample', {
    ...(global.config !== undefined && { file: global.config }),
    set: global.set,
    flags,
    recommended: (model) =>
      recommendedSettingsFile(model, options.revision === undefined ? undefined : String(options.revision)),
  });
  return { ...resolved, settings: resolved.values as unknown as Settings };
}

async function readPromptList(context: Context, from: Metadata | undefined): Promise<Prompt[]> {
  const { options, events } = context;
  const direct = (options.prompt as string[] | undefined) ?? [];
  const file = options.prompts as string | undefined;
  const prompts: Prompt[] = direct.map((prompt) => ({ prompt }));
  if (file !== undefined) {
    const { readPrompts } = await import('../text/prompts.js');
    const { prompts: read, blank } = readPrompts(file);
    if (blank > 0)
      events.emit({ event: 'info', message: `${file}: ${read.length} prompts, ${blank} empty lines passed over` });
    prompts.push(...read);
  }
  if (prompts.length === 0 && from) prompts.push({ prompt: from.prompt });
  if (prompts.length === 0)
    throw new DrmError(
      'USAGE',
      'sample: expected a prompt; give --prompt "a red fox", --prompts FILE, or --from PICTURE.png',
    );
  return prompts;
}

async function chooseDevice(settings: Settings): Promise<{ device: string; dtype: 'fp32' | 'bf16' }> {
  const { runtimeInfo } = await import('../../binding/index.js');
  let device = settings.device;
  if (device === 'auto') {
    const info = runtimeInfo();
    device = info.cudaBuilt && info.gpus.length > 0 && !info.cudaError ? 'cuda' : 'cpu';
  }
  return { device, dtype: settings.dtype === 'auto' ? (device === 'cpu' ? 'fp32' : 'bf16') : settings.dtype };
}

/** Splits FILE[:TENSOR]; a colon inside an existing file's name is part of the name. */
function splitInit(text: string): { file: string; tensor: string } {
  const at = text.lastIndexOf(':');
  if (existsSync(text) || at < 1) return { file: text, tensor: 'latents' };
  return { file: text.slice(0, at), tensor: text.slice(at + 1) };
}

export const command: Command = {
  name: 'sample',
  summary: 'sample pictures from prompts',
  examples: [
    { command: 'drm sample --prompt "a red fox" --n 4 --grid', does: 'four pictures and a sheet of them in out/' },
    {
      command: 'drm sample --model sd3.5-medium --prompts prompts.txt --size 512 --steps 50 --out pictures',
      does: 'one picture a line of the file',
    },
    { command: 'drm sample --from out/0-a-red-fox.png --steps 50', does: 'the same picture again, with more steps' },
  ],
  options: [
    {
      flags: '--model <model>',
      description: 'name, diffusers folder, single .safetensors file, or hub id in the cache',
      default: 'tiny',
    },
    { flags: '-p, --prompt <text>', description: 'what to show; may be repeated', repeatable: true },
    { flags: '--prompts <file>', description: 'one prompt a line, or JSONL with prompt, negative_prompt, seed' },
    { flags: '--negative-prompt <text>', description: 'what to steer away from' },
    { flags: '--from <png>', description: 'repeat a picture from the settings inside it; other flags change them' },
    { flags: '--steps <n>', description: 'denoising steps', default: '28' },
    { flags: '--guidance <scale>', description: 'classifier-free guidance; off at 1 and below', default: '4.5' },
    { flags: '--size <pixels>', description: 'height and width' },
    { flags: '--height <pixels>', description: 'a multiple of VAE factor x patch (16)' },
    { flags: '--width <pixels>', description: 'a multiple of VAE factor x patch (16)' },
    { flags: '--seed <n>', description: 'picture i of a prompt has seed + i', default: '0' },
    { flags: '--n <n>', description: 'pictures a prompt', default: '1' },
    { flags: '--batch <n>', description: 'pictures a network call; 0 chooses', default: '0' },
    { flags: '--grid', description: 'also write one sheet of all pictures, a row a prompt' },
    { flags: '--preview [steps]', description: 'write preview.png every so many steps', default: 'off' },
    {
      flags: '--init-latents <file>',
      description: 'start from FILE[:TENSOR], safetensors [N, C, H, W] (tensor: latents)',
    },
    { flags: '--save-latents <file>', description: 'write the final latents (tensor latents, fp32)' },
    { flags: '--free-encoders', description: "give the text encoders' memory back before denoising" },
    {
      flags: '--tile <edge>',
      description: 'VAE tile in latent pixels; 0 for large pictures only, -1 never',
      default: '0',
    },
    { flags: '--t5-length <n>', description: 'tokens that T5 reads', default: '256' },
    { flags: '--no-t5', description: 'do without T5 (zeros, as in the reference)' },
    { flags: '--skip-layers <list>', description: 'skip-layer guidance: blocks, such as 7,8,9' },
    { flags: '--skip-layer-scale <w>', description: 'its weight', default: '2.8' },
    { flags: '--skip-layer-start <fraction>', description: 'where in the steps it begins', default: '0.01' },
    { flags: '--skip-layer-stop <fraction>', description: 'where it ends', default: '0.2' },
    { flags: '--components <dir>', description: 'diffusers folder that supplies what a single file lacks' },
    { flags: '--vae <file>', description: 'VAE weights' },
    { flags: '--clip-l <file>', description: 'CLIP-L weights' },
    { flags: '--clip-g <file>', description: 'CLIP-G weights' },
    { flags: '--t5 <file>', description: 'T5 weights' },
    { flags: '--revision <name>', description: 'branch, tag or commit of a hub id' },
  ],
  run: sample,
};

async function sample(context: Context): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const from = options.from === undefined ? undefined : await readMetadata(String(options.from));
  const { settings } = await settle(context, from);
  const prompts = await readPromptList(context, from);
  const { prepareFolder, writeAtomically } = await import('../files.js');
  const { encodePng, writePicture, contactSheet, slug } = await import('../image/write.js');
  const out = global.out ?? 'out';
  await prepareFolder(out);

  const { resolveModel } = await import('../hub/resolve.js');
  const model = await resolveModel(settings.model, {
    ...Object.fromEntries(
      ['components', 'vae', 'clipL', 'clipG', 'revision'].flatMap((key) =>
        options[key] === undefined ? [] : [[key, String(options[key])]],
      ),
    ),
    ...(typeof options.t5 === 'string' && { t5: options.t5 }),
    noT5: options.t5 === false,
  } as ModelOptions);

  const { loadTokenizers } = await import('../text/tokenizer.js');
  const { Pipeline, setThreads } = await import('../../binding/index.js');
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice(settings);
  events.emit({
    event: 'started',
    version: 1,
    command: 'sample',
    facts: {
      model: model.name,
      device,
      dtype,
      prompts: prompts.length,
      pictures: prompts.length * settings.n,
      steps: settings.steps,
      guidance: settings.guidance,
    },
  });
  for (const note of model.notes) events.emit({ event: 'info', message: note });

  // Each distinct text is tokenized and encoded once.
  const tokenizer = loadTokenizers(model.tokenizers);
  const rows: SampleRequest['prompts'] = [];
  const index = new Map<string, number>();
  const intern = async (text: string): Promise<number> => {
    const known = index.get(text);
    if (known !== undefined) return known;
    const { tokens, truncated } = await tokenizer.encode(text, settings.t5_length);
    for (const cut of truncated) {
      const end = cut.dropped.length > 60 ? `${cut.dropped.slice(0, 60)} …` : cut.dropped;
      events.emit({
        event: 'warning',
        message: `${cut.encoder} reads ${cut.kept} of ${cut.total} tokens of "${text.slice(0, 30)}…"; not seen: "${end.trim()}"`,
      });
    }
    rows.push(tokens);
    index.set(text, rows.length - 1);
    return rows.length - 1;
  };
  const jobs: Job[] = prompts.flatMap((p) =>
    Array.from({ length: settings.n }, (_, i) => ({
      prompt: p.prompt,
      negative: p.negativePrompt ?? settings.negative_prompt,
      seed: (p.seed ?? BigInt(settings.seed)) + BigInt(i),
    })),
  );
  const pictures: SampleRequest['pictures'] = [];
  for (const job of jobs)
    pictures.push({ prompt: await intern(job.prompt), negative: await intern(job.negative), seed: job.seed });

  const progress = (id: string, label: string, unit: string) => (p: { step: number; total: number; seconds: number }) =>
    events.emit({ event: 'progress', id, label, unit, ...p });
  const loading = progress('load', 'loading', 'B');
  const pipeline = await Pipeline.load(model.source, { device, dtype }, { signal, onProgress: loading });
  try {
    const bars: Record<string, ReturnType<typeof progress>> = {
      encode: progress('encode', 'encoding prompts', 'pass'),
      denoise: progress('denoise', 'denoising', 'step'),
      decode: progress('decode', 'decoding', 'picture'),
    };
    const kept: Picture[] = [];
    const writes: Promise<void>[] = [];
    const failures: unknown[] = [];
    let written = 0;
    const stop = new AbortController(); // a picture that cannot be written ends the run: the rest could not be either
    const write = async (at: number, picture: Picture) => {
      const job = jobs[at];
      if (!job) throw new DrmError('INTERNAL', `[sample] picture ${at} was not asked for`);
      const metadata: Metadata = {
        drm: VERSION,
        settings: {
          ...Object.fromEntries(PICTURE_KEYS.map((key) => [key, settings[key]])),
          height: picture.height,
          width: picture.width,
          dtype,
        },
        prompt: job.prompt,
        negative_prompt: job.negative,
        seed: String(job.seed),
      };
      const readable = `${job.prompt}\nNegative prompt: ${job.negative}\nSteps: ${settings.steps}, CFG scale: ${settings.guidance}, Seed: ${job.seed}, Size: ${picture.width}x${picture.height}, Model: ${model.name}, Version: drm ${VERSION}`;
      const path = await writePicture(
        out,
        `${job.seed}-${slug(job.prompt)}`,
        await encodePng(picture, { parameters: readable, drm: JSON.stringify(metadata) }),
      );
      written += 1;
      events.emit({
        event: 'image',
        path,
        width: picture.width,
        height: picture.height,
        prompt: job.prompt,
        seed: String(job.seed),
      });
    };
    const preview = async (step: number, picture: Picture) => {
      const png = await encodePng(picture);
      const path = join(out, 'preview.png');
      await writeAtomically(path, png);
      events.emit({ event: 'preview', path, step, png });
    };
    // Pictures are written one after the other, in order, while the next ones are being made.
    let queue = Promise.resolve();
    const enqueue = (work: () => Promise<void>) => {
      queue = queue.then(work).catch((error: unknown) => {
        failures.push(error);
        stop.abort();
      });
      writes.push(queue);
    };
    let summary: Awaited<ReturnType<typeof pipeline.sample>>;
    try {
      summary = await pipeline.sample(
        {
          prompts: rows,
          negatives: rows,
          pictures,
          steps: settings.steps,
          guidance: settings.guidance,
          height: settings.height,
          width: settings.width,
          t5Length: settings.t5_length,
          batch: settings.batch,
          ...(settings.skip_layers.length > 0 && {
            skipLayers: {
              layers: settings.skip_layers,
              scale: settings.skip_layer_scale,
              start: settings.skip_layer_start,
              stop: settings.skip_layer_stop,
            },
          }),
          ...(options.initLatents !== undefined && { initLatents: splitInit(String(options.initLatents)) }),
          ...(options.saveLatents !== undefined && { saveLatents: String(options.saveLatents) }),
          freeEncoders: settings.free_encoders,
          decode: true,
          previewEvery: settings.preview,
          tile: settings.tile,
        },
        {
          signal: AbortSignal.any([signal, stop.signal]),
          onProgress: (p) => bars[p.phase]?.(p),
          onEvent: (event) => {
            const picture = {
              pixels: event.bytes ?? new Uint8Array(),
              width: Number(event.width),
              height: Number(event.height),
            };
            if (event.kind === 'warning') events.emit({ event: 'warning', message: String(event.message) });
            if (event.kind === 'preview') enqueue(() => preview(Number(event.step), picture));
            if (event.kind !== 'image') return;
            if (options.grid) kept.push(picture);
            enqueue(() => write(Number(event.index), picture));
          },
        },
      );
    } catch (error) {
      await queue;
      if (failures.length > 0) throw failures[0];
      if (error instanceof DrmError && error.code === 'CANCELLED')
        throw new DrmError(
          'CANCELLED',
          `stopped: ${written} of ${jobs.length} pictures are in ${out}; the same command makes them all again, identically`,
        );
      throw error;
    }
    await Promise.all(writes);
    if (failures.length > 0) throw failures[0];
    if (options.grid) {
      const path = await writePicture(out, 'grid', await contactSheet(kept, settings.n));
      events.emit({ event: 'image', path, width: 0, height: 0 });
    }
    const seconds = (performance.now() - started) / 1000;
    events.emit({
      event: 'done',
      seconds,
      facts: {
        pictures: written,
        seconds_per_step: summary.secondsPerStep,
        encode_seconds: summary.encodeSeconds,
        denoise_seconds: summary.denoiseSeconds,
        decode_seconds: summary.decodeSeconds,
      },
    });
  } finally {
    pipeline.dispose();
  }
}
