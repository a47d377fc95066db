import { existsSync, statSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import type { Command, Context } from '../common/command.js';
import type { Events } from '../common/events.js';
import type { ModelOptions } from '../hub/resolve.js';
import type { Lora } from '../lora/loras.js';
import type { Recipe } from '../sample/metadata.js';

export const command: Command = {
  name: 'sample',
  summary: 'sample images from prompts',
  examples: [
    { command: 'drm sample --prompt "a red fox" --n 4 --grid', does: 'four images and a sheet of them in out/' },
    {
      command: 'drm sample --model sd3.5-medium --prompts prompts.txt --size 512 --steps 50 --out images',
      does: 'one image a line of the file',
    },
    {
      command: 'drm sample --prompt "a red fox" --k 6 --reward tiny --trace',
      does: 'at each step the best of 6 candidates by a reward model, and a sheet of all of them',
    },
    {
      command: 'drm sample --prompt "a red fox" --lora runs/grpo --lora style.safetensors:0.6',
      does: 'with two adapters, the second at strength 0.6',
    },
    { command: 'drm sample --from out/0-a-red-fox.png --steps 50', does: 'the same image again, with more steps' },
  ],
  options: [
    {
      flags: '--model <model>',
      description: 'name, diffusers folder, single .safetensors file, or hub id in the cache',
      default: 'tiny',
    },
    {
      flags: '--lora <file>',
      description: 'FILE[:SCALE]: an adapter, how strongly it counts (1); may be repeated',
      repeatable: true,
    },
    { flags: '-p, --prompt <text>', description: 'what to show; may be repeated', repeatable: true },
    { flags: '--prompts <file>', description: 'one prompt a line, or JSON with prompt, negative_prompt, seed' },
    { flags: '--negative-prompt <text>', description: 'what to steer away from' },
    { flags: '--from <png>', description: 'repeat an image from the settings inside it; other flags change them' },
    { flags: '--steps <n>', description: 'denoising steps', default: '28' },
    { flags: '--guidance <scale>', description: 'classifier-free guidance; off at 1 and below', default: '4.5' },
    { flags: '--k <n>', description: 'candidates a step, of which the best by the reward goes on', default: '1' },
    {
      flags: '--reward <reward>',
      description: "reward model for --k: a name, a folder that `drm train` wrote, the authors' file",
    },
    { flags: '--noise-level <a>', description: 'of the candidates (a in Eq. 6)', default: '0.7' },
    { flags: '--select <rule>', description: 'argmax, or softmax:T to draw at temperature T', default: 'argmax' },
    { flags: '--score-from <fraction>', description: 'of the steps, where choosing begins', default: '0' },
    { flags: '--score-until <fraction>', description: 'where it ends; Euler steps outside', default: '1' },
    { flags: '--trace', description: "write every step's candidates, scores and choice as JSON and a sheet" },
    { flags: '--size <pixels>', description: 'height and width' },
    { flags: '--height <pixels>', description: 'a multiple of VAE factor x patch (16)' },
    { flags: '--width <pixels>', description: 'a multiple of VAE factor x patch (16)' },
    { flags: '--seed <n>', description: 'image i of a prompt has seed + i', default: '0' },
    { flags: '--n <n>', description: 'images a prompt', default: '1' },
    { flags: '--batch <n>', description: 'images a network call; 0 chooses', default: '0' },
    { flags: '--grid', description: 'also write one sheet of all images; with --n above 1, a row a prompt' },
    { flags: '--preview [steps]', description: 'write preview.png every so many steps', default: 'off' },
    {
      flags: '--init-latents <file>',
      description: 'start from FILE[:TENSOR], safetensors [N, C, H, W] (tensor: latents)',
    },
    { flags: '--save-latents <file>', description: 'write the final latents (tensor latents, fp32)' },
    { flags: '--free-encoders', description: "give the text encoders' memory back before denoising" },
    {
      flags: '--tile <edge>',
      description: 'VAE tile in latent pixels; 0 for large images only, -1 never',
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
  makesFiles: () => true,
  run: sample,
};

/** Splits FILE[:TENSOR]; a colon inside an existing file's name is part of the name. */
function splitInit(text: string): { file: string; tensor: string } {
  const at = text.lastIndexOf(':');
  if (existsSync(text) || at < 1) return { file: text, tensor: 'latents' };
  return { file: text.slice(0, at), tensor: text.slice(at + 1) };
}

/** A file of that name is replaced; a folder or a device (/dev/full) must not be. */
function latentsFile(path: string): string {
  if (existsSync(path) && !statSync(path).isFile())
    throw new DrmError(
      'DISK',
      `[sample] --save-latents ${path}: expected the name of a file, found ${statSync(path).isDirectory() ? 'a folder' : 'a device'}; name a .safetensors file`,
      { file: path },
    );
  return path;
}

function modelOptions(options: Record<string, unknown>): ModelOptions {
  const given = ['components', 'vae', 'clipL', 'clipG', 'revision'].filter((key) => options[key] !== undefined);
  return {
    ...Object.fromEntries(given.map((key) => [key, String(options[key])])),
    ...(typeof options.t5 === 'string' && { t5: options.t5 }),
    noT5: options.t5 === false,
  };
}

/** An image that is repeated says which adapters made it. */
function warnOfChanges(from: Recipe | undefined, loras: readonly Lora[], events: Events): void {
  for (const made of from?.loras ?? []) {
    const changed = loras.find(({ name, sha256 }) => name === made.file && sha256 !== made.sha256);
    if (changed)
      events.emit({
        event: 'warning',
        message: `${changed.name} is not the file that made the image (sha256 ${changed.sha256.slice(0, 12)}… instead of ${made.sha256.slice(0, 12)}…): the image will be another`,
      });
  }
}

async function sample(context: Context): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  // Loaded here and not above: `drm sample --help` needs none of it.
  const { readRecipe } = await import('../sample/metadata.js');
  const { requestOf, sampleSettings } = await import('../sample/settings.js');
  const { askedPrompts, plan, tokenize } = await import('../sample/jobs.js');
  const { PictureWriter } = await import('../sample/pictures.js');
  const { StepwiseReward } = await import('../sample/stepwise.js');
  const { TraceWriter } = await import('../sample/trace.js');
  const { prepareFolder } = await import('../common/files.js');
  const { findLoras, tellLoras, textOf, usesOf } = await import('../lora/loras.js');
  const { resolveModel } = await import('../hub/resolve.js');
  const { loadTokenizers } = await import('../text/tokenizer.js');
  const { chooseDevice } = await import('../common/device.js');
  const { Pipeline, setThreads } = await import('../../binding/index.js');

  const from = options.from === undefined ? undefined : readRecipe(String(options.from));
  const settings = sampleSettings(context, from);
  const prompts = askedPrompts(context, from);
  const reward = StepwiseReward.find(settings);
  const traced = options.trace === true;
  if (traced && !reward)
    throw new DrmError('USAGE', 'sample --trace: expected candidates to trace; add --k 6 and --reward');
  const loras = await findLoras(settings.lora);
  warnOfChanges(from, loras, events);
  const out = global.out ?? 'out';
  await prepareFolder(out);
  const model = await resolveModel(settings.model, modelOptions(options));
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice(settings);
  const jobs = plan(prompts, settings);
  events.emit({
    event: 'started',
    version: 1,
    command: 'sample',
    facts: {
      model: model.name,
      device,
      dtype,
      prompts: prompts.length,
      images: jobs.length,
      steps: settings.steps,
      guidance: settings.guidance,
      ...(loras.length > 0 && { lora: loras.map(textOf).join(', ') }),
      ...(reward && { k: settings.k, reward: settings.reward }),
    },
  });
  for (const note of model.notes) events.emit({ event: 'info', message: note });
  if (reward?.base !== undefined && reward.base !== settings.model)
    events.emit({
      event: 'warning',
      message: `${settings.reward} was trained on latents of ${reward.base}, and ${settings.model} samples: its scores have meaning only where both share VAE and text encoders`,
    });
  const tokenizer = loadTokenizers(model.tokenizers);
  const texts = await tokenize(jobs, tokenizer, settings.t5_length, (message) =>
    events.emit({ event: 'warning', message }),
  );

  const progress = (id: string, label: string, unit: string) => (p: { step: number; total: number; seconds: number }) =>
    events.emit({ event: 'progress', id, label, unit, ...p });
  const bars: Record<string, ReturnType<typeof progress>> = {
    encode: progress('encode', 'encoding prompts', 'pass'),
    denoise: progress('denoise', 'denoising', 'step'),
    decode: progress('decode', 'decoding', 'image'),
  };
  const pipeline = await Pipeline.load(
    model.source,
    { device, dtype, loras: usesOf(loras) },
    { signal, onProgress: progress('load', 'loading', 'B') },
  );
  tellLoras(pipeline.info.loras, events);
  const pictures = new PictureWriter(out, jobs, { ...settings, dtype }, loras, events, options.grid === true);
  const trace = new TraceWriter(out, jobs, settings, events);
  try {
    await reward?.load({ device, dtype }, { signal, onProgress: progress('load-reward', 'loading the reward', 'B') });
    const summary = await pipeline.sample(
      {
        ...texts,
        ...requestOf(settings),
        ...(reward && { stepwise: await reward.request(settings, jobs, tokenizer, pipeline.info, traced) }),
        ...(options.initLatents !== undefined && { initLatents: splitInit(String(options.initLatents)) }),
        ...(options.saveLatents !== undefined && { saveLatents: latentsFile(String(options.saveLatents)) }),
      },
      {
        signal: AbortSignal.any([signal, pictures.stop.signal]),
        onProgress: (p) => bars[p.phase]?.(p),
        onEvent: (event) => {
          if (event.kind === 'warning') events.emit({ event: 'warning', message: String(event.message) });
          else if (event.kind === 'candidate') trace.take(event);
          else pictures.take(event);
        },
      },
    );
    await pictures.finish();
    await trace.finish();
    if (options.grid) await pictures.grid();
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: {
        images: pictures.written,
        seconds_per_step: summary.secondsPerStep,
        encode_seconds: summary.encodeSeconds,
        denoise_seconds: summary.denoiseSeconds,
        decode_seconds: summary.decodeSeconds,
        // Only a CPU has done the work when a call returns.
        ...(reward &&
          device === 'cpu' && {
            policy_seconds: summary.policySeconds,
            reward_seconds: summary.rewardSeconds,
            branch_seconds: summary.branchSeconds,
          }),
      },
    });
  } catch (error) {
    await pictures.finish(); // images made before are kept, and a full disk is the better explanation
    if (error instanceof DrmError && error.code === 'CANCELLED')
      throw new DrmError(
        'CANCELLED',
        `stopped: ${pictures.written} of ${jobs.length} images are in ${out}; the same command makes them all again, identically`,
      );
    throw error;
  } finally {
    reward?.dispose();
    pipeline.dispose();
  }
}
