// Which files of a repository are fetched, and what they are for.
import picomatch from 'picomatch';
import type { RepositoryType } from '../../hub/cache.js';
import type { RemoteFile } from '../../hub/listing.js';

/** Formats that drm never reads, and the original single files that repeat what the folders hold. */
const NEVER_READ = /\.(bin|ckpt|pt|pth|msgpack|h5|onnx|onnx_data|gguf|tflite|ot)$/;

/** Of a diffusers folder; the first words say what it is. */
export const PIECES: [RegExp, string][] = [
  [/^transformer\//, 'transformer, the denoising network: needed'],
  [/^vae\//, 'VAE, turns latents into images: needed'],
  [/^text_encoder\//, 'CLIP-L, reads the prompt: needed'],
  [/^text_encoder_2\//, 'CLIP-G, reads the prompt: needed'],
  [/^text_encoder_3\//, "T5, reads long prompts: optional (--exclude 'text_encoder_3/*' does without it)"],
  [/^tokenizer/, 'tokenizers: needed (tokenizer_3 only with T5)'],
];

/** The files that a user of drm wants, and a word on those left out. */
export function choose(
  files: RemoteFile[],
  include: string[],
  exclude: string[],
  type: RepositoryType,
): { wanted: RemoteFile[]; skipped: RemoteFile[] } {
  const named = include.length > 0 ? picomatch(include, { dot: true, bash: true }) : undefined;
  const unwanted = exclude.length > 0 ? picomatch(exclude, { dot: true, bash: true }) : undefined;
  const isFolder = files.some((file) => file.path === 'model_index.json');
  const byDefault = (path: string) =>
    type === 'dataset' ||
    (!NEVER_READ.test(path) && !(isFolder && /^[^/]+\.safetensors$/.test(path)) && !path.startsWith('text_encoders/'));
  const wanted = files.filter(({ path }) => (named ? named(path) : byDefault(path)) && !unwanted?.(path));
  return { wanted, skipped: files.filter((file) => !wanted.includes(file)) };
}
