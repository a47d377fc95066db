// The terminal view at 80 columns, and the state it shows.
import { render } from 'ink-testing-library';
import { expect, test } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { BarView } from '../../cli/ui/BarView.js';
import { bytes, duration } from '../../cli/ui/figures.js';
import { inlineImage } from '../../cli/ui/inline_image.js';
import { initialState, reduce } from '../../cli/ui/state.js';
import { LineView, View } from '../../cli/ui/View.js';

const style = { color: false, width: 80, height: 24 };
const progress = (step: number, total = 50, id = 'denoise'): Event => ({
  event: 'progress',
  id,
  label: 'denoising',
  step,
  total,
  unit: 'step',
  seconds: step * 0.5,
});

test('a bar shows how far, how fast and how long', () => {
  const bar = { id: 'd', label: 'denoising', step: 20, total: 50, unit: 'step', seconds: 10 };
  const { lastFrame } = render(<BarView bar={bar} style={style} />);
  expect(lastFrame()).toBe('denoising ████████████░░░░░░░░░░░░░░░░░  40 % 20/50 · 0.50 s/step · 15 s left');
  expect(lastFrame()?.length).toBeLessThanOrEqual(80);
});

test('a long label leaves no room for the bar, and still fits', () => {
  const bar = {
    id: 'd',
    label: 'text_encoder_3/model-00001-of-00002.safetensors',
    step: 2e9,
    total: 5e9,
    unit: 'B',
    seconds: 10,
  };
  const { lastFrame } = render(<BarView bar={bar} style={style} />);
  for (const line of lastFrame()?.split('\n') ?? []) expect(line.length).toBeLessThanOrEqual(80);
  expect(lastFrame()).toContain('40 %');
});

test('lines keep their text', () => {
  const { lastFrame } = render(<LineView line={{ kind: 'warning', text: 'warning: x' }} style={style} />);
  expect(lastFrame()).toBe('warning: x');
});

test('the view: finished lines above, work below, gone when done', () => {
  let state = reduce(initialState, {
    event: 'started',
    version: 1,
    command: 'sample',
    facts: { model: 'tiny', steps: 50 },
  });
  state = reduce(state, progress(10));
  const view = render(<View state={state} style={style} />);
  expect(view.lastFrame()).toContain('sample: model tiny · steps 50');
  expect(view.lastFrame()).toContain('10/50');
  state = reduce(state, progress(50));
  expect(state.bars).toEqual([]);
  state = reduce(reduce(state, progress(5, 9, 'other')), { event: 'done', seconds: 3, facts: {} });
  expect(state.bars).toEqual([]);
  expect(state.lines.at(-1)).toMatchObject({ kind: 'good' });
});

test('progress of one bar replaces its own, not others', () => {
  const state = [progress(1), progress(1, 9, 'b'), progress(2)].reduce(reduce, initialState);
  expect(state.bars.map((b) => [b.id, b.step])).toEqual([
    ['denoise', 2],
    ['b', 1],
  ]);
});

test('numbers that people read', () => {
  expect([0, 999, 1000, 123456, 5e9].map(bytes)).toEqual(['0 B', '999 B', '1.0 kB', '123 kB', '5.0 GB']);
  expect([0.04, 9, 75, 600, 7260, Number.POSITIVE_INFINITY].map(duration)).toEqual([
    '0.0 s',
    '9.0 s',
    '75 s',
    '10 min',
    '2 h 1 min',
    '?',
  ]);
});

test('inline images only where the terminal can', () => {
  const png = new Uint8Array(5000);
  expect(inlineImage(png, { TERM: 'xterm' })).toBeUndefined();
  expect(inlineImage(png, { TERM: 'xterm-kitty', TMUX: 'x' })).toBeUndefined();
  expect(inlineImage(png, { TERM: 'xterm-kitty' })).toContain('\u001b_Gf=100,a=T,m=1;');
  expect(inlineImage(png, { TERM_PROGRAM: 'iTerm.app' })).toContain('inline=1');
});
