// A CLIP tokenizer of one's own: byte-level BPE learnt from captions, in the files that CLIP's releases carry.
import { join } from 'node:path';
import { prepareFolder, writeAtomically } from '../common/files.js';
import { PIECES } from './clip_files.js';

const START = '<|startoftext|>';
const END = '<|endoftext|>';
const WORD_END = '</w>';

/** The printable letter that stands for each byte, in the order of CLIP's ids: printable bytes first, the rest from U+0100. */
function byteLetters(): { ordered: string[]; ofByte: string[] } {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const ofByte: string[] = [];
  for (const byte of bytes.filter(printable)) ofByte[byte] = String.fromCharCode(byte);
  for (const [i, byte] of bytes.filter((byte) => !printable(byte)).entries())
    ofByte[byte] = String.fromCharCode(256 + i);
  const ordered = [...bytes.filter(printable), ...bytes.filter((byte) => !printable(byte))].map(
    (b) => ofByte[b] as string,
  );
  return { ordered, ofByte };
}

interface Word {
  symbols: string[];
  count: number;
}

/** The words of the texts as the tokenizer splits them, with their counts. */
function wordsOf(texts: Iterable<string>): Word[] {
  const { ofByte } = byteLetters();
  const pieces = new RegExp(PIECES, 'gu');
  const counts = new Map<string, number>();
  for (const text of texts) {
    // Character by character: a whole text's lower case knows a final sigma, CLIP's does not.
    const lower = Array.from(text.toWellFormed().normalize('NFC'), (character) => character.toLowerCase()).join('');
    for (const piece of lower.match(pieces) ?? []) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return [...counts].map(([piece, count]) => {
    const symbols = Array.from(Buffer.from(piece), (byte) => ofByte[byte] as string);
    symbols.push(`${symbols.pop()}${WORD_END}`);
    return { symbols, count };
  });
}

/** Joins each adjacent `left`, `right`. */
function merged(symbols: string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(left + right);
      i += 1;
    } else out.push(symbols[i] as string);
  }
  return out;
}

/**
 * At most `limit` merges, most frequent pair first, ties by the letters, until every word is one token. The same texts
 * give the same merges in any order.
 */
export function trainMerges(texts: Iterable<string>, limit: number): [string, string][] {
  const words = wordsOf(texts);
  const pairs = new Map<string, { count: number; words: Set<Word> }>();
  const change = (word: Word, sign: 1 | -1) => {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const pair = `${word.symbols[i]} ${word.symbols[i + 1]}`;
      let entry = pairs.get(pair);
      if (!entry) {
        entry = { count: 0, words: new Set() };
        pairs.set(pair, entry);
      }
      entry.count += sign * word.count;
      if (sign > 0) entry.words.add(word);
      else entry.words.delete(word);
      if (entry.count === 0) pairs.delete(pair);
    }
  };
  for (const word of words) change(word, 1);
  const merges: [string, string][] = [];
  while (merges.length < limit && pairs.size > 0) {
    let best = '';
    let most = 0;
    for (const [pair, { count }] of pairs) {
      if (count > most || (count === most && pair < best)) {
        best = pair;
        most = count;
      }
    }
    const [left, right] = best.split(' ') as [string, string];
    merges.push([left, right]);
    for (const word of [...(pairs.get(best)?.words ?? [])]) {
      change(word, -1);
      word.symbols = merged(word.symbols, left, right);
      change(word, 1);
    }
  }
  return merges;
}

export interface TokenizerOptions {
  /** Entries of the vocabulary: 512 byte letters, the merges, and two special tokens. */
  vocabulary: number;
  /** Tokens of a prompt, opening and closing ones included. */
  maxLength: number;
  /** CLIP-L pads with its end token, CLIP-G with "!". */
  pad: '<|endoftext|>' | '!';
}

export const SMALLEST_VOCABULARY = 514;

/** vocab.json, merges.txt and the two small config files, by name. */
export function clipTokenizerFiles(texts: Iterable<string>, options: TokenizerOptions): Record<string, string> {
  const { ordered } = byteLetters();
  const merges = trainMerges(texts, options.vocabulary - SMALLEST_VOCABULARY);
  const tokens = [
    ...ordered,
    ...ordered.map((letter) => letter + WORD_END),
    // Two merges may give the same token by different ways; it has one id.
    ...new Set(merges.map(([left, right]) => left + right)),
    START,
    END,
  ];
  const special = (content: string, normalized: boolean) => ({
    content,
    lstrip: false,
    normalized,
    rstrip: false,
    single_word: false,
  });
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return {
    'vocab.json': `${JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id])))}\n`,
    'merges.txt': `#version: 0.2\n${merges.map((pair) => pair.join(' ')).join('\n')}\n`,
    'tokenizer_config.json': json({
      add_prefix_space: false,
      bos_token: START,
      do_lower_case: true,
      eos_token: END,
      errors: 'replace',
      model_max_length: options.maxLength,
      pad_token: options.pad,
      tokenizer_class: 'CLIPTokenizer',
      unk_token: END,
    }),
    'special_tokens_map.json': json({
      bos_token: special(START, true),
      eos_token: special(END, false),
      pad_token: special(options.pad, false),
      unk_token: special(END, false),
    }),
  };
}

/** Writes the files of a tokenizer folder. Throws DrmError DISK. */
export async function writeTokenizer(folder: string, files: Record<string, string>): Promise<void> {
  await prepareFolder(folder);
  for (const [name, text] of Object.entries(files)) await writeAtomically(join(folder, name), Buffer.from(text));
}
