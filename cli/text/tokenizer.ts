// Token ids of prompts, as SD3's three tokenizers give them. The work is done by Hugging Face's own tokenizers library;
// what is ours is which files are read, and padding as SD3's pipeline asks for it.
import { existsSync, statSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { PromptTokens } from '../../binding/types.js';
import { isObject, parseJson, readObject, readText, shaped } from '../common/json.js';
import { brief } from '../common/shape.js';
import { expectCharsmaps } from './charsmap.js';
import { clipTokenizerJson, TOKENIZER_FILE, token } from './clip_files.js';
import { LibraryTokenizer } from './library.js';

/** CLIP's own length, used where a tokenizer's config names none. */
export const CLIP_LENGTH = 77;
/** Configs without a limit hold transformers' "very large integer", 1e30. */
const LONGEST = 65_536;
/** Bytes; the largest tokenizers that people use have some 35 MB. */
const LARGEST_FILE = 64 << 20;
/** Characters of a text. */
const LONGEST_TEXT = 1 << 20;

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
    private readonly library: LibraryTokenizer,
    /** The longest text that its model was made for, if the folder says so. */
    readonly maxLength: number | undefined,
  ) {}

  /**
   * Reads a tokenizer folder: tokenizer.json, or CLIP's vocab.json and merges.txt. Throws DrmError BAD_FILE naming what was
   * looked for. The library reads it meanwhile: what it finds wrong is thrown by whatever is asked first.
   */
  static fromFolder(folder: string): Tokenizer {
    for (const name of TOKENIZER_FILES) expectSize(join(folder, name));
    const file = join(folder, 'tokenizer.json');
    const isThere = existsSync(file);
    const json = isThere ? tokenizerJson(file) : clipTokenizerJson(folder);
    return new Tokenizer(new LibraryTokenizer(json, padTokens(folder), isThere ? file : folder), maxLength(folder));
  }

  /** Of a tokenizer.json's text; `pads`: tokens to pad with, the first that there is counts; `about`: the file, for messages. */
  static fromJson(json: string, pads: string[], about: string): Tokenizer {
    return new Tokenizer(new LibraryTokenizer(json, pads, about), undefined);
  }

  /** Entries, added tokens included. */
  async size(): Promise<number> {
    return (await this.library.facts).size;
  }

  /** All ids of the text, with opening and closing tokens. Any string is accepted; half surrogates become U+FFFD. */
  async ids(text: string): Promise<number[]> {
    return (await this.library.encode(checkedText(text), Number.POSITIVE_INFINITY)).ids;
  }

  /** Exactly `length` ids: cut so that the closing token stays, or padded. `total` is the length before. */
  async padded(
    text: string,
    length: number,
  ): Promise<{ ids: BigInt64Array; total: number; kept: number; dropped: string }> {
    const { ids: all, cut } = await this.library.encode(checkedText(text), length);
    const pad = (await this.library.facts).ids.find((id) => id !== null) ?? 0;
    const last = all.at(-1) ?? pad;
    const used = all.length <= length ? all : [...all.slice(0, length - 1), last];
    const ids = new BigInt64Array(length).fill(BigInt(pad));
    for (const [i, id] of used.entries()) ids[i] = BigInt(id);
    const dropped = all.length > length ? Array.from(text).slice(cut).join('') : '';
    return { ids, total: all.length, kept: used.length, dropped };
  }

  /** For programs that open many: the library forgets it. */
  dispose(): Promise<void> {
    return this.library.dispose();
  }
}

/** The text as the library takes it. Throws DrmError BAD_REQUEST for one that is no prompt's length. */
export function checkedText(text: string): string {
  if (text.length > LONGEST_TEXT)
    throw new DrmError(
      'BAD_REQUEST',
      `[tokenizer] "${text.slice(0, 40)}…": expected a text of at most ${LONGEST_TEXT} characters, found ${text.length}; is it one prompt?`,
    );
  return text.toWellFormed();
}

/** Throws DrmError BAD_FILE for a file that is no tokenizer's size. */
export function expectSize(file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LARGEST_FILE)
    throw new DrmError(
      'BAD_FILE',
      `[tokenizer] ${file}: expected at most ${LARGEST_FILE >> 20} MiB, found ${size >> 20} MiB; is it a tokenizer's?`,
      { file },
    );
}

/** The text of a tokenizer.json, as far as it can be checked before the library reads it. */
export function tokenizerJson(file: string): string {
  return readText(file, { ...TOKENIZER_FILE, expected: 'a Hugging Face tokenizer.json' }, (json) => {
    const value = parseJson(json);
    if (!isObject(value)) throw new Error(`found ${brief(value)}`);
    expectCharsmaps(value.normalizer);
    return json;
  });
}

/** A field of one of the folder's small JSON files; undefined where file or field is missing or null. */
function field(file: string, name: string): unknown {
  if (!existsSync(file)) return undefined;
  const found = readObject(file, TOKENIZER_FILE);
  return Object.hasOwn(found, name) ? (found[name] ?? undefined) : undefined;
}

function maxLength(folder: string): number | undefined {
  const file = join(folder, 'tokenizer_config.json');
  const length = field(file, 'model_max_length');
  if (length === undefined || (typeof length === 'number' && length > LONGEST)) return undefined;
  // Two ids are the least that open and close a text.
  if (typeof length === 'number' && Number.isInteger(length) && length >= 2) return length;
  throw new DrmError(
    'BAD_FILE',
    `[tokenizer] model_max_length in ${file}: expected a whole number from 2, found ${brief(length)}; fetch it again with \`drm pull\``,
    { file, key: 'model_max_length' },
  );
}

/** Pad tokens that the folder's small files name. The first that the tokenizer has counts; T5's and, failing all, id 0. */
function padTokens(folder: string): string[] {
  return ['tokenizer_config.json', 'special_tokens_map.json'].flatMap((name) => {
    const file = join(folder, name);
    const pad = field(file, 'pad_token');
    if (pad === undefined) return [];
    const found = shaped(file, pad, (value) => token(value, 'pad_token'), TOKENIZER_FILE);
    return [typeof found === 'string' ? found : found.content];
  });
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
