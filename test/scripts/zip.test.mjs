import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseRecord, unpackWheel, wheelRequirements } from '../../scripts/setup/wheel.mjs';
import { Zip } from '../../scripts/setup/zip.mjs';
import { writeZip } from './zip_writer.mjs';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drm-zip-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function archive(entries, name = 'a.zip') {
  const path = join(folder, name);
  writeFileSync(path, Buffer.isBuffer(entries) ? entries : writeZip(entries));
  return path;
}

const text = (value) => Buffer.from(value);
const large = randomBytes(1 << 20);
const larger = Buffer.concat(Array(6).fill(large)); // more than what is unpacked in one piece

describe('Zip', () => {
  test.each([
    ['deflated', { method: 8 }],
    ['stored', { method: 0 }],
    ['zip64', { zip64: true }],
  ])('unpacks %s entries, small and large, and hashes them', async (_, options) => {
    const files = { 'a/one.txt': text('one\n'), 'a/empty': Buffer.alloc(0), 'b/large.bin': larger };
    const path = archive(Object.entries(files).map(([name, content]) => ({ name, content, ...options })));
    const zip = await Zip.open(path);
    expect(zip.entries.map((entry) => entry.name)).toEqual(Object.keys(files));
    for (const entry of zip.entries) {
      const hash = await zip.extract(entry, join(folder, 'out'));
      const expected = files[entry.name];
      expect(readFileSync(join(folder, 'out', entry.name)).equals(expected)).toBe(true);
      expect(hash.toString('hex')).toBe(createHash('sha256').update(expected).digest('hex'));
    }
    await zip.close();
  });

  test('keeps the executable bit', async () => {
    const zip = await Zip.open(archive([{ name: 'lib.so', content: text('x'), mode: 0o755 }]));
    await zip.extract(zip.entries[0], join(folder, 'out'));
    await zip.close();
    expect(statSync(join(folder, 'out', 'lib.so')).mode & 0o111).not.toBe(0);
  });

  test.each(['../evil', '/etc/evil', 'a/../../evil', 'a\\..\\evil'])('refuses the name %s', async (name) => {
    const zip = await Zip.open(archive([{ name, content: text('x') }]));
    await expect(zip.extract(zip.entries[0], join(folder, 'out'))).rejects.toThrow('outside the target folder');
    await zip.close();
    expect(existsSync(join(folder, 'evil'))).toBe(false);
  });

  test('refuses what is no zip, cut off, or lies about sizes', async () => {
    await expect(Zip.open(archive(text('hello')))).rejects.toThrow('not a zip file');
    const whole = writeZip([{ name: 'a', content: large }]);
    await expect(Zip.open(archive(whole.subarray(0, whole.length - 30)))).rejects.toThrow('cut off');
    await expect(Zip.open(archive(whole.subarray(1000)))).rejects.toThrow(/zip: /);
    for (const content of [text('abc'), larger]) {
      for (const lie of [-1, 1]) {
        const zip = await Zip.open(archive([{ name: 'a', content, size: content.length + lie }]));
        await expect(zip.extract(zip.entries[0], join(folder, 'out'))).rejects.toThrow();
        await zip.close();
      }
    }
    const method = await Zip.open(archive([{ name: 'a', content: text('abc'), method: 12 }]));
    await expect(method.extract(method.entries[0], folder)).rejects.toThrow('compression method 12');
    await method.close();
  });
});

describe('a wheel', () => {
  const sha = (content) => createHash('sha256').update(content).digest('base64url');
  const wheel = (files, record) =>
    archive([
      ...Object.entries(files).map(([name, content]) => ({ name, content: text(content) })),
      {
        name: 'torch-2.dist-info/RECORD',
        content: text(
          record ??
            Object.entries(files)
              .map(([name, c]) => `${name},sha256=${sha(c)},${c.length}`)
              .join('\n'),
        ),
      },
    ]);

  test('gives the wanted files only', async () => {
    const path = wheel({ 'torch/lib/a.so': 'lib', 'torch/a.py': 'python' });
    expect(await unpackWheel(path, join(folder, 'out'), (name) => name.endsWith('.so'))).toBe(1);
    expect(existsSync(join(folder, 'out', 'torch', 'lib', 'a.so'))).toBe(true);
    expect(existsSync(join(folder, 'out', 'torch', 'a.py'))).toBe(false);
  });

  test('is refused when a file is not the one in RECORD, or not in it, or RECORD is missing', async () => {
    const all = () => true;
    const changed = wheel({ 'torch/lib/a.so': 'lib' }, `torch/lib/a.so,sha256=${sha('other')},3\n`);
    await expect(unpackWheel(changed, folder, (n) => n.endsWith('.so'))).rejects.toThrow(/a\.so: expected SHA-256/);
    const unlisted = wheel({ 'torch/lib/a.so': 'lib' }, '');
    await expect(unpackWheel(unlisted, folder, (n) => n.endsWith('.so'))).rejects.toThrow(/not in the wheel's RECORD/);
    const none = archive([{ name: 'torch/a', content: text('x') }]);
    await expect(unpackWheel(none, folder, all)).rejects.toThrow(/no RECORD/);
  });

  test('has requirements', async () => {
    const path = archive([
      {
        name: 'torch-2.dist-info/METADATA',
        content: text('Name: torch\nRequires-Dist: sympy\nRequires-Dist: nvidia-x==1; y\n'),
      },
    ]);
    expect(await wheelRequirements(path)).toEqual(['sympy', 'nvidia-x==1; y']);
  });

  test('RECORD may quote paths', () => {
    const record = parseRecord('a/b.h,sha256=AA-_,3\r\n"c,""d"".h",sha256=BB,4\nself/RECORD,,\n');
    expect(Object.fromEntries(record)).toEqual({ 'a/b.h': 'AA-_', 'c,"d".h': 'BB' });
  });
});
