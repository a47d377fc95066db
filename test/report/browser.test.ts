// The report in headless Chromium: light and dark, wide and narrow. Without a browser these are counted as skipped;
// report.test.ts looks at the same pages as text.
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { Browser, chromium } from './browser.js';
import { policyRun, rewardRun, writeRun, writeSheet } from './fake_runs.js';

describe.skipIf(chromium === undefined)('in Chromium', { timeout: 120_000 }, () => {
  const folder = temporaryFolder();
  const [policies, reward] = [join(folder, 'policies.html'), join(folder, 'reward.html')];
  let browser: Browser;

  beforeAll(async () => {
    const runs = [
      writeRun(join(folder, 'flow-s0'), policyRun({ algorithm: 'flow', seed: 0, pace: 0.5 })),
      writeRun(join(folder, 'flow-s1'), policyRun({ algorithm: 'flow', seed: 1, pace: 0.5 })),
      writeRun(join(folder, 'a-step-grpo-run-whose-name-is-very-long-indeed'), policyRun({ algorithm: 'step' })),
    ];
    for (const step of [20, 40, 60]) await writeSheet(runs[2] as string, step, 30);
    await runDrm(['report', ...runs, '--out', policies]);
    await runDrm(['report', writeRun(join(folder, 'rm'), rewardRun()), '--out', reward]);
    browser = await Browser.start();
  }, 120_000);
  afterAll(async () => browser?.close());

  test.each([1400, 400].flatMap((width) => (['light', 'dark'] as const).map((scheme) => ({ width, scheme }))))(
    '$width px, $scheme: nothing to complain of, nothing beyond the edge',
    async (look) => {
      for (const page of [policies, reward]) {
        await browser.open(page, look);
        expect(browser.complaints).toEqual([]);
        expect(await browser.ask('document.documentElement.scrollWidth')).toBe(look.width);
        const colours = await browser.ask<string[]>(
          `['backgroundColor', 'color'].map((key) => getComputedStyle(document.body)[key])`,
        );
        const [back, front] = colours.map((colour) => Math.max(...(colour.match(/\d+/g) ?? []).map(Number)));
        expect(look.scheme === 'dark' ? front : back).toBeGreaterThan(220);
        expect(look.scheme === 'dark' ? back : front).toBeLessThan(40);
        // Text of charts as it is drawn, whatever the width.
        const letters = await browser.ask<number[]>(
          `[...document.querySelectorAll('main > section > .grid svg.chart text')].filter((t) => !t.hasAttribute('transform')).map((t) => t.getBoundingClientRect().height)`,
        );
        expect(letters.length).toBeGreaterThan(50);
        expect(Math.min(...letters)).toBeGreaterThan(10);
        expect(Math.max(...letters)).toBeLessThan(26);
        // No chart's words run into each other along its axis.
        expect(
          await browser.ask(`[...document.querySelectorAll('svg.chart')].filter((svg) => {
          const across = [...svg.querySelectorAll('text[text-anchor=middle]')].filter((t) => !t.matches('.name')).map((t) => t.getBoundingClientRect());
          return across.some((box, i) => i > 0 && box.left < across[i - 1].right && box.right > across[i - 1].left && Math.abs(box.top - across[i - 1].top) < 5);
        }).length`),
        ).toBe(0);
      }
      const { width, height } = await sharp(await browser.image(false)).metadata();
      expect([width, height]).toEqual([look.width, 900]);
      expect((await sharp(await browser.image(false)).stats()).entropy).toBeGreaterThan(0.3); // not a blank one
    },
  );

  test('the pointer over a chart reads its lines', async () => {
    await browser.open(policies, { width: 1400, scheme: 'light' });
    const { x, y } = await browser.ask<{ x: number; y: number }>(
      `(() => { const svg = document.querySelector('svg[data-frame]'); svg.scrollIntoView({ block: 'center' }); const box = svg.getBoundingClientRect(); return { x: box.left + box.width / 2, y: box.top + box.height / 2 }; })()`,
    );
    await browser.moveTo(x, y);
    const said = await browser.ask<string>(`document.querySelector('#tip:not([hidden])')?.textContent ?? ''`);
    expect(said).toMatch(/^[\d.]+\nflow \(2 seeds\): [\d.]+/);
    await browser.moveTo(1, 1);
    expect(await browser.ask(`document.querySelector('#tip').hidden`)).toBe(true);
    expect(browser.complaints).toEqual([]);
  });

  test('without script all of it is there', async () => {
    await browser.open(policies, { width: 1400, scheme: 'light' });
    const read = `[document.querySelectorAll('svg, table, img').length, document.querySelector('main').textContent.length].join()`;
    const whole = await browser.ask(read);
    await browser.open(policies, { width: 1400, scheme: 'light', script: false });
    expect(await browser.ask(read)).toBe(whole);
  });
});
