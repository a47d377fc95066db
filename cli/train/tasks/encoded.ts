// What `drm data encode` left beside the sets that a training reads, in the place of encoding them again.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Trainer } from '../../../binding/index.js';
import type { Dtype } from '../../../binding/types.js';
import { bytesOf } from '../../common/device.js';
import { ENCODED, type Encoded, type EncodedKey, openEncoded } from '../../data/load/encoded.js';
import { describeBase } from '../../hub/description.js';
import { weightsHash } from '../../hub/fingerprint.js';
import type { ResolvedModel } from '../../hub/resolve.js';
import type { PairPart } from './pairs.js';

type PairsOf = PairPart['set'];

/** The part of an encoding's name that its base decides. */
export async function encodedKey(
  { source }: ResolvedModel,
  size: number,
  t5Length: number,
  clipLength: number,
): Promise<Omit<EncodedKey, 'dtype'>> {
  const encoders = [source.textEncoder, source.textEncoder2, source.textEncoder3].flatMap(
    (part) => part?.weights ?? [],
  );
  return {
    vae: await weightsHash(source.vae),
    text_encoders: await weightsHash({ weights: encoders }),
    size,
    t5_length: t5Length,
    clip_length: clipLength,
  };
}

/** Bytes of one prompt's embeds of so many tokens. */
export function promptBytes({ source }: ResolvedModel, tokens: number, dtype: Dtype): number {
  const { sequenceWidth, pooledWidth } = describeBase(source);
  return (tokens * sequenceWidth + pooledWidth) * bytesOf(dtype);
}

/** Pixels a side of what the base draws. */
export const imageSize = ({ source }: ResolvedModel): number => describeBase(source).defaultSize;

export class EncodedInputs {
  readonly #of = new Map<PairsOf, { encoded: Encoded; firstImage: number; firstRow: number }>();

  private constructor() {}

  /** Undefined unless every set has been encoded with this base, at this size and length. */
  static async find(
    parts: PairPart[],
    base: ResolvedModel,
    settings: { size: number; t5_length: number },
    clipLength: number,
  ): Promise<EncodedInputs | undefined> {
    // Hashing gigabytes of weights is worth it only where something lies there.
    if (!parts.every(({ set }) => existsSync(join(set.folder, ENCODED)))) return undefined;
    const key = await encodedKey(base, settings.size, settings.t5_length, clipLength);
    const inputs = new EncodedInputs();
    let firstRow = 0;
    for (const { set, firstImage } of parts) {
      if (inputs.#of.has(set)) continue;
      const encoded = openEncoded(set.folder, key);
      if (!encoded) return undefined;
      inputs.#of.set(set, { encoded, firstImage, firstRow });
      firstRow += encoded.manifest.prompts;
    }
    return inputs;
  }

  get folders(): string[] {
    return [...this.#of.values()].map(({ encoded }) => encoded.folder);
  }

  /** The trainer's row of a prompt. Throws DrmError BAD_FILE for one that was never encoded. */
  row(text: string): number {
    for (const { encoded, firstRow } of this.#of.values()) {
      const row = encoded.prompts.row(text);
      if (row !== undefined) return firstRow + row;
    }
    throw new DrmError(
      'BAD_FILE',
      `[train] ${this.folders[0]}: expected the embeds of every prompt, found none of ${JSON.stringify(text.slice(0, 80))}; encode the set again with \`drm data encode\``,
      { file: String(this.folders[0]) },
    );
  }

  /** Gives the files to the trainer; returns each set's images that could not be decoded. */
  async load(trainer: Trainer, signal: AbortSignal): Promise<Map<PairsOf, Set<number>>> {
    const bad = new Map<PairsOf, Set<number>>();
    await trainer.loadPrompts(
      [...this.#of.values()].flatMap(({ encoded }) => encoded.prompts.paths),
      { signal },
    );
    for (const [set, { encoded, firstImage }] of this.#of) {
      const numbers = new Map(Array.from({ length: set.imageCount }, (_, i) => [set.imageId(i), i]));
      for (const { path, ids } of encoded.latents) {
        const images = ids.map((id) => {
          const number = numbers.get(id);
          numbers.delete(id);
          return number === undefined ? -1 : number + firstImage; // of a split that is not read
        });
        if (images.some((number) => number >= 0)) await trainer.loadLatents(path, images, { signal });
      }
      // What is left was not encoded: because it could not be, or because the set has changed.
      for (const id of numbers.keys())
        if (!Object.hasOwn(encoded.manifest.bad, id))
          throw new DrmError(
            'BAD_FILE',
            `[train] ${encoded.folder}: expected the latents of every image, found none of ${id}; encode the set again with \`drm data encode\``,
            { file: encoded.folder },
          );
      bad.set(set, new Set(numbers.values()));
    }
    return bad;
  }
}
