// Token ids of prompts, as SD3's three tokenizers give them. The work is done by Hugging Face's own tokenizers library;
// what is ours is which files are read, and padding as SD3's pipeline asks for it.
import { existsSync, readFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Tokenizer as Library } from '@anush008/tokenizers';
import { DrmError } from '../../binding/error.js';
import type { PromptTokens } from '../../binding/types.js';
import { readObject } from '../json.js';
import { clipTokenizerJson } from './clip_files.js';

const require = createRequire(import.meta.url);

/** CLIP's own length, used where a tokenizer's config names none. */
export const CLIP_LENGTH = 77;
/** Configs without a limit hold transformers' "very large integer", 1e30. */
const LONGEST = 65_536;

/** What a tokenizer's folder may hold. */
const TOKENIZER_FILES = [
  'tokenizer.json',
  'vocab.json',
  'merges.txt',
  'tokenizer_config.json',
  'special_tokens_map.json',
];

/** Copies a tokenizer's files into a folder that is there. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  for (const file of TOKENIZER_FILES)
    if (existsSync(join(from, file))) await copyFile(join(from, file), join(to, file));
}

/** One tokenizer: text to ids, closed and opened as its model expects. */
export class Tokenizer {
  private constructor(
    private readonly library: Library,
    private readonly pad: number,
    /** The longest text that its model was made for, if the folder says so. */
    readonly maxLength: number | undefined,
  ) {}

  /**
   * Reads a tokenizer folder: tokenizer.json, or CLIP's vocab.json and merges.txt.
   * Throws DrmError BAD_FILE naming what was looked for.
   */
  static fromFolder(folder: string): Tokenizer {
    const file = join(folder, 'tokenizer.json');
    const json = existsSync(file) ? readText(file) : clipTokenizerJson(folder);
    // Loaded here and not above: a third of a megabyte of glue and a native library that only prompts need.
    const { Tokenizer: load } = require('@anush008/tokenizers') as typeof import('@anush008/tokenizers');
    let library: Library;
    try {
      library = load.fromString(json);
    } catch (error) {
      throw new DrmError(
        'BAD_FILE',
        `[tokenizer] ${file}: expected a Hugging Face tokenizer.json, which could not be read (${(error as Error).message}); fetch it again with \`drm pull\``,
        { file },
      );
    }
    // The file's own cutting and padding would hide how long a prompt really is.
    library.disableTruncation?.();
    library.disablePadding?.();
    return new Tokenizer(library, padId(folder, library), maxLength(folder));
  }

  /** Entries, added tokens included. */
  get size(): number {
    return this.library.getVocabSize(true);
  }

  /** All ids of the text, with opening and closing tokens. Any string is accepted; half surrogates become U+FFFD. */
  async ids(text: string): Promise<number[]> {
    const encoding = await this.library.encode(text.toWellFormed());
    return Array.from(encoding.getIds());
  }

  /** Exactly `length` ids: cut so that the closing token stays, or padded. `total` is the length before. */
  async padded(
    text: string,
    length: number,
  ): Promise<{ ids: BigInt64Array; total: number; kept: number; dropped: string }> {
    const encoding = await this.library.encode(text.toWellFormed());
    const all = Array.from(encoding.getIds());
    const last = all.at(-1) ?? this.pad;
    const used = all.length <= length ? all : [...all.slice(0, length - 1), last];
    const ids = new BigInt64Array(length).fill(BigInt(this.pad));
    for (const [i, id] of used.entries()) ids[i] = BigInt(id);
    let dropped = '';
    if (all.length > length) {
      const start = encoding.getOffsets()[length - 1]?.[0] ?? 0;
      dropped = Array.from(text).slice(start).join('');
    }
    return { ids, total: all.length, kept: used.length, dropped };
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new DrmError('BAD_FILE', `[tokenizer] ${file}: expected a readable file: ${(error as Error).message}`, {
      file,
    });
  }
}

/** A field of one of the folder's small JSON files; undefined where file or field is missing. */
function field(file: string, name: string): unknown {
  if (!existsSync(file)) return undefined;
  const found = readObject(file, { part: 'tokenizer', advice: 'fetch it again with `drm pull`' });
  return Object.hasOwn(found, name) ? found[name] : undefined;
}

function maxLength(folder: string): number | undefined {
  const file = join(folder, 'tokenizer_config.json');
  const length = field(file, 'model_max_length');
  if (length === undefined || length === null || (typeof length === 'number' && length > LONGEST)) return undefined;
  // Two ids are the least that open and close a text.
  if (typeof length === 'number' && Number.isInteger(length) && length >= 2) return length;
  throw new DrmError(
    'BAD_FILE',
    `[tokenizer] model_max_length in ${file}: expected a whole number from 2, found ${JSON.stringify(length)}; fetch it again with \`drm pull\``,
    { file, key: 'model_max_length' },
  );
}

/** The pad token that the folder's config names; T5's and, failing all, id 0. */
function padId(folder: string, library: Library): number {
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    const token = field(join(folder, name), 'pad_token');
    const text = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
    if (typeof text !== 'string') continue;
    const id = library.tokenToId(text);
    if (typeof id === 'number') return id;
  }
  return 0;
}

export interface Truncation {
  encoder: 'CLIP-L' | 'CLIP-G' | 'T5';
  /** Tokens used and tokens there were, opening and closing ones included. */
  kept: number;
  total: number;
  /** The end of the prompt that this encoder does not see. */
  dropped: string;
}

/** The three tokenizers of a pipeline. */
export class PromptTokenizer {
  constructor(
    private readonly clipL: Tokenizer,
    private readonly clipG: Tokenizer,
    private readonly t5: Tokenizer | undefined,
  ) {}

  /** Tokens of both CLIPs: what the first tokenizer's config says, as in the reference. */
  get clipLength(): number {
    return this.clipL.maxLength ?? CLIP_LENGTH;
  }

  /** Ids of one prompt for all encoders (T5 to `t5Length`; empty without a T5), and what had to be cut. */
  async encode(prompt: string, t5Length: number): Promise<{ tokens: PromptTokens; truncated: Truncation[] }> {
    if (this.t5 && t5Length < 1)
      throw new DrmError(
        'BAD_REQUEST',
        `[tokenizer] T5 length: expected at least 1 token, found ${t5Length}; only without T5 (--no-t5) may its tokens be left out`,
      );
    const clipL = await this.clipL.padded(prompt, this.clipLength);
    const clipG = await this.clipG.padded(prompt, this.clipLength);
    const t5 = this.t5 && (await this.t5.padded(prompt, t5Length));
    const truncated: Truncation[] = [];
    const note = (encoder: Truncation['encoder'], result: typeof clipL | undefined) => {
      if (result?.dropped) truncated.push({ encoder, kept: result.kept, total: result.total, dropped: result.dropped });
    };
    note('CLIP-L', clipL);
    note('CLIP-G', clipG);
    note('T5', t5);
    return { tokens: { clipL: clipL.ids, clipG: clipG.ids, t5: t5?.ids ?? new BigInt64Array(0) }, truncated };
  }
}

export function loadTokenizers(folders: { clipL: string; clipG: string; t5?: string }): PromptTokenizer {
  return new PromptTokenizer(
    Tokenizer.fromFolder(folders.clipL),
    Tokenizer.fromFolder(folders.clipG),
    folders.t5 === undefined ? undefined : Tokenizer.fromFolder(folders.t5),
  );
}
