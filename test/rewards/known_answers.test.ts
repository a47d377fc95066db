// What the published scorers are known to answer, for whoever has their files: DRM_SCORERS=DIR holds a folder for each
// (docs/scorers.md), and beside its weights the images that were asked about. Without them a line says what is skipped.
// The aesthetic predictor's head alone, which has an answer of its own, is in test/csrc/aesthetic_test.cc.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Scorer } from '../../binding/index.js';
import { packageRoot } from '../../cli/common/root.js';
import { decodeImage } from '../../cli/data/io/image.js';

interface KnownAnswer {
  scorer: string;
  /** Who says so. */
  source: string;
  /** In the scorer's folder; each part is any of the files named. */
  needs: string[][];
  images: { file: string; sha256: string }[]; // the digest's beginning
  prompt: string;
  answers: number[];
  accept: number;
  /** Loads it from its folder, and gives the prompt as ids. */
  load(folder: string, found: string[]): Promise<{ scorer: Scorer; ids(prompt: string): Promise<BigInt64Array> }>;
}

const KNOWN: KnownAnswer[] = [
  {
    scorer: 'imagereward',
    source: 'the README of ImageReward',
    needs: [
      ['ImageReward.pt', 'model.safetensors'],
      ['vocab.txt', 'tokenizer.json'],
    ],
    images: [
      { file: '1.webp', sha256: 'a5fcd126' },
      { file: '2.webp', sha256: 'dc13919a' },
      { file: '3.webp', sha256: 'ee859bac' },
      { file: '4.webp', sha256: '84faf59d' },
    ],
    prompt: 'a painting of an ocean with clouds and birds, day time, low depth field effect',
    answers: [0.5811622738838196, 0.2745276093482971, -1.4131819009780884, -2.029569625854492],
    accept: 0.01,
    load: async (folder, [weights]) => {
      const { Scorer } = await import('../../binding/index.js');
      const { blipTokenizer } = await import('../../cli/text/wordpiece.js');
      const config = join(packageRoot, 'configs/scorers/imagereward.json');
      const source = { kind: 'imagereward', config, weights: [weights as string] };
      const scorer = await Scorer.load(source, { device: 'cpu', dtype: 'fp32' });
      const tokenizer = blipTokenizer(folder);
      return { scorer, ids: async (prompt) => (await tokenizer.padded(prompt, scorer.info.tokens)).ids };
    },
  },
  {
    scorer: 'hpsv2',
    source: 'issue 27 of HPSv2',
    needs: [
      ['HPS_v2_compressed.pt', 'model.safetensors'],
      ['tokenizer.json', 'vocab.json'],
    ],
    images: [{ file: 'demo_image.jpg', sha256: '798dfb5b' }],
    prompt: 'A cat with two horns on its head',
    answers: [0.2876],
    accept: 0.002,
    load: async (folder, [weights]) => {
      const { Scorer } = await import('../../binding/index.js');
      const { clipRow } = await import('../../cli/text/clip_rows.js');
      const { Tokenizer } = await import('../../cli/text/tokenizer.js');
      const config = join(packageRoot, 'configs/scorers/clip-vit-h-14.json');
      const settings = JSON.stringify({ pixels: 'letterbox' });
      const source = { kind: 'clip', config, weights: [weights as string], settings };
      const scorer = await Scorer.load(source, { device: 'cpu', dtype: 'fp32' });
      const tokenizer = Tokenizer.fromFolder(folder);
      return { scorer, ids: async (prompt) => (await clipRow(tokenizer, prompt, scorer.info.tokens, 'open_clip')).ids };
    },
  },
];

const root = process.env.DRM_SCORERS;

describe.each(KNOWN)(
  '$scorer, as $source has it',
  ({ scorer: name, needs, images: asked, prompt, answers, accept, load }) => {
    const folder = join(root ?? '', name);
    const found = needs.map((names) => names.map((file) => join(folder, file)).find((file) => existsSync(file)));
    const paths = asked.map(({ file }) => join(folder, 'images', file));
    const missing = [
      ...needs.filter((_, i) => found[i] === undefined).map((names) => names.join(' or ')),
      ...paths.filter((path) => !existsSync(path)),
    ];
    const isThere = Boolean(root) && missing.length === 0;
    if (!isThere)
      console.error(
        `SKIPPED the known answers of ${name}: expected ${missing.join(', ')} in ${root ? folder : `DRM_SCORERS/${name}`}`,
      );

    test.skipIf(!isThere)('(SKIPPED without its files in DRM_SCORERS)', { timeout: 600_000 }, async () => {
      const images = await Promise.all(
        asked.map(async ({ sha256 }, i) => {
          const bytes = readFileSync(paths[i] as string);
          expect(createHash('sha256').update(bytes).digest('hex').slice(0, sha256.length), paths[i]).toBe(sha256);
          const image = await decodeImage(bytes);
          if (!('pixels' in image)) throw new Error(`${paths[i]}: expected an image`);
          return image;
        }),
      );
      const { scorer, ids } = await load(folder, found as string[]);
      try {
        const { values } = await scorer.score({ images, rows: [await ids(prompt)], promptOf: images.map(() => 0) });
        for (const [i, answer] of answers.entries())
          expect(Math.abs((values[i] ?? Number.NaN) - answer)).toBeLessThan(accept);
      } finally {
        scorer.dispose();
      }
    });
  },
);
