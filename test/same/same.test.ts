// What the record leaves out, what it keeps, and how a difference is told. The cases themselves are `npm run test:same`.
import { expect, test } from 'vitest';
import { CASES } from './cases.js';
import { unifiedDiff } from './diff.js';
import { pngTexts, tarText, tensorsText } from './digests.js';
import { commandsIn, helpTexts } from './help.js';
import { machineDifferences } from './machine.js';
import { normalJson, normalLines, normalOutput, normalPage, normalText } from './normal.js';
import { compare, entryOf, readRecord, tensorsThatDiffer } from './record.js';

const places = { names: [['/tmp/drm-same-Ab12/out', '<work>/out'] as const, ['/tree', '<drm>'] as const] };

/** A safetensors file of bytes. */
function safetensors(tensors: Record<string, number[]>, metadata: object = {}): Buffer {
  let at = 0;
  const header = Object.entries(tensors).map(([name, bytes]) => {
    const offsets = [at, at + bytes.length];
    at += bytes.length;
    return [name, { dtype: 'U8', shape: [bytes.length], data_offsets: offsets }];
  });
  const json = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(header) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...Object.values(tensors).map((bytes) => Buffer.from(bytes))]);
}

test('times, rates, places and versions are left out; figures, names and the order of fields are not', () => {
  const event = { event: 'metric', step: 2, seconds: 1.5, values: { loss: 0.25, rollout_seconds: 3, memory_mb: 9 } };
  const text = (value: object) => normalLines(JSON.stringify(value), places);
  expect(text(event)).toBe('{"event":"metric","step":2,"values":{"loss":0.25}}');
  expect(text({ ...event, seconds: 9 })).toBe(text(event));
  expect(text({ ...event, step: 3 })).not.toBe(text(event));
  expect(text({ a: 1, b: 2 })).not.toBe(text({ b: 2, a: 1 }));
  expect(normalJson('{"path": "/tree/x", "at": ["/tmp/drm-same-Ab12/out/y"], "drm": "0.1.0"}', places)).toBe(
    JSON.stringify({ path: '<drm>/x', at: ['<work>/out/y'] }, null, 1),
  );
  expect(normalText('done in 1.2 s by drm 0.1.0, 3 images', places)).toBe('done in <time> by drm <version>, 3 images');
  const table = (time: string, width: number) =>
    `k  score${' '.repeat(width)}s/img\n1    0.5${' '.repeat(width)}${time}\n\n2`;
  expect(normalText(table('0.05', 2), places)).toBe(normalText(table('12.25', 3), places));
  expect(normalText(table('0.05', 2), places)).toBe('k  score s/img\n1    0.5 <time>\n\n2');
  expect(normalJson('{"bytes": 3, "passes": 1, "of": {"bytes": 2}}', places)).toBe(
    JSON.stringify({ passes: 1, of: { bytes: 2 } }, null, 1),
  );
  for (const words of ['Unknown error', 'VipsJpeg: premature end of JPEG image'])
    expect(normalText(`a.jpg: ${words} (further ones are only counted)`, places)).toBe(
      'a.jpg: <libvips error> (further ones are only counted)',
    );
  expect(normalText('step 4/8  loss 0.431  12 s left', places)).toBe('step 4/8  loss 0.431  <time> left');
});

test('of progress only the kinds count, whenever they were reported', () => {
  const progress = (id: string, step: number) =>
    JSON.stringify({ event: 'progress', id, label: id, step, total: 9, unit: 'B', seconds: step });
  const info = JSON.stringify({ event: 'info', message: 'so' });
  const one = [progress('load', 1), progress('load', 7), info, progress('draw', 1)].join('\n');
  const other = [progress('draw', 2), info, progress('load', 9)].join('\n');
  expect(normalLines(one, places)).toBe(normalLines(other, places));
  expect(normalLines(one, places)).not.toBe(normalLines([info, progress('load', 1)].join('\n'), places));
  const slow = 'loading  4 %  1.5 MB/39 MB\nloading  100 %  39 MB/39 MB\n\nstep 1/1  accuracy 100 %  loss 1\nend\n';
  const quick = 'loading  100 %  39 MB/39 MB · 533 MB/s\n\nstep 1/1  accuracy 100 %  loss 1\n\nend\n';
  expect(normalOutput(slow, places)).toBe(normalOutput(quick, places));
  expect(normalOutput(slow, places)).toBe('step 1/1  accuracy 100 %  loss 1\nend\nprogress loading');
});

test('a page is a tag a line, its images digests', () => {
  const page = '<p>a<b>c</b></p><img src="data:image/png;base64,AAAA">';
  expect(normalPage(page, places, (bytes) => `${bytes.length} bytes`)).toBe(
    '<p>a\n<b>c\n</b>\n</p>\n<img src="data:image/png 3 bytes">',
  );
});

test('tensors are told apart by name', () => {
  const text = (tensors: Record<string, number[]>, metadata = {}) =>
    tensorsText(safetensors(tensors, metadata), places);
  const before = text({ a: [1, 2], b: [3], c: [4] });
  expect(text({ a: [1, 2], b: [3], c: [4] }, { at: '/tree/x' })).toBe(
    text({ a: [1, 2], b: [3], c: [4] }, { at: '<drm>/x' }),
  );
  expect(tensorsThatDiffer(before, text({ a: [1, 9], b: [3], d: [4] }))).toEqual([
    'other values: a',
    'gone: c',
    'new: d',
    'of 3 tensors',
  ]);
  expect(tensorsThatDiffer(before, text({ b: [3], a: [1, 2], c: [4] }))).toEqual(['the tensors are in another order']);
});

test('texts in a PNG and members of an archive are found', () => {
  const chunk = (type: string, data: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)]);
  };
  const png = Buffer.concat([
    Buffer.alloc(8),
    chunk('IHDR', Buffer.alloc(13)),
    chunk('tEXt', Buffer.from('parameters\0a fox')),
    chunk('iTXt', Buffer.from('drm\0\0\0\0\0{"seed": "ü"}')),
  ]);
  expect(pngTexts(png)).toEqual({ parameters: 'a fox', drm: '{"seed": "ü"}' });
  const header = Buffer.alloc(512);
  header.write('a.json');
  header.write('00000000003\0', 124);
  const body = Buffer.alloc(512);
  body.write('{}\n');
  expect(tarText(Buffer.concat([header, body, Buffer.alloc(1024)]))).toMatch(
    /^a\.json {2}3 bytes {2}ca3d163b[0-9a-f]{56}\nwhole {2}2048 bytes {2}[0-9a-f]{64}$/,
  );
});

test('what differs is counted and shown, what is missing or new, too', () => {
  const before = { 'a: exit': entryOf('0'), 'a: events': entryOf('x\ny\nz'), 'b: exit': entryOf('0') };
  const after = { 'a: exit': entryOf('0'), 'a: events': entryOf('x\nY\nz'), 'a: new': entryOf('') };
  expect(compare(before, before)).toEqual({ same: 3, different: [] });
  expect(compare(before, after, (name) => name === 'a')).toEqual({
    same: 1,
    different: [
      { name: 'a: events', lines: ['@@ line 1 @@', ' x', '-y', '+Y', ' z'] },
      { name: 'a: new', lines: ['is there now, and was not before'] },
    ],
  });
  expect(compare(before, after).different.at(-2)).toEqual({
    name: 'b: exit',
    lines: ['was there before, and is not now'],
  });
});

test('a diff is short, and begins where long lines differ', () => {
  const many = Array.from({ length: 100 }, (_, i) => `line ${i}`);
  const shown = unifiedDiff(many.join('\n'), many.map((line) => `${line}!`).join('\n'), { lines: 10 });
  expect(shown).toHaveLength(11);
  expect(shown.at(-1)).toMatch(/^\(\d+ more lines differ\)$/);
  const [long, other] = ['a', 'b'].map((end) => `${'x'.repeat(500)}${end}${'y'.repeat(500)}`) as [string, string];
  const lines = unifiedDiff(long, other, { width: 40 });
  expect(lines[1]).toMatch(/^-…x{10}ay+…$/);
  expect(lines[2]).toMatch(/^\+…x{10}by+…$/);
  const two = unifiedDiff(`${long}\n${long}`, `${other}\n${other}`, { width: 40 });
  expect(two.map((line) => line[0])).toEqual(['@', '-', '-', '+', '+']);
  expect(two[2]).toBe(lines[1]);
});

test('help is asked for along all commands that it names', async () => {
  const help =
    'Usage: drm\n\nOptions:\n  -h  help\n\nCommands:\n  data    prepare\n          more words\n  help [command]  help\n\nStart with:\n  x\n';
  expect(commandsIn(help)).toEqual(['data']);
  const asked = await helpTexts(async ([first]) => ({
    code: 0,
    stdout: first === '--help' ? help : 'leaf',
    stderr: '',
  }));
  expect(asked).toEqual({ drm: help, 'drm data': 'leaf' });
});

test('bits of another machine are not compared, and no record is an error that says what to do', () => {
  const machine = { cpu: 'A', capability: 'AVX2', libtorch: '2.13.0', threads: '2' };
  expect(machineDifferences(machine, machine)).toEqual([]);
  expect(machineDifferences(machine, { ...machine, libtorch: '2.14.0' })).toEqual([
    'libtorch: 2.13.0 in the record, 2.14.0 here',
  ]);
  expect(() => readRecord('no/such.json')).toThrow('--record');
});

test('names of cases are unique, and what they need is there', () => {
  const names = CASES.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const { name, needs } of CASES) for (const need of needs) expect(names, `${name} needs it`).toContain(need);
});
