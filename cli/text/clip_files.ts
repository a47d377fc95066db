// CLIP's tokenizer from vocab.json and merges.txt, which is all that SD3's release carries: the equivalent tokenizer.json.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { badFile, readObject, readText, shown, tokenText } from './files.js';

/** What CLIP splits text into before merging: its special tokens, contractions, letter runs, single digits, other runs. */
export const PIECES =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

const FLAGS = ['single_word', 'lstrip', 'rstrip', 'normalized'] as const;

type SpecialToken = { content: string } & Partial<Record<(typeof FLAGS)[number], boolean>>;

/** A role of special_tokens_map.json: a text, or an object with its content and flags; what is not said is as CLIP has it. */
function specialToken(map: Record<string, unknown>, role: string, usual: SpecialToken, file: string): SpecialToken {
  const token = map[role] ?? usual;
  const content = tokenText(token, file, role);
  if (typeof token === 'string') return { ...usual, content };
  const flags = FLAGS.flatMap((flag) => {
    const value = (token as Record<string, unknown>)[flag];
    if (value === undefined) return [];
    if (typeof value !== 'boolean') throw badFile(file, `true or false as ${flag} of ${role}`, shown(value));
    return [[flag, value]];
  });
  return { content, ...Object.fromEntries(flags) };
}

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
  const vocab = readObject(vocabFile);
  for (const [token, id] of Object.entries(vocab))
    if (!Number.isInteger(id)) throw badFile(vocabFile, `a whole number as the id of ${shown(token)}`, shown(id));
  const mapFile = join(folder, 'special_tokens_map.json');
  const map = existsSync(mapFile) ? readObject(mapFile) : {};
  const special = (role: string, content: string, normalized: boolean): SpecialToken =>
    specialToken(map, role, { content, normalized }, mapFile);
  const bos = special('bos_token', '<|startoftext|>', true);
  const eos = special('eos_token', '<|endoftext|>', false);
  const tokens = new Map(
    [bos, eos, special('pad_token', eos.content, false), special('unk_token', eos.content, false)].map((t) => [
      t.content,
      t,
    ]),
  );
  const id = (token: SpecialToken): number => {
    const found = vocab[token.content];
    if (typeof found !== 'number') throw badFile(vocabFile, `an id for ${token.content}`, 'none');
    return found;
  };
  const merges = readText(mergesFile)
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
