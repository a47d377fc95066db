// CLIP's tokenizer from vocab.json and merges.txt, which is all that SD3's release carries: the equivalent tokenizer.json.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { type JsonFile, readShaped, readText } from '../common/json.js';
import { count, flag, mapOf, objectOf, optional, type Shape, text } from '../common/shape.js';

/** What CLIP splits text into before merging: its special tokens, contractions, letter runs, single digits, other runs. */
export const PIECES =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

type Role = 'bos_token' | 'eos_token' | 'pad_token' | 'unk_token';

interface SpecialToken {
  content: string;
  normalized?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  single_word?: boolean;
}

/** What to do about a tokenizer's file that is not as it should be. */
export const TOKENIZER_FILE: JsonFile = { part: 'tokenizer', advice: 'fetch it again with `drm pull`' };

/** A special token by its text, or with how it is found in texts; other fields are the library's affair. */
export const token: Shape<SpecialToken | string> = (value, at) =>
  typeof value === 'string' ? value : SPECIAL(value, at);
const SPECIAL = objectOf<SpecialToken>({
  content: text,
  normalized: optional(flag),
  lstrip: optional(flag),
  rstrip: optional(flag),
  single_word: optional(flag),
} as { [K in keyof SpecialToken]-?: Shape<SpecialToken[K]> });
const SPECIAL_TOKENS = objectOf<Partial<Record<Role, SpecialToken | string>>>({
  bos_token: optional(token),
  eos_token: optional(token),
  pad_token: optional(token),
  unk_token: optional(token),
} as { [K in Role]: Shape<SpecialToken | string> });

/** Throws DrmError BAD_FILE when the folder holds neither form of a tokenizer. */
export function clipTokenizerJson(folder: string): string {
  const vocabFile = join(folder, 'vocab.json');
  const mergesFile = join(folder, 'merges.txt');
  if (!existsSync(vocabFile) || !existsSync(mergesFile)) {
    throw new DrmError(
      'BAD_FILE',
      `[tokenizer] ${folder}: expected tokenizer.json, or vocab.json with merges.txt, found neither; fetch the tokenizer folders with \`drm pull\`, or name a model folder that has them with --components`,
      { file: folder },
    );
  }
  const vocab = readShaped(vocabFile, mapOf(count), TOKENIZER_FILE);
  const mapFile = join(folder, 'special_tokens_map.json');
  const map = existsSync(mapFile) ? readShaped(mapFile, SPECIAL_TOKENS, TOKENIZER_FILE) : {};
  const special = (role: Role, content: string, normalized: boolean): SpecialToken => {
    const token = map[role];
    return typeof token === 'object' ? token : { content: token ?? content, normalized };
  };
  const bos = special('bos_token', '<|startoftext|>', true);
  const eos = special('eos_token', '<|endoftext|>', false);
  const tokens = new Map(
    [bos, eos, special('pad_token', eos.content, false), special('unk_token', eos.content, false)].map((t) => [
      t.content,
      t,
    ]),
  );
  const id = (token: SpecialToken): number => {
    const found = Object.hasOwn(vocab, token.content) ? vocab[token.content] : undefined;
    if (found === undefined) {
      throw new DrmError(
        'BAD_FILE',
        `[tokenizer] ${vocabFile}: expected an id for ${token.content}, found none; fetch it again with \`drm pull\``,
        { file: vocabFile },
      );
    }
    return found;
  };
  const merges = readText(mergesFile, { ...TOKENIZER_FILE, expected: 'lines of merges' }, (lines) => lines)
    .split(/\r?\n/)
    .filter((line, i) => line.trim() !== '' && !(i === 0 && line.startsWith('#')));
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...tokens.values()]
      .map((t) => ({
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        ...t,
        id: id(t),
        special: true,
      }))
      .sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [eos.content, id(eos)],
      cls: [bos.content, id(bos)],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: eos.content,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  });
}
