// A diffusers model's folder for a model that shares all its parts but the transformer.
import { cp, link, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Copies the folder without its transformer's weights, and without the whole model in one file that may lie beside.
 * `link`: weights of the other parts become hard links to the same data where the file system allows it: SD3.5's text
 * encoders alone take 11 GB.
 */
export async function copyBase(base: string, model: string, options: { link?: boolean } = {}): Promise<void> {
  const left = [base, join(base, 'transformer')];
  await cp(base, model, {
    recursive: true,
    dereference: true, // a hub cache holds links
    filter: async (from, to) => {
      if (left.includes(dirname(from)) && /\.safetensors(\.index\.json)?$/.test(from)) return false;
      if (!options.link || !from.endsWith('.safetensors')) return true;
      return await realpath(from)
        .then((file) => link(file, to))
        .then(
          () => false,
          () => true, // another file system: copied
        );
    },
  });
}
