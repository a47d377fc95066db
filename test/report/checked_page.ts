// A page of `drm report`, held to what every page must be.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { runDrm, temporaryFolder } from '../run_drm.js';

/** Tags that are not closed, or closed out of turn. */
function unbalanced(page: string): string[] {
  const open: string[] = [];
  const wrong: string[] = [];
  const text = page.replace(/<(script|style)>.*?<\/\1>/gs, '');
  for (const [, close, name = '', self] of text.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*?(\/?)>/g)) {
    if (self || ['meta', 'link', 'img', 'br'].includes(name)) continue;
    if (!close) open.push(name);
    else if (open.pop() !== name) wrong.push(name);
  }
  return [...wrong, ...open];
}

/** What holds for every page, without a browser. */
export function checkPage(page: string): void {
  expect(page.startsWith('<!doctype html>\n<html lang="en">')).toBe(true);
  expect(unbalanced(page)).toEqual([]);
  expect(page).toContain('<meta name="viewport"');
  expect(page).toContain('prefers-color-scheme:dark');
  // Nothing from elsewhere: every address is data or within the page.
  for (const [, address] of page.matchAll(/(?:src|href)="([^"]*)"/g)) expect(address).toMatch(/^(data:|#)/);
  expect(page).not.toMatch(/https?:|@import|url\(|<iframe|<object/);
  for (const [svg] of page.matchAll(/<svg [^>]*>/g))
    expect(svg).toMatch(/aria-hidden="true"|role="img" aria-label="[^"]+"/);
  for (const [image] of page.matchAll(/<img [^>]*>/g)) expect(image).toMatch(/alt="[^"]+"/);
  for (const [figure] of page.matchAll(/<figure.*?<\/figure>/gs)) {
    expect(figure).toContain('<figcaption>');
    if (figure.includes('class="chart"'))
      expect(figure).toMatch(/<summary>as a table<\/summary><div class="scroll"><table>/);
  }
  const parts = [...page.matchAll(/<svg class="chart".*?<\/svg>|<t[dh][^>]*>[^<]*/gs)].map(([part]) => part);
  expect(parts.filter((part) => /NaN|undefined|Infinity|\[object/.test(part))).toEqual([]);
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [, id] of page.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(id);
}

/** The page that `drm report` makes of runs, whose form is checked. */
export async function pageOf(folders: string[]): Promise<string> {
  const out = join(temporaryFolder(), 'page.html');
  const { code, stderr } = await runDrm(['report', ...folders, '--out', out]);
  expect(stderr).toContain('report');
  expect(code).toBe(0);
  const page = readFileSync(out, 'utf8');
  checkPage(page);
  return page;
}
