// A CLIP folder as a scorer: transformers' layout, with its tokenizer in the same folder.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { ClipScorerSource } from '../../binding/types.js';
import type { Picture } from '../image/write.js';
import { cosine } from './features.js';
import type { Scorer, ScorerOptions, Space } from './scorer.js';

/** The files of a CLIP folder. Throws DrmError MISSING_WEIGHTS naming what was looked for. */
export function clipFiles(folder: string): ClipScorerSource {
  const missing = (what: string) =>
    new DrmError(
      'MISSING_WEIGHTS',
      `[score] ${folder}: expected a CLIP folder as transformers writes it, found no ${what}; name another folder with --scorer clip:FOLDER`,
      { file: folder },
    );
  if (!existsSync(folder)) throw missing('such folder');
  const config = join(folder, 'config.json');
  if (!existsSync(config)) throw missing('config.json');
  const names = readdirSync(folder);
  const weights = ['model.safetensors', 'model.safetensors.index.json', 'open_clip_model.safetensors'].find((name) =>
    names.includes(name),
  );
  if (!weights) throw missing('model.safetensors');
  const preprocessor = join(folder, 'preprocessor_config.json');
  return {
    config,
    weights: [join(folder, weights)],
    ...(existsSync(preprocessor) && { preprocessorConfig: preprocessor }),
  };
}

export async function loadClip(name: string, folder: string, options: ScorerOptions): Promise<Scorer> {
  const { ClipScorer } = await import('../../binding/index.js');
  const { Tokenizer } = await import('../text/tokenizer.js');
  const { device, dtype, signal, onWarning } = options;
  const source = clipFiles(folder);
  const tokenizer = Tokenizer.fromFolder(folder);
  const clip = await ClipScorer.load(source, { device, dtype }, signal ? { signal } : {});
  const space: Space = {
    pictures: (pictures, job) => clip.imageFeatures(pictures, job),
    captions: async (captions, job) => {
      const rows: BigInt64Array[] = [];
      let cut = 0;
      for (const caption of captions) {
        const { ids, dropped } = await tokenizer.padded(caption, clip.info.tokens);
        rows.push(ids);
        if (dropped !== '') cut += 1;
      }
      if (cut > 0)
        onWarning?.(`${name} reads ${clip.info.tokens} tokens; ${cut} of ${captions.length} captions are longer`);
      return clip.textFeatures(rows, job);
    },
  };
  return {
    name,
    unit: 'cosine',
    scale: Math.exp(clip.info.logitScale),
    space,
    score: async (pictures: Picture[], captions, job) => {
      const seen = await space.pictures(pictures, job);
      const said = await space.captions(captions, job);
      return captions.map((_, i) => cosine(seen, i, said, i));
    },
    dispose: () => clip.dispose(),
  };
}
