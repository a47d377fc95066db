// How noise levels are asked for, and what they are.
import { describe, expect, test } from 'vitest';
import { type AskedLevels, levelsOf, levelText, parseLevels } from '../../cli/rewards/levels.js';

/** SD3.5's table, by the formula in fp64: entry i of 1000 is at s = (1000 - i) / 1000. */
const table = (shift: number, entries = 1000) =>
  Array.from({ length: entries }, (_, i) => {
    const s = (entries - i) / entries;
    return (entries * shift * s) / (1 + (shift - 1) * s);
  });
const timesteps = (asked: AskedLevels, schedule?: number[]) =>
  levelsOf(asked, schedule, 'r').map(({ timestep }) => timestep);

describe('noise levels', () => {
  test('a bare number is 1000 times the noise level', () => {
    const asked = parseLevels('--timesteps', '500,0,250,500');
    expect(asked).toEqual({ reading: 'sigma', values: [0, 250, 500] });
    expect(levelsOf(asked, undefined, 'r')).toEqual([
      { timestep: 0, sigma: 0 },
      { timestep: 250, sigma: 0.25 },
      { timestep: 500, sigma: 0.5 },
    ]);
    expect(parseLevels('--timesteps', 'sigma:62.5', 'schedule')).toEqual({ reading: 'sigma', values: [62.5] });
  });

  test("an entry of the scheduler's table is the authors' --time: 500 is 750, 750 is 900", () => {
    const asked = parseLevels('--timesteps', 'schedule:0,500,750,1000');
    expect(timesteps(asked, table(3))).toEqual([0, 750, 900, 1000]);
    expect(timesteps(asked, table(1))).toEqual([0, 500, 750, 1000]);
    const [, half] = levelsOf(asked, table(3), 'r');
    expect(half).toEqual({ timestep: 750, sigma: 0.75, entry: 500 });
    expect(levelText(half as never)).toBe('timestep 750 (σ 0.75, entry 500 of the schedule)');
    expect(parseLevels('--timesteps', '0,500', 'schedule').reading).toBe('schedule');
    // s = 1 / 1000: the lowest level that is trained.
    expect(timesteps(parseLevels('--timesteps', 'schedule:1'), table(3))[0]).toBeCloseTo(3 / 1.002, 9);
  });

  test.each([
    '',
    ' ',
    '0,',
    '0,1001',
    '-1',
    'x',
    'NaN',
    'shedule:500',
    'schedule:',
    'schedule:0.5',
    'schedule:1001',
    '0,schedule:5',
  ])('refuses %j', (text) =>
    expect(() => parseLevels('--timesteps', text)).toThrow(/--timesteps .*schedule:0,500,750/),
  );

  test("wants SD3's table, where one is wanted", () => {
    const asked = parseLevels('--timesteps', 'schedule:0,500');
    expect(() => levelsOf(asked, undefined, 'clip')).toThrow(/found none for clip/);
    expect(() => levelsOf(asked, table(3, 500), 'r')).toThrow(/1000 training timesteps, found 500/);
    expect(timesteps({ reading: 'schedule', values: [0] }, undefined)).toEqual([0]);
  });
});
