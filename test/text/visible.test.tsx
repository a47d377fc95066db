// What file names, prompts and servers say is shown, never obeyed, wherever it is rendered.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { render } from 'ink-testing-library';
import { expect, test, vi } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { visible, visibleLine } from '../../cli/text/visible.js';
import { escapeXml } from '../../cli/text/xml.js';
import { createRenderer, visibleEvent } from '../../cli/ui/renderers.js';
import { initialState, reduce } from '../../cli/ui/state.js';
import { table } from '../../cli/ui/table.js';
import { View } from '../../cli/ui/View.js';
import { runDrm, temporaryFolder } from '../run_drm.js';

/** A title, a colour in both of its spellings, a carriage return, a delete, a turn of direction, two kinds of line end. */
const HOSTILE = 'a\u001b]0;PWNED\u0007\u001b[31m\u009b32m\r\u007f\u202e\u2066\u2028\u2029\u0085\u0000z';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

test('every such letter is escaped, all others stay', () => {
  expect(visible('\u001b[31m\u009b\u202e')).toBe('\\u001b[31m\\u009b\\u202e');
  expect(visible(HOSTILE)).not.toMatch(OBEYED);
  const harmless = 'größe\t漢字\n👩‍🚀 שלום \u200f"\\';
  expect(visible(harmless)).toBe(harmless);
  expect(visibleLine('a\nb\tc')).toBe('a\\u000ab\\u0009c');
});

test('JSON stays the same JSON', () => {
  const text = visible(JSON.stringify({ [HOSTILE]: HOSTILE }));
  expect(text).not.toMatch(OBEYED);
  expect(JSON.parse(text)).toEqual({ [HOSTILE]: HOSTILE });
});

const events: Event[] = [
  { event: 'started', version: 1, command: HOSTILE, facts: { [HOSTILE]: HOSTILE, out: 'a\nb' } },
  { event: 'info', message: HOSTILE },
  { event: 'warning', message: HOSTILE },
  { event: 'image', path: HOSTILE, width: 1, height: 1, prompt: HOSTILE },
  { event: 'sample_sheet', step: 1, paths: [HOSTILE] },
  { event: 'checkpoint', step: 1, path: HOSTILE },
  { event: 'evaluation', step: 1, values: { [HOSTILE]: 1 } },
  { event: 'result', text: HOSTILE, data: { prompt: HOSTILE } },
  { event: 'progress', id: HOSTILE, label: HOSTILE, step: 1, total: 2, unit: HOSTILE, seconds: 1 },
  { event: 'error', code: 'BAD_FILE', message: `${HOSTILE}\nand on`, details: { file: HOSTILE }, exit_code: 3 },
  { event: 'done', seconds: 1, facts: { run: HOSTILE } },
];
const training: Event = { ...(events[0] as Extract<Event, { event: 'started' }>), steps: 5 };

test.each(['plain', 'json'])('%s lines', async (kind) => {
  let written = '';
  const take = (text: unknown) => {
    written += String(text);
    return true;
  };
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockImplementation(take));
  try {
    const renderer = await createRenderer({ json: kind === 'json', quiet: false } as never);
    for (const event of [...events, training, ...events]) renderer.emit(event);
    renderer.note(HOSTILE);
    await renderer.close();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  expect(written.length).toBeGreaterThan(500);
  expect(written).toContain('\\u001b]0;PWNED\\u0007');
  expect(written).not.toMatch(OBEYED);
  if (kind === 'plain') expect(written).toContain('out a\\u000ab'); // a name begins no line
});

test('the terminal view', () => {
  for (const first of [events, [training, ...events.slice(1, -2)]]) {
    const state = first.map(visibleEvent).reduce(reduce, initialState);
    const { lastFrame } = render(<View state={state} style={{ color: false, width: 400, height: 40 }} />);
    expect(lastFrame()).toContain('\\u001b]0;PWNED\\u0007');
    expect(lastFrame()).not.toMatch(OBEYED);
  }
});

test('cells of tables, pages and drawings', () => {
  expect(table(['name\n', 'n'], [[HOSTILE, '1']])).not.toMatch(OBEYED);
  expect(table(['a'], [['x\ny']]).split('\n').length).toBe(2);
  expect(escapeXml(HOSTILE)).not.toMatch(OBEYED);
});

test("the program's own words: bad records, unknown commands and options, names that are no model", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'a.jsonl'), `${JSON.stringify({ image: `${HOSTILE.slice(0, -2)}.png`, caption: 'x' })}\n`);
  for (const args of [
    ['data', 'prepare', 'jsonl', '--from', join(folder, 'a.jsonl'), '--out', join(folder, 'out')],
    [`sam${HOSTILE.replace('\0', '')}`],
    ['sample', `--${HOSTILE.replace('\0', '')}`],
  ]) {
    const { code, stdout, stderr } = await runDrm(args);
    expect(code).toBeGreaterThan(0);
    expect(stderr).toContain('\\u001b]0;PWNED\\u0007');
    expect(stdout + stderr).not.toMatch(OBEYED);
  }
});
