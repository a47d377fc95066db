// Archives and images: tars as the sets take images out of them, WebDataset's samples, zips, what a killed preparation
// left, and the images themselves.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Drop } from '../../cli/data/io/drop.js';
import { decodeImage } from '../../cli/data/io/image.js';
import { BLOCK, checksumOf } from '../../cli/data/io/tar.js';
import { ZipFolder } from '../../cli/data/io/zip.js';
import type { Listing } from '../../cli/data/prepared/source.js';
import { archiveFiles, ImageArchive } from '../../cli/data/sets/images_at.js';
import { StagedImages } from '../../cli/data/sets/staged_images.js';
import { webdatasetSource } from '../../cli/data/sets/webdataset.js';
import { repository } from '../bench/common.js';
import { linkIn, tarOf, zipOf } from '../data/images.js';
import { type FuzzTarget, scratch } from './driver.js';

const listing: Listing = { isDone: () => false, most: 1, signal: new AbortController().signal, onProgress: () => {} };
const images = join(repository, 'test/data/io/pillow');
const image = (name: string): Buffer => readFileSync(join(images, name));

/** Images, captions, links of both kinds and a header for a long name, as tar writes it. */
function tars(): Uint8Array[] {
  const jpeg = image('plain.jpg');
  const long = `images/${'long/'.repeat(30)}name.jpg`;
  const pax = Buffer.from(`${String(long.length + 10)} path=${long}\n`);
  const named = tarOf([{ name: 'pax/header', bytes: pax }], false);
  named.write('x', 156);
  return [
    tarOf([
      { name: 'a.jpg', bytes: jpeg },
      { name: 'a.txt', bytes: 'a caption' },
      { name: 'images/b.input.png', bytes: image('plain.png') },
      { name: 'images/b.json', bytes: '{"caption": "from json"}' },
    ]),
    tarOf([
      { name: 'images/0.jpg', bytes: jpeg },
      linkIn('images/1.jpg', 'images/0.jpg', 'hard'),
      linkIn('images/2.jpg', '3.jpg'),
      linkIn('images/3.jpg', '../images/0.jpg'),
      { name: 'images/3.txt', bytes: 'linked' },
    ]),
    withChecksums(Buffer.concat([named, tarOf([{ name: 'short.jpg', bytes: jpeg }])])),
    tarOf([]),
  ];
}

/** Headers as their other bytes want them, where something like one is. */
function withChecksums(input: Uint8Array): Buffer {
  const tar = Buffer.from(input);
  for (let at = 0; at + BLOCK <= tar.length; at += BLOCK) {
    const block = tar.subarray(at, at + BLOCK);
    if (block.toString('latin1', 257, 262) === 'ustar')
      block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, 148);
  }
  return tar;
}

const packed = (tar: Uint8Array): Uint8Array => gzipSync(tar, { level: 1 });
const WORDS = [
  'ustar\x0000',
  '../',
  '/',
  '00000000000',
  '77777777777',
  '\x80\x00\x00\x00',
  '30 path=',
  '__meta__/',
  '.json',
];
const NAMES = ['images/0.jpg', 'images/1.jpg', 'images/2.jpg', '3.jpg', 'a.jpg', 'name.jpg', 'short.jpg'];

async function takeOut(input: Uint8Array, name: string): Promise<void> {
  const work = join(scratch(), 'work');
  rmSync(work, { recursive: true, force: true });
  const file = join(scratch(), name);
  writeFileSync(file, input);
  const archive = new ImageArchive(archiveFiles(file), work);
  try {
    await archive.stage(NAMES, listing);
    for (const name of NAMES) await archive.read(name);
  } finally {
    await archive.close();
  }
}

async function samples(input: Uint8Array): Promise<void> {
  const file = join(scratch(), 'samples.tar');
  writeFileSync(file, input);
  for await (const record of webdatasetSource(file, { size: undefined, holdOut: 0 }).records(listing))
    if (!(record instanceof Drop)) await record.make(() => false);
}

async function unzip(input: Uint8Array): Promise<void> {
  const file = join(scratch(), 'fuzzed.zip');
  writeFileSync(file, input);
  const zip = await ZipFolder.open(file);
  try {
    for (const name of [...zip.names()].slice(0, 20)) await zip.read(name);
  } finally {
    zip.close();
  }
}

async function takeUp(input: Uint8Array): Promise<void> {
  const work = join(scratch(), 'left');
  rmSync(work, { recursive: true, force: true });
  const made = await StagedImages.open(work); // the folder
  await made.close();
  writeFileSync(join(work, 'index.jsonl'), input);
  writeFileSync(join(work, 'pictures'), Buffer.alloc(300, 7));
  const staged = await StagedImages.open(work);
  for (const name of ['a', 'b', 'c']) {
    staged.want(name);
    await staged.put(name, Buffer.from(name));
    await staged.read(name);
  }
  await staged.close();
}

const zips = (): Uint8Array[] => [
  ...['test/test_1.zip', 'validation/validation_1.zip'].map((name) =>
    readFileSync(join(repository, 'test/samples/imagerewarddb/images', name)),
  ),
  zipOf([
    { name: 'a.jpg', bytes: image('plain.jpg') },
    { name: 'b.jpg', bytes: Buffer.from('a.jpg'), mode: 0o120777 },
  ]),
];

export const targets: FuzzTarget[] = [
  { name: 'tar', seeds: tars, run: (input) => takeOut(input, 'fuzzed.tar'), words: WORDS, repair: withChecksums },
  {
    name: 'tar.gz',
    seeds: () => tars().map(packed),
    run: (input) => takeOut(input, 'fuzzed.tar.gz'),
  },
  { name: 'webdataset', seeds: tars, run: samples, words: WORDS, repair: withChecksums },
  { name: 'zip', seeds: zips, run: unzip, words: ['PK\x03\x04', 'PK\x01\x02', 'PK\x05\x06', 'PK\x06\x06', '../'] },
  {
    name: 'staged',
    seeds: () => ['["a",0,100]\n["b",100,50]\n["c",100,50]\n', '["a",0,300]\n'].map((text) => Buffer.from(text)),
    run: takeUp,
    words: ['["a",', '-1', '1e9', '1e308', 'null', '0.5', '\n'],
  },
  {
    name: 'images',
    seeds: () =>
      readdirSync(images)
        .filter((name) => /\.(jpg|png|webp|gif|tif|avif)$/.test(name))
        .sort()
        .map(image),
    async run(input) {
      await decodeImage(input);
    },
    words: [
      '\xff\xd8\xff',
      '\xff\xda',
      '\xff\xd9',
      'IDAT',
      'IEND',
      'VP8 ',
      'VP8X',
      'GIF89a',
      '!\xf9\x04',
      'II*\x00',
      'ftypavif',
    ],
  },
];
