// HPSv3 from PNG and prompt to score through the binding: chat, token ids, pixels, network, head. Its inner states are
// compared in test/csrc/hpsv3_test.cc.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resizeImages, Scorer } from '../../../binding/index.js';
import { Hpsv3Prompt, IMAGE_TOKEN, PROMPT_FILE } from '../../../cli/text/hpsv3_prompt.js';
import { Qwen2Tokenizer } from '../../../cli/text/qwen2_tokenizer.js';
import { type Hpsv3Sizes, hpsv3Config } from '../../rewards/hpsv3_folder.js';
import type { Comparison } from '../report.js';
import { largestDifference } from '../safetensors.js';
import type { ScorersFixture } from './fixture.js';

interface Stored extends Hpsv3Sizes {
  prompts: string[];
  images: string[];
  texts: string[];
  budget: number;
}

interface QwenText {
  tokenizer: string;
  vocab: string;
  merges: string;
  prompts: string[];
  input_ids: number[][];
  chat_prompt: string;
  chat_text: string;
  chat_ids: number[];
}

/** 0 where both are the same. */
const same = (tensor: string, yes: boolean): Comparison => ({ tensor, error: yes ? 0 : 1, atol: 0 });

/** A value that a known mistake gives must not be matched. */
function unlike(s: ScorersFixture, tensor: string, got: ArrayLike<number>, tolerance: number): Comparison {
  const { error } = s.compare(tensor, got, s.tensor(tensor).data as Float32Array, tolerance);
  return same(`${tensor} is not matched`, (error ?? 0) > 10 * tolerance);
}

/** Both forms of the tokenizer's files, as folders. */
function tokenizers(s: ScorersFixture, text: QwenText, scratch: string): Record<string, Qwen2Tokenizer> {
  const open = (name: string, files: [string, string][]) => {
    const folder = join(scratch, name);
    mkdirSync(folder);
    for (const [from, to] of files) copyFileSync(join(s.folder, from), join(folder, to));
    return Qwen2Tokenizer.fromFolder(folder);
  };
  return {
    'tokenizer.json': open('whole', [[text.tokenizer, 'tokenizer.json']]),
    'vocab.json and merges.txt': open('parts', [
      [text.vocab, 'vocab.json'],
      [text.merges, 'merges.txt'],
    ]),
  };
}

async function checkIds(tokenizer: Qwen2Tokenizer, text: QwenText, from: string): Promise<Comparison[]> {
  const all: Comparison[] = [];
  const equal = async (tensor: string, said: string, want: number[]) =>
    all.push({ tensor: `${from}: ${tensor}`, error: largestDifference(await tokenizer.ids(said), want), atol: 0 });
  for (const [i, prompt] of text.prompts.entries())
    await equal(`ids of prompt ${i}`, prompt, text.input_ids[i] as number[]);
  await equal('ids of the chat', text.chat_text, text.chat_ids);
  return all;
}

export async function checkHpsv3(s: ScorersFixture, name: string, scratch: string): Promise<Comparison[]> {
  const described = s.described(name);
  const stored = described.config as Stored;
  const { score: tolerance = 0 } = described.tolerance;
  const { qwen_tiny: text } = JSON.parse(readFileSync(join(s.folder, 'text.json'), 'utf8')) as { qwen_tiny: QwenText };
  const config = join(scratch, `${name}.json`);
  writeFileSync(config, JSON.stringify(hpsv3Config(stored)));
  const { template: instruction, tail } = stored;
  writeFileSync(join(scratch, PROMPT_FILE), JSON.stringify({ instruction, tail }));
  const chat = Hpsv3Prompt.read(scratch, config);
  const chats = stored.prompts.map((prompt) => chat.chat(prompt));
  const all: Comparison[] = [
    same(
      'chat texts',
      chats.every((said, i) => said === stored.texts[i]),
    ),
    same('chat text of text.json', chat.chat(text.chat_prompt) === text.chat_text),
  ];

  const readers = tokenizers(s, text, scratch);
  for (const [from, tokenizer] of Object.entries(readers)) all.push(...(await checkIds(tokenizer, text, from)));
  const tokenizer = readers['tokenizer.json'] as Qwen2Tokenizer;
  const prompts = await Promise.all(chats.map(async (said) => BigInt64Array.from(await tokenizer.ids(said), BigInt)));
  // The reference repeats the image token before it tokenizes.
  const grid = s.tensor(`${name}/grid_thw`).data as BigInt64Array;
  const input = s.tensor(`${name}/input_ids`);
  const mask = s.tensor(`${name}/attention_mask`).data as BigInt64Array;
  const length = input.shape[1] ?? 0;
  for (const [i, said] of chats.entries()) {
    const blocks = Number((grid[3 * i + 1] ?? 0n) * (grid[3 * i + 2] ?? 0n)) / stored.merge ** 2;
    const got = await tokenizer.ids(said.replace(IMAGE_TOKEN, () => IMAGE_TOKEN.repeat(blocks)));
    const row = (input.data as BigInt64Array).slice(i * length, (i + 1) * length);
    const want = row.filter((_, at) => mask[i * length + at] === 1n);
    all.push({ tensor: `${name}/input_ids ${i}`, error: largestDifference(got, want), atol: 0 });
  }
  for (const one of Object.values(readers)) await one.dispose();

  const scorer = await Scorer.load(
    {
      kind: 'hpsv3',
      config,
      weights: (described.weights ?? []).map((file) => join(s.folder, file)),
      settings: JSON.stringify({ min_pixels: stored.budget, max_pixels: stored.budget }),
    },
    { device: 'cpu', dtype: 'fp32' },
  );
  try {
    const images = await Promise.all(stored.images.map((image) => s.photo(image)));
    const scores = await scorer.score({ images, rows: prompts, promptOf: images.map((_, i) => i) });
    const expected = (what: string) => s.tensor(`${name}/${what}`).data as Float32Array;
    all.push(s.compare(`${name}/mu`, scores.values, expected('mu'), tolerance));
    all.push(s.compare(`${name}/sigma`, scores.deviations ?? [], expected('sigma'), tolerance));
    all.push(unlike(s, `${name}/neg_mrope`, scores.values, tolerance));
  } finally {
    scorer.dispose();
  }
  return all;
}

interface Resized {
  image: string;
  resized: [number, number];
  u8_sha256: string;
  u8_stored: boolean;
}

/** Images at HPSv3's sizes, whole ones by their digest. Which size it is, and the patches, are for hpsv3_test.cc. */
export async function checkQwenPixels(s: ScorersFixture): Promise<Comparison[]> {
  const all: Comparison[] = [];
  const { qwen } = s.described('pre').config as { qwen: Resized[] };
  for (const { image, resized, u8_sha256, u8_stored } of qwen) {
    const [width, height] = resized;
    const [got] = await resizeImages({ images: [await s.photo(image)], width, height });
    const pixels = got?.pixels ?? new Uint8Array();
    const name = `pre/qwen_${image}`;
    all.push(same(`${name} digest`, createHash('sha256').update(pixels).digest('hex') === u8_sha256));
    if (!u8_stored) continue;
    const top = s.tensor(`${name}_u8_top112`).data as Uint8Array;
    all.push({ tensor: `${name}_u8_top112`, error: largestDifference(pixels.slice(0, top.length), top), atol: 0 });
  }
  return all;
}
