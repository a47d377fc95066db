// What is in archives, read in this process: links, WebDataset's shapes, archives of nothing.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import type { Listing, Sample } from '../../../cli/data/prepared/source.js';
import { archiveFiles, ImageArchive } from '../../../cli/data/sets/images_at.js';
import { webdatasetSource } from '../../../cli/data/sets/webdataset.js';
import { temporaryFolder } from '../../run_drm.js';
import { linkIn, pngOf, tarOf, write } from '../images.js';

const listing: Listing = { isDone: () => false, most: 1, signal: new AbortController().signal, onProgress: () => {} };

let first: Buffer;
let second: Buffer;
beforeAll(async () => {
  first = await pngOf(1);
  second = await pngOf(2);
});

/** What an archive has of these names: the bytes, or the reason why not. */
async function staged(files: string[], names: string[]): Promise<Record<string, Buffer | string>> {
  const work = temporaryFolder();
  const read = async () => {
    const archive = new ImageArchive(files, work);
    await archive.stage(names, listing);
    const found = await Promise.all(names.map((name) => archive.read(name)));
    await archive.close();
    return Object.fromEntries(
      names.map((name, i) => [name, found[i] instanceof Drop ? found[i].reason : (found[i] as Buffer)]),
    );
  };
  const once = await read();
  expect(await read()).toEqual(once); // from what the first reading left
  return once;
}

test('links in an archive give the bytes of their targets, wherever these are, and never of a path outside', async () => {
  writeFileSync('/tmp/drm-outside.png', first);
  const tar = tarOf([
    { name: './images/first.png', bytes: first },
    linkIn('images/hard.png', 'images/first.png', 'hard'),
    linkIn('images/hard_dotted.png', './images/first.png', 'hard'),
    linkIn('images/soft.png', 'first.png'),
    linkIn('images/up.png', '../images/./first.png'),
    linkIn('images/forward.png', '../others/second.png'),
    linkIn('images/c.png', 'b.png'), // a chain against the order of the archive
    linkIn('images/b.png', 'a.png'),
    linkIn('images/a.png', 'forward.png'),
    linkIn('images/absolute.png', '/tmp/drm-outside.png'),
    linkIn('images/climbs.png', '../../tmp/drm-outside.png'),
    linkIn('images/hard_climbs.png', '../tmp/drm-outside.png', 'hard'),
    linkIn('images/self.png', 'self.png'),
    linkIn('images/circle.png', 'elcric.png'),
    linkIn('images/elcric.png', 'circle.png'),
    linkIn('images/nowhere.png', 'gone.png'),
    { name: 'others/second.png', bytes: second },
    linkIn('images/late.png', '../images/first.png'),
  ]);
  const names = 'first hard hard_dotted soft up forward c absolute climbs hard_climbs self circle nowhere late'
    .split(' ')
    .map((name) => `images/${name}.png`);
  const missing = ['absolute', 'climbs', 'hard_climbs', 'self', 'circle', 'nowhere'];
  const expected = Object.fromEntries(
    names.map((name) => {
      const stem = name.slice(7, -4);
      return [name, missing.includes(stem) ? 'missing_image' : ['forward', 'c'].includes(stem) ? second : first];
    }),
  );
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'a.tar'), tar);
  const packed = gzipSync(tar);
  for (const [i, part] of [packed.subarray(0, 200), packed.subarray(200, 777), packed.subarray(777)].entries())
    writeFileSync(join(folder, `b.tar.gz.0${i}`), part);
  expect(await staged([join(folder, 'a.tar')], names)).toEqual(expected);
  expect(await staged(archiveFiles(join(folder, 'b.tar.gz')), names)).toEqual(expected);
  // Targets that are not wanted themselves, before their links: found by another reading.
  expect(await staged([join(folder, 'a.tar')], ['images/late.png', 'hard.png', 'images/c.png'])).toEqual({
    'images/late.png': first,
    'hard.png': first,
    'images/c.png': second,
  });
  // A chain as long as this ends, with or without its target.
  const long = [...Array(50).keys()].map((i) => linkIn(`${i}.png`, `${i + 1}.png`)).reverse();
  writeFileSync(join(folder, 'long.tar'), tarOf([{ name: '50.png', bytes: first }, ...long]));
  expect(Object.keys(await staged([join(folder, 'long.tar')], ['0.png', '50.png', '45.png']))).toHaveLength(3);
});

async function samplesOf(tar: Buffer | string): Promise<(Sample | Drop)[]> {
  const from = typeof tar === 'string' ? tar : join(write(temporaryFolder(), { 'a.tar': tar }), 'a.tar');
  const found: (Sample | Drop)[] = [];
  for await (const record of webdatasetSource(from, { size: undefined, holdOut: 0 }).records(listing))
    found.push(record instanceof Drop ? record : await record.make(() => false));
  return found;
}

const brief = (samples: (Sample | Drop)[]) =>
  samples.map((sample) =>
    sample instanceof Drop ? `${sample.reason} ${sample.detail}` : `${sample.json.key} ${sample.json.caption}`,
  );

test('WebDataset: keys end at the first dot of a name, and two-part endings count by their last part', async () => {
  const png = first;
  const found = await samplesOf(
    tarOf([
      { name: 'field/s0.input.jpg', bytes: png },
      { name: 'field/s0.outputs.txt', bytes: 'two parts' },
      { name: 'v1.0/s1.PNG', bytes: png }, // a dot in a folder's name is none of the key
      { name: 'v1.0/s1.TXT', bytes: 'capitals' },
      { name: '__index__', bytes: 'of the archive' },
      { name: '__meta__/s1.png', bytes: png },
      { name: 's2.jpg', bytes: png },
      { name: 's2.seg.png', bytes: second },
      { name: 's2.prompt.txt', bytes: 'a plain ending before a longer one' },
      { name: 's3.image.webp', bytes: png },
      { name: 's3.meta.json', bytes: '{"caption": "a record of two parts"}' },
      { name: 's3.flow.npy', bytes: 'passed over' },
      { name: 's4.left.jpg', bytes: png },
      { name: 's4.right.jpg', bytes: png },
      { name: 's4.txt', bytes: 'which?' },
      { name: 's5.clip.mp4', bytes: 'no image' },
      { name: 's5.txt', bytes: 'a film' },
      { name: 's6.png', bytes: png },
      { name: 's6.cls', bytes: '7' },
      { name: 's7.png', bytes: png },
      { name: 's7.long.txt', bytes: 'long' },
      { name: 's7.short.txt', bytes: 'short' },
    ]),
  );
  expect(brief(found)).toEqual([
    'field/s0 two parts',
    'v1.0/s1 capitals',
    's2 a plain ending before a longer one',
    's3 a record of two parts',
    'several_images a.tar, s4: left.jpg, right.jpg',
    'missing_image a.tar, s5: found clip.mp4, txt',
    'no_caption a.tar, s6: found png, cls',
    'no_caption a.tar, s7: expected one .txt or .json, found png, long.txt, short.txt',
  ]);
  expect((found[2] as Sample).files[0]?.bytes).toEqual(first);
});

test('WebDataset: links are members, and an archive of nothing is no damage', async () => {
  const found = await samplesOf(
    tarOf([
      { name: 'store/first.png', bytes: first },
      { name: 'store/first.txt', bytes: 'itself' },
      linkIn('links/a.png', 'store/first.png', 'hard'),
      { name: 'links/a.txt', bytes: 'by a link' },
      linkIn('links/b.png', '../later/second.png'),
      linkIn('links/b.txt', 'a.txt'),
      linkIn('links/c.png', '../../etc/passwd'),
      { name: 'links/c.txt', bytes: 'outside' },
      { name: 'later/second.png', bytes: second },
    ]),
  );
  expect(brief(found).map((line) => line.split(':')[0])).toEqual([
    'store/first itself',
    'links/a by a link',
    'links/b by a link',
    'missing_image links/c.png',
    'no_caption a.tar, later/second',
  ]);
  expect((found[2] as Sample).files[0]?.bytes).toEqual(second);
  for (const empty of [Buffer.alloc(1024), Buffer.alloc(10240), gzipSync(Buffer.alloc(10240))])
    expect(await samplesOf(empty)).toEqual([]);
  for (const bad of [Buffer.alloc(0), Buffer.alloc(700, 'x')])
    expect(await samplesOf(bad)).toMatchObject([{ reason: 'damaged_archive' }]);
});
