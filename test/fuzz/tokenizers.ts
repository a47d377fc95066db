// Tokenizer files and texts for the fuzzer: whatever they hold, there are ids or an error that is the file's or the text's.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { packageRoot } from '../../cli/common/root.js';
import { limits } from '../../cli/text/library.js';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { blipTokenizer } from '../../cli/text/wordpiece.js';
import { type FuzzTarget, scratch } from './driver.js';

const golden = (name: string, file = '') => join(packageRoot, 'test/golden/tokenizers', name, file);
const TEXTS = [
  'a red fox, noto style',
  '\ufb01 \u00bd \uff21 e\u0301 \u0130\u1e9e \u{1f98a}',
  'x\u0000\ud800\u3000\u2581</s>!!!',
];
const SECONDS = 5;

const folder = (name: string): string => mkdtempSync(join(scratch(), `${name}-`));

async function use(files: string, open = (folder: string) => Tokenizer.fromFolder(folder)): Promise<void> {
  limits.ms = SECONDS * 1000;
  let tokenizer: Tokenizer | undefined;
  try {
    tokenizer = open(files);
    const size = await tokenizer.size();
    for (const text of TEXTS) {
      const ids = await tokenizer.ids(text);
      const { ids: padded, total, kept } = await tokenizer.padded(text, 7);
      if (total !== ids.length || kept > 7 || padded.length !== 7)
        throw new Error(`${total} of ${ids.length}, kept ${kept}`);
      if (size > 0 && ids.some((id) => !Number.isInteger(id) || id < 0)) throw new Error(`ids ${ids}`);
    }
  } catch (error) {
    // A library process that cannot be had is no property of the input.
    if (error instanceof DrmError && ['BAD_FILE', 'BAD_REQUEST'].includes(error.code)) throw error;
    throw new Error('no error of the input', { cause: error });
  } finally {
    await tokenizer?.dispose();
  }
}

/** A copy of a golden tokenizer's folder in which the input stands for one file. */
const file = (target: string, tokenizer: string, name: string, without: string[] = []): FuzzTarget => {
  let copy: string | undefined;
  return {
    name: target,
    seeds: () => [readFileSync(golden(tokenizer, name))],
    run: async (input) => {
      if (copy === undefined) {
        copy = folder(target);
        cpSync(golden(tokenizer), copy, { recursive: true });
        for (const other of without) rmSync(join(copy, other), { force: true });
      }
      writeFileSync(join(copy, name), input);
      await use(copy);
    },
  };
};

interface T5Json {
  added_tokens: { id: number }[];
  normalizer: unknown;
  post_processor: unknown;
  model: { vocab: [string, number][] };
}

/** T5's tokenizer with a small vocabulary; the closing token keeps its id, 1. */
function smallT5(): { json: T5Json; charsmap: { precompiled_charsmap: string } } {
  const json = JSON.parse(readFileSync(golden('tokenizer_3', 'tokenizer.json'), 'utf8')) as T5Json;
  json.model.vocab = json.model.vocab.slice(0, 300);
  json.added_tokens = json.added_tokens.filter(({ id }) => id < 300);
  const find = (value: unknown): { precompiled_charsmap: string } | undefined => {
    if (typeof value !== 'object' || value === null) return undefined;
    if ('precompiled_charsmap' in value) return value as { precompiled_charsmap: string };
    return Object.values(value).map(find).find(Boolean);
  };
  const charsmap = find(json.normalizer);
  if (!charsmap) throw new Error('tokenizer_3: expected a precompiled_charsmap');
  return { json, charsmap };
}

const charsmapTarget = (): FuzzTarget => {
  let small: ReturnType<typeof smallT5> | undefined;
  let copy: string | undefined;
  return {
    name: 'tokenizer-charsmap',
    seeds: () => [Buffer.from(smallT5().charsmap.precompiled_charsmap, 'base64')],
    run: async (input) => {
      small ??= smallT5();
      small.charsmap.precompiled_charsmap = Buffer.from(input).toString('base64');
      copy ??= folder('charsmap');
      writeFileSync(join(copy, 'tokenizer.json'), JSON.stringify(small.json));
      await use(copy);
    },
  };
};

const smallT5Target = (): FuzzTarget => {
  let copy: string | undefined;
  return {
    name: 'tokenizer-small-t5',
    seeds: () => {
      const { json } = smallT5();
      json.normalizer = { type: 'NFKC' }; // the charsmap has a target of its own
      return [Buffer.from(JSON.stringify(json))];
    },
    run: async (input) => {
      copy ??= folder('small-t5');
      writeFileSync(join(copy, 'tokenizer.json'), input);
      await use(copy);
    },
  };
};

/** BERT's vocabulary in either form. */
const wordpieceTarget = (target: string, name: string, seed: string): FuzzTarget => {
  let copy: string | undefined;
  return {
    name: target,
    seeds: () => [Buffer.from(seed)],
    run: async (input) => {
      copy ??= folder(target);
      writeFileSync(join(copy, name), input);
      await use(copy, blipTokenizer);
    },
  };
};
const PIECES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', '##b', 'red', 'fox', ',', '\u65e5', '[ENC]'];

/** Texts, as UTF-8 and as UTF-16 with all its halves, through the three golden tokenizers. */
const textTarget = (): FuzzTarget => {
  let tokenizers: Tokenizer[] | undefined;
  return {
    name: 'tokenizer-texts',
    seeds: () => [...TEXTS, '', '<|startoftext|>a<|endoftext|></s><pad>'].map((text) => Buffer.from(text)),
    run: async (input) => {
      tokenizers ??= ['tokenizer', 'tokenizer_2', 'tokenizer_3'].map((name) => Tokenizer.fromFolder(golden(name)));
      const bytes = Buffer.from(input);
      for (const text of [bytes.toString('utf8'), bytes.toString('utf16le')])
        for (const tokenizer of tokenizers) {
          const ids = await tokenizer.ids(text).catch((error: unknown) => {
            throw new Error('a good tokenizer reads any text', { cause: error });
          });
          const size = await tokenizer.size();
          const strange = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < size));
          if (ids.length < 1 || strange !== undefined) throw new Error(`id ${strange} of ${size}`);
        }
    },
  };
};

const JSON_FORM = ['tokenizer.json'];
export const targets: FuzzTarget[] = [
  file('tokenizer-clip', 'tokenizer', 'tokenizer.json'),
  file('tokenizer-t5', 'tokenizer_3', 'tokenizer.json'),
  smallT5Target(),
  charsmapTarget(),
  file('tokenizer-vocab', 'tokenizer', 'vocab.json', JSON_FORM),
  file('tokenizer-merges', 'tokenizer', 'merges.txt', JSON_FORM),
  file('tokenizer-special-tokens', 'tokenizer', 'special_tokens_map.json', JSON_FORM),
  file('tokenizer-config', 'tokenizer', 'tokenizer_config.json', JSON_FORM),
  wordpieceTarget('tokenizer-wordpiece', 'vocab.txt', PIECES.join('\n')),
  wordpieceTarget(
    'tokenizer-wordpiece-json',
    'tokenizer.json',
    JSON.stringify({ model: { vocab: Object.fromEntries(PIECES.map((piece, id) => [piece, id])) }, added_tokens: [] }),
  ),
  textTarget(),
];
