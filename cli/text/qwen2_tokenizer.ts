// Qwen2's tokenizer (byte-level BPE), with the token that HPSv3 adds to it: from tokenizer.json, or from vocab.json and
// merges.txt, which it is made of.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { fileFault, isObject, type JsonObject, parseJson, readShaped, readText } from '../common/json.js';
import { brief, count, listOf, mapOf, objectOf, text } from '../common/shape.js';
import { TOKENIZER_FILE } from './clip_files.js';
import { REWARD_TOKEN } from './hpsv3_prompt.js';
import { LibraryTokenizer } from './library.js';
import { checkedText, expectSize, tokenizerJson } from './tokenizer.js';

/** What Qwen2 splits text into before merging: contractions, words, single digits, other runs, line ends, blanks. */
const PIECES =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Qwen2-VL's special tokens, whose ids follow those of the vocabulary in this order. */
const SPECIAL = [
  'endoftext',
  'im_start',
  'im_end',
  'object_ref_start',
  'object_ref_end',
  'box_start',
  'box_end',
  'quad_start',
  'quad_end',
  'vision_start',
  'vision_end',
  'vision_pad',
  'image_pad',
  'video_pad',
].map((name) => `<|${name}|>`);

/** Every field, as the library writes it. */
const added = (content: string, id: number) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});
type Added = ReturnType<typeof added>;

/** What of a tokenizer.json tells the next free id. */
const WHOLE = objectOf<{ model: JsonObject; added_tokens: Pick<Added, 'id' | 'content'>[] }>({
  model: objectOf({ vocab: mapOf(count) }),
  added_tokens: listOf(objectOf<Pick<Added, 'id' | 'content'>>({ id: count, content: text })),
});

export class Qwen2Tokenizer {
  private constructor(private readonly library: LibraryTokenizer) {}

  /**
   * Reads a folder with tokenizer.json, or vocab.json and merges.txt. REWARD_TOKEN gets the next free id where it is not in
   * it yet, as the reference adds it. Throws DrmError BAD_FILE; what the library finds wrong is thrown by whatever is asked
   * first.
   */
  static fromFolder(folder: string): Qwen2Tokenizer {
    const [whole, vocab, merges] = ['tokenizer.json', 'vocab.json', 'merges.txt'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    for (const file of [whole, vocab, merges]) expectSize(file);
    const isThere = existsSync(whole);
    if (!isThere && !(existsSync(vocab) && existsSync(merges)))
      throw new DrmError(
        'BAD_FILE',
        `[tokenizer] ${folder}: expected Qwen2-VL's tokenizer.json, or vocab.json with merges.txt, found neither; fetch those files of Qwen/Qwen2-VL-7B-Instruct with \`drm pull\``,
        { file: folder },
      );
    const file = isThere ? whole : folder;
    const json = isThere ? parseJson(tokenizerJson(whole)) : assembled(vocab, merges);
    return new Qwen2Tokenizer(new LibraryTokenizer(JSON.stringify(withReward(json, file)), [REWARD_TOKEN], file));
  }

  /** Entries, added tokens included. */
  async size(): Promise<number> {
    return (await this.library.facts).size;
  }

  /** REWARD_TOKEN's id. */
  async rewardId(): Promise<number> {
    return (await this.library.facts).ids[0] ?? -1;
  }

  /** The text's ids, nothing added. Any string is accepted; half surrogates become U+FFFD. */
  async ids(said: string): Promise<number[]> {
    return (await this.library.encode(checkedText(said), Number.POSITIVE_INFINITY)).ids;
  }

  /** For programs that open many: the library forgets it. */
  dispose(): Promise<void> {
    return this.library.dispose();
  }
}

function withReward(json: unknown, file: string): JsonObject {
  if (!isObject(json)) throw fileFault(file, `expected a tokenizer.json, found ${brief(json)}`, TOKENIZER_FILE);
  let stated: ReturnType<typeof WHOLE>;
  try {
    stated = WHOLE(json, '');
  } catch (error) {
    throw fileFault(file, `expected the tokenizer of Qwen2-VL (${(error as Error).message})`, TOKENIZER_FILE);
  }
  if (stated.added_tokens.some(({ content }) => content === REWARD_TOKEN)) return json;
  let last = -1;
  for (const id of Object.values(stated.model.vocab as Record<string, number>)) last = Math.max(last, id);
  for (const { id } of stated.added_tokens) last = Math.max(last, id);
  return { ...json, added_tokens: [...stated.added_tokens, added(REWARD_TOKEN, last + 1)] };
}

/** The tokenizer.json that vocab.json and merges.txt amount to. */
function assembled(vocabFile: string, mergesFile: string): JsonObject {
  const vocab = readShaped(vocabFile, mapOf(count), TOKENIZER_FILE);
  const merges = readText(mergesFile, { ...TOKENIZER_FILE, expected: 'lines of merges' }, (lines) => lines)
    .split(/\r?\n/)
    .filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#')));
  const first = Object.keys(vocab).length;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, i) => added(content, first + i)),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}
