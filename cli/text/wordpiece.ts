// BERT's uncased WordPiece as BLIP reads prompts with it (Devlin et al. 2019), from the vocabulary alone: what else a
// tokenizer.json says is the same for all of BERT's, and is said here.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { fileFault, type JsonObject, parseJson, readText, shaped } from '../common/json.js';
import { count, listOf, mapOf, objectOf, optional, text } from '../common/shape.js';
import { TOKENIZER_FILE } from './clip_files.js';
import { expectSize, Tokenizer, tokenizerJson } from './tokenizer.js';

/** What closes, opens, pads and stands for unknown words. */
const NEEDED = ['[PAD]', '[UNK]', '[CLS]', '[SEP]'];
/** What BLIP adds behind BERT's own entries, in this order; ImageReward has them in its table and never reads them. */
const BLIPS = ['[DEC]', '[ENC]'];
const SPECIAL = [...NEEDED, '[MASK]', ...BLIPS];

/** What of a tokenizer.json counts. */
const WHOLE = objectOf<{ model: { vocab: Record<string, number> }; added_tokens?: { id: number; content: string }[] }>({
  model: objectOf({ vocab: mapOf(count) }),
  added_tokens: optional(listOf(objectOf({ id: count, content: text }))),
});

/**
 * The tokenizer of a folder with a tokenizer.json or a vocab.txt of BERT's. ImageReward's release has neither: its own code
 * takes bert-base-uncased's. Throws DrmError BAD_FILE.
 */
export function blipTokenizer(folder: string): Tokenizer {
  const [whole, lines] = ['tokenizer.json', 'vocab.txt'].map((name) => join(folder, name)) as [string, string];
  const file = existsSync(whole) ? whole : lines;
  if (!existsSync(file))
    throw new DrmError(
      'BAD_FILE',
      `[tokenizer] ${folder}: expected BERT's tokenizer.json or vocab.txt, found neither; ImageReward's release has none: fetch vocab.txt of google-bert/bert-base-uncased with \`drm pull\``,
      { file: folder },
    );
  expectSize(file);
  const vocab = file === whole ? entriesOfJson(file) : entriesOfLines(file);
  return Tokenizer.fromJson(JSON.stringify(assembled(completed(vocab, file))), ['[PAD]'], file);
}

type Vocabulary = Map<string, number>;

const fault = (file: string, what: string): DrmError =>
  fileFault(file, `${what}; is it bert-base-uncased's?`, TOKENIZER_FILE);

/** One entry a line, its number the id. */
function entriesOfLines(file: string): Vocabulary {
  const lines = readText(file, { ...TOKENIZER_FILE, expected: 'lines of entries' }, (all) => all).split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  const vocab: Vocabulary = new Map();
  for (const [id, entry] of lines.entries()) {
    if (vocab.has(entry))
      throw fault(
        file,
        `expected each entry once, found "${entry}" on lines ${(vocab.get(entry) ?? 0) + 1} and ${id + 1}`,
      );
    vocab.set(entry, id);
  }
  return vocab;
}

function entriesOfJson(file: string): Vocabulary {
  const { model, added_tokens = [] } = shaped(file, parseJson(tokenizerJson(file)), WHOLE, TOKENIZER_FILE);
  const vocab: Vocabulary = new Map(Object.entries(model.vocab));
  for (const { content, id } of added_tokens) vocab.set(content, id);
  return vocab;
}

/** With BLIP's tokens; ids from 0 on, each once, none of them for capitals, which an uncased tokenizer never makes. */
function completed(vocab: Vocabulary, file: string): Vocabulary {
  for (const entry of NEEDED) if (!vocab.has(entry)) throw fault(file, `expected an entry ${entry}, found none`);
  const ids = new Set(vocab.values());
  for (const [entry, id] of vocab) {
    if (ids.size !== vocab.size || id >= vocab.size)
      throw fault(file, `expected the ids 0 to ${vocab.size - 1}, each once, found ${ids.size}, one of them ${id}`);
    if (/[A-Z]/.test(entry) && !/^\[.*\]$/.test(entry))
      throw fault(file, `expected an uncased vocabulary, found "${entry}"`);
  }
  for (const token of BLIPS) if (!vocab.has(token)) vocab.set(token, vocab.size);
  return vocab;
}

function assembled(vocab: Vocabulary): JsonObject {
  const id = (token: string) => vocab.get(token) as number;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.filter((token) => vocab.has(token))
      .map((content) => ({
        id: id(content),
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      }))
      .sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null, // as lowercase
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'BertProcessing', cls: ['[CLS]', id('[CLS]')], sep: ['[SEP]', id('[SEP]')] },
    decoder: null,
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab),
    },
  };
}
