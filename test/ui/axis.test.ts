// Axes of charts: ticks at round numbers, few enough for their labels; powers of ten where values span much.
import { expect, test } from 'vitest';
import { acrossAxis, logAxis, steppedAxis, ticksOf, upwardAxis } from '../../cli/ui/axis.js';

test('ticks in steps that people count in', () => {
  expect(ticksOf(0, 1)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(ticksOf(0.13, 0.52)).toEqual([0.2, 0.3, 0.4, 0.5]);
  expect(ticksOf(-1234, 2345)).toEqual([-1000, 0, 1000, 2000]);
  expect(ticksOf(3, 3)).toEqual([3]);
});

test('never many more ticks than asked for, and seldom a lonely one', () => {
  for (let high = 1; high < 100; high += 0.37)
    for (const most of [4, 5, 6]) {
      expect(ticksOf(0, high, most).length).toBeLessThanOrEqual(most + 1);
      expect(ticksOf(0, high, most).length).toBeGreaterThanOrEqual(2);
    }
});

test('a horizontal axis begins at 0, where that is near', () => {
  expect(acrossAxis([1, 40], [0, 100])).toMatchObject({ low: 0, high: 40, ticks: [0, 10, 20, 30, 40] });
  expect(acrossAxis([30, 40], [0, 100])).toMatchObject({ low: 30, high: 40 });
  expect(acrossAxis([1, 40], [0, 100]).at(20)).toBe(50);
});

test('a lone value has room around it and its own tick', () => {
  const axis = upwardAxis([0.25, 0.25], [100, 0]);
  expect(axis.ticks).toEqual([0.25]);
  expect(axis.at(0.25)).toBeCloseTo(50, 9);
  expect(upwardAxis([0], [100, 0])).toMatchObject({ low: -1, high: 1, ticks: [0] });
});

test('values that span much stand by their logarithm, with powers of ten alone', () => {
  expect(upwardAxis([1, 300], [100, 0]).log).toBe(false);
  expect(upwardAxis([-1, 1000], [100, 0]).log).toBe(false);
  const axis = upwardAxis([0.001, 1000], [100, 0]);
  expect(axis.log).toBe(true);
  expect(axis.at(1)).toBeCloseTo(50, 9);
  for (let decades = 2.7; decades < 30; decades += 0.13) {
    const { ticks } = logAxis([0.7, 0.7 * 10 ** decades], [100, 0]);
    expect(ticks.length).toBeGreaterThanOrEqual(2);
    expect(ticks.length).toBeLessThanOrEqual(5);
    for (const tick of ticks) expect(Number.isInteger(Math.log10(tick))).toBe(true);
  }
});

test('an axis of whole steps has a tick at both ends', () => {
  for (let low = 0; low < 50; low += 3)
    for (let high = 60; high <= 100; high += 3) {
      const { ticks, ...axis } = steppedAxis([low, high], [0, 1], 6);
      expect([axis.low, axis.high]).toEqual([ticks[0], ticks.at(-1)]);
      expect(axis.low).toBeLessThanOrEqual(low);
      expect(axis.high).toBeGreaterThanOrEqual(high);
      expect(axis.high).toBeLessThanOrEqual(100);
      expect(ticks.length).toBeLessThanOrEqual(7);
    }
});
