// `drm data prepare jsonl|webdataset` with what users and strangers give it.
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodeImage } from '../../../cli/data/io/image.js';
import { CaptionedSet } from '../../../cli/data/prepared/captioned_set.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { runDrm, temporaryFolder } from '../../run_drm.js';
import { contentOf, pixelsOf, pngOf, tarOf, write } from '../images.js';

async function prepare(kind: string, from: string, ...more: string[]) {
  const out = join(temporaryFolder(), 'set');
  const outcome = await runDrm(['data', 'prepare', kind, '--from', from, '--out', out, ...more]);
  return { ...outcome, out };
}

async function samplesOf(folder: string) {
  const set = await CaptionedSet.open(folder, { verify: true });
  const samples = await Promise.all(
    Array.from({ length: set.length }, async (_, i) => ({
      key: set.key(i),
      caption: set.caption(i),
      meta: await set.meta(i),
      bytes: await set.bytes(i),
    })),
  );
  await set.close();
  return samples;
}

test('JSONL: every drop has its reason, captions stay byte for byte, and originals keep their bytes', async () => {
  const long = 'x'.repeat(100_000);
  const captions = [
    '😀 emoji',
    'a\u2028line separator',
    `${long}`,
    'e\u0301 NFD and é NFC',
    ' "quotes"\tand tabs ',
    '\ud800 half',
  ];
  const good = await pngOf(1);
  const from = write(temporaryFolder(), {
    'a.png': good,
    'cut.png': good.subarray(0, good.length / 2),
    'page.png': '<html>404</html>',
    'drawing.png': '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    'empty.png': '',
    'list.jsonl': [
      ...captions.map((caption) => JSON.stringify({ image: 'a.png', caption, artist: 'someone' })),
      '',
      '{"image": "a.png", "caption": ""}',
      '{"image": "a.png", "caption": "  \\n"}',
      '{"image": "a.png", "caption": 7}',
      '{"image": "a.png"}',
      '{"caption": "no image named"}',
      '{"image": "gone.png", "caption": "a"}',
      '{"image": ".", "caption": "a folder"}',
      '{"image": "cut.png", "caption": "a"}',
      '{"image": "page.png", "caption": "a"}',
      '{"image": "drawing.png", "caption": "a"}',
      '{"image": "empty.png", "caption": "a"}',
      '{"image": "a.png", "caption": "a", "split": "../../etc"}',
      '{"image": "a.png", "caption": "a"',
      '[1]',
      'null',
      '{"file_name": "a.png", "text": "as in an imagefolder", "split": "dev"}',
    ].join('\n'),
  });
  const { code, out, stderr } = await prepare('jsonl', join(from, 'list.jsonl'));
  expect(stderr).toContain('missing_image: list.jsonl, line 13, gone.png');
  expect(code).toBe(0);
  const manifest = readManifest(out);
  expect(manifest.dropped).toEqual({
    bad_record: 3,
    bad_split: 1,
    missing_image: 3,
    no_caption: 4,
    undecodable_image: 4,
  });
  expect(manifest.records).toBe(22);
  expect(manifest.kept).toBe(7);
  expect(manifest.splits).toEqual({ dev: 1, train: 6 });
  const samples = await samplesOf(out);
  expect(samples.map((sample) => sample.caption).sort()).toEqual([...captions, 'as in an imagefolder'].sort());
  for (const { bytes } of samples) expect(bytes.equals(good)).toBe(true);
  expect(samples.find((sample) => sample.caption === captions[0])?.meta).toMatchObject({
    artist: 'someone',
    image: 'a.png',
  });
});

test('a byte order mark, Windows line ends and a line that is no UTF-8 are what they are', async () => {
  const from = write(temporaryFolder(), { 'a.png': await pngOf(1) });
  const line = '{"image": "a.png", "caption": "one"}';
  write(from, {
    'x.jsonl': Buffer.concat([Buffer.from(`\ufeff${line}\r\n${line}\r\n`), Buffer.from([0x7b, 0xff, 0x7d, 10])]),
  });
  const { out } = await prepare('jsonl', from);
  expect(readManifest(out)).toMatchObject({ kept: 2, dropped: { bad_record: 1 } });
});

test('a folder of images with text files; the container is found from the bytes', async () => {
  const jpeg = await sharp(await pngOf(3))
    .jpeg()
    .toBuffer();
  const from = write(temporaryFolder(), {
    'b/two.png': jpeg,
    'b/two.txt': 'the second\n',
    'one.PNG': await pngOf(1),
    'one.txt': 'the first\r\n',
    'three.webp': await pngOf(1),
    'bad.png': await pngOf(2),
    'bad.txt': Buffer.from([0xff, 0xfe]),
    '.hidden.png': 'x',
  });
  symlinkSync('nowhere.png', join(from, 'dangling.png'));
  write(from, { 'dangling.txt': 'a link' });
  const { code, out } = await prepare('jsonl', from);
  expect(code).toBe(0);
  expect(readManifest(out)).toMatchObject({ records: 5, dropped: { bad_caption: 1, missing_image: 1, no_caption: 1 } });
  const samples = await samplesOf(out);
  expect(samples.map(({ caption, meta }) => [caption, meta.image])).toEqual([
    ['the second', join('b', 'two.png')],
    ['the first', 'one.PNG'],
  ]);
  expect(readFileSync(join(out, 'train-00000.tar')).includes('000000000.jpg')).toBe(true);
});

test('--size gives squares by reduction only; --hold-out makes a test split by caption', async () => {
  const from = write(temporaryFolder(), {
    'wide.png': await pngOf(1, 90, 48),
    'same.png': await pngOf(2, 32, 32),
    'small.png': await pngOf(3, 90, 31),
    'list.jsonl': [
      ...Array.from({ length: 60 }, (_, i) => JSON.stringify({ image: 'wide.png', caption: `caption ${i % 30}` })),
      '{"image": "same.png", "caption": "same", "split": "other"}',
      '{"image": "small.png", "caption": "small"}',
    ].join('\n'),
  });
  const { out } = await prepare('jsonl', from, '--size', '32', '--hold-out', '30');
  const manifest = readManifest(out);
  expect(manifest.dropped).toEqual({ too_small: 1 });
  expect(manifest.splits.test).toBeGreaterThan(2);
  expect(manifest.splits.train).toBeGreaterThan(20);
  const samples = await samplesOf(out);
  for (const { bytes, key } of samples) {
    const { width, height, format } = await sharp(bytes).metadata();
    expect([width, height, format, key]).toEqual([32, 32, 'webp', key]);
  }
  // One of 32 stays as it is, losslessly.
  const same = samples.find(({ caption }) => caption === 'same');
  expect((await sharp(same?.bytes).raw().toBuffer()).equals(pixelsOf(2, 32, 32))).toBe(true);
  // Images of one caption are on one side.
  const sides = new Map<string, Set<unknown>>();
  for (const { caption, meta } of samples) sides.set(caption, (sides.get(caption) ?? new Set()).add(meta.split));
  expect([...sides.values()].every((splits) => splits.size === 1)).toBe(true);
});

test('pixels: alpha is dropped, not blended; palettes, grey and inks become RGB; orientation is not applied', async () => {
  const decode = async (bytes: Buffer) => {
    const image = await decodeImage(bytes);
    if (image instanceof Drop) throw new Error(image.detail);
    return image;
  };
  const raw = (data: number[], channels: 1 | 4, width = 2, height = 1) =>
    sharp(Buffer.from(data), { raw: { width, height, channels } });
  const clear = await decode(await raw([10, 20, 30, 0, 40, 50, 60, 255], 4).png().toBuffer());
  expect([...clear.pixels]).toEqual([10, 20, 30, 40, 50, 60]);
  const palette = await decode(
    await sharp(await pngOf(1))
      .png({ palette: true, colours: 4, dither: 0 })
      .toBuffer(),
  );
  expect(palette.pixels.length).toBe(40 * 32 * 3);
  const grey = await decode(await raw([7, 200], 1).toColourspace('b-w').png().toBuffer());
  expect([...grey.pixels]).toEqual([7, 7, 7, 200, 200, 200]);
  const turned = await decode(
    await sharp(await pngOf(1))
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer(),
  );
  expect([turned.width, turned.height]).toEqual([40, 32]);
  const inks = await decode(
    await sharp({ create: { width: 16, height: 16, channels: 3, background: '#c02040' } })
      .toColourspace('cmyk')
      .jpeg({ quality: 100 })
      .toBuffer(),
  );
  expect(inks.pixels.length).toBe(16 * 16 * 3);
  const [red = 0, green = 0] = inks.pixels;
  expect(red).toBeGreaterThan(green + 60);
});

test('an image of too many pixels is refused by its header, before memory is taken', async () => {
  const bomb = await sharp({ create: { width: 12000, height: 12000, channels: 3, background: '#000' } })
    .png({ compressionLevel: 9 })
    .toBuffer();
  expect(bomb.length).toBeLessThan(1_000_000);
  const before = process.memoryUsage().rss;
  expect(await decodeImage(bomb)).toMatchObject({ reason: 'too_many_pixels' });
  expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
});

test('WebDataset: samples by base name, captions from text or JSON, gzip too, and our own shards again', async () => {
  const png = await pngOf(1);
  const from = write(temporaryFolder(), {
    'a.tar': tarOf([
      { name: './x/0001.jpg', bytes: png },
      { name: './x/0001.txt', bytes: 'from text' },
      { name: './x/0002.json', bytes: '{"caption": "from json", "artist": "someone"}' },
      { name: './x/0002.seg.v1.npy', bytes: 'other members are passed over' },
      { name: './x/0002.PNG', bytes: png },
      { name: './x/0003.png', bytes: png },
      { name: './x/0004.txt', bytes: 'no image' },
      { name: 'README', bytes: 'no extension' },
    ]),
    'b.tar.gz': gzipSync(
      tarOf([
        { name: '0001.png', bytes: png },
        { name: '0001.txt', bytes: 'gzipped' },
      ]),
    ),
  });
  const { code, out } = await prepare('webdataset', from);
  expect(code).toBe(0);
  expect(readManifest(out)).toMatchObject({ records: 5, kept: 3, dropped: { missing_image: 1, no_caption: 1 } });
  const samples = await samplesOf(out);
  expect(samples.map(({ caption, meta }) => [caption, meta.key, meta.artist])).toEqual([
    ['from text', './x/0001', undefined],
    ['from json', './x/0002', 'someone'],
    ['gzipped', '0001', undefined],
  ]);
  const again = await prepare('webdataset', out);
  expect((await samplesOf(again.out)).map(({ caption }) => caption)).toEqual(['from text', 'from json', 'gzipped']);
});

test('hostile archives: cut, spoilt, lying about sizes, with names that climb and names twice', async () => {
  const png = await pngOf(1);
  const sample = (name: string) => [
    { name: `${name}.png`, bytes: png },
    { name: `${name}.txt`, bytes: name },
  ];
  const whole = tarOf(sample('whole'));
  const spoilt = Buffer.concat([tarOf(sample('before'), false), Buffer.alloc(512, 0x55), tarOf(sample('after'))]);
  const from = write(join(temporaryFolder(), 'in'), {
    '1-cut.tar': tarOf([...sample('kept'), ...sample('lost')]).subarray(0, 512 * 5 + Math.ceil(png.length / 512) * 512),
    '2-spoilt.tar': spoilt,
    '3-giant.tar': tarOf([...sample('small'), { name: 'big.png', bytes: 'x', claims: 7 * 2 ** 30 }]),
    '4-climbing.tar': tarOf([...sample('../../../evil'), ...sample('/tmp/absolute-evil')]),
    '5-twice.tar': tarOf([
      ...sample('twice'),
      { name: 'twice.png', bytes: png },
      { name: 'two.png', bytes: png },
      { name: 'two.jpg', bytes: png },
      { name: 'two.txt', bytes: 'two images' },
    ]),
    '6-noise.tar': Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 131 + 17) % 251)),
    '7-empty.tar': '',
    '8-cut.tar.gz': gzipSync(whole).subarray(0, 60),
    '9-whole.tar': whole,
  });
  const { code, out, stderr } = await prepare('webdataset', from);
  expect(stderr).toContain('damaged_archive: 2-spoilt.tar');
  expect(code).toBe(0);
  const captions = (await samplesOf(out)).map(({ caption }) => caption);
  expect(captions).toEqual(['kept', 'before', 'small', '../../../evil', '/tmp/absolute-evil', 'whole']);
  const { dropped, records, kept } = readManifest(out);
  expect(dropped).toMatchObject({ duplicate_member: 1, several_images: 1 });
  expect(dropped.damaged_archive).toBeGreaterThanOrEqual(4);
  expect(records).toBe(kept + Object.values(dropped).reduce((sum, n) => sum + n, 0));
  // Nothing was written but the set.
  expect(Object.keys(contentOf(out))).toEqual(['manifest.json', 'train-00000.tar']);
  expect(existsSync(join(out, '../../../evil.png'))).toBe(false);
  expect(existsSync('/tmp/absolute-evil.png')).toBe(false);
});

test('what cannot be used is said, with what to do, and exit codes', async () => {
  const png = await pngOf(1);
  const empty = temporaryFolder();
  const pairs = write(temporaryFolder(), { 'p.jsonl': '{"prompt": "a", "chosen": "a.png", "rejected": "b.png"}' });
  const none = write(temporaryFolder(), { 'n.jsonl': '{"image": "a.png", "caption": "a"}' });
  const two = write(temporaryFolder(), { 'a.jsonl': '', 'b.jsonl': '' });
  const tars = write(temporaryFolder(), {
    'a.tar': tarOf([
      { name: 'a.chosen.png', bytes: png },
      { name: 'a.json', bytes: '{"caption": "a"}' },
    ]),
  });
  const own = write(temporaryFolder(), { 'train-00000.tar': tarOf([{ name: 'a.png', bytes: png }]) });
  const out = join(temporaryFolder(), 'out');
  const cases: [string[], number, string][] = [
    [
      ['jsonl', '--from', join(empty, 'gone.jsonl'), '--out', out],
      3,
      'expected a JSONL file or a folder, found nothing',
    ],
    [['jsonl', '--from', empty, '--out', out], 3, 'found neither in 0 files'],
    [['jsonl', '--from', pairs, '--out', out], 3, 'p.jsonl names, found none of the first 2; say where'],
    [
      ['jsonl', '--from', none, '--out', out],
      3,
      'expected at least one usable record, found none in 1 (1 missing_image)',
    ],
    [['jsonl', '--from', two, '--out', out], 2, 'found a.jsonl, b.jsonl; name one with --from'],
    [['jsonl', '--from', tars, '--out', out], 2, 'drm data prepare webdataset --from'],
    [['webdataset', '--from', tars, '--out', out], 3, 'preference pair'],
    [['webdataset', '--from', empty, '--out', out], 3, 'expected .tar'],
    [['webdataset', '--from', own, '--out', own], 3, 'found train-00000.tar, which might be overwritten'],
    [['jsonl', '--out', out], 2, 'give --from FILE'],
    [['jsonl', '--from', empty], 2, 'give --out DIR'],
    [['jsnl', '--from', empty, '--out', out], 2, 'Allowed choices are hpdv3, hpdv2, imagereward, pickapic,'],
    [['emoji', '--out', out, '--split', 'tset'], 2, 'expected all, train, test, test-style'],
    [['emoji', '--out', out, '--size', '0'], 2, '--size 0: expected a whole number from 1'],
    [['emoji', '--out', join(pairs, 'p.jsonl')], 4, 'expected a folder, found a file'],
  ];
  for (const [args, code, message] of cases) {
    const outcome = await runDrm(['data', 'prepare', ...args]);
    expect(outcome.stderr).toContain(message);
    expect(outcome.code).toBe(code);
  }
  expect(contentOf(own)).toEqual(
    contentOf(write(temporaryFolder(), { 'train-00000.tar': tarOf([{ name: 'a.png', bytes: png }]) })),
  );
  mkdirSync(out, { recursive: true });
  expect(Object.keys(contentOf(out)).filter((name) => name.endsWith('.tar') || name === 'manifest.json')).toEqual([]);
}, 120_000);
