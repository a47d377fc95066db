// Sample sheets by step, as data within the page. Only files of samples/ are looked at.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { escapeXml } from '../text/xml.js';
import type { RecordedRun } from './read.js';

/** Bytes of all images of a page, before base64 makes a third more of them. */
const BUDGET = 6e6;
/** Sheets of a run, and of a page. */
const MOST_A_RUN = 8;
const MOST = 48;
const WIDEST = 900;
const NARROWEST = 120;
const QUALITY = 85;
const LETTERS = 4000;

/** Evenly spaced, the first and the last among them. */
export function chosen<T>(all: readonly T[], most: number): T[] {
  if (all.length <= most) return [...all];
  if (most < 2) return all.slice(-most);
  return Array.from({ length: most }, (_, i) => all[Math.round((i * (all.length - 1)) / (most - 1))] as T);
}

/** As WebP of at most so many bytes, as wide as that allows. */
async function withinBytes(file: string, bytes: number): Promise<{ webp: Buffer; width: number; height: number }> {
  const { width = WIDEST, format } = await sharp(file).metadata();
  // An SVG could refer to other files.
  if (!['png', 'jpeg', 'webp'].includes(format ?? '')) throw new Error(`it is ${format ?? 'no image'}`);
  for (let to = Math.min(width, WIDEST); ; to = Math.floor(to * 0.7)) {
    const { data, info } = await sharp(file)
      .resize({ width: to, withoutEnlargement: true })
      .webp({ quality: QUALITY })
      .toBuffer({ resolveWithObject: true });
    if (data.length <= bytes || to <= NARROWEST) return { webp: data, width: info.width, height: info.height };
  }
}

/** A figure, or why there is none. */
async function sheetOf(
  run: RecordedRun,
  { step, file }: { step: number; file: string },
  bytes: number,
): Promise<{ figure: string } | { missing: string }> {
  try {
    const { webp, width, height } = await withinBytes(join(run.folder, 'samples', String(step), file), bytes);
    const alt = `images of ${run.name} after step ${step}`;
    return {
      figure: `<figure><img src="data:image/webp;base64,${webp.toString('base64')}" width="${width}" height="${height}" alt="${escapeXml(alt)}"><figcaption>step ${step}</figcaption></figure>`,
    };
  } catch (error) {
    const [why = ''] = (error as Error).message.split('\n');
    return { missing: `that of step ${step}: ${why}` };
  }
}

async function promptsOf(run: RecordedRun, steps: readonly number[]): Promise<string> {
  for (const step of [...steps].reverse()) {
    const file = join(run.folder, 'samples', String(step), 'prompts.txt');
    const text = (await readFile(file, 'utf8').catch(() => '')).slice(0, LETTERS).trim();
    if (text === '') continue;
    const items = text.split('\n').map((prompt) => `<li>${escapeXml(prompt)}</li>`);
    return `<details><summary>their prompts</summary><ol>${items.join('')}</ol></details>`;
  }
  return '';
}

/** A row of sheets a run; empty where no run has any. */
export async function imageSection(runs: readonly RecordedRun[]): Promise<string> {
  const drawn = runs.filter(({ sheets }) => sheets.length > 0);
  const each = Math.max(1, Math.min(MOST_A_RUN, Math.floor(MOST / Math.max(1, drawn.length))));
  const rows = drawn.map((run) => ({ run, sheets: chosen(run.sheets, each) }));
  const count = rows.reduce((sum, { sheets }) => sum + sheets.length, 0);
  const out: string[] = [];
  for (const { run, sheets } of rows) {
    const figures: string[] = [];
    const missing: string[] = [];
    const shown: number[] = [];
    for (const sheet of sheets) {
      const made = await sheetOf(run, sheet, BUDGET / count);
      if ('missing' in made) missing.push(made.missing);
      else {
        figures.push(made.figure);
        shown.push(sheet.step);
      }
    }
    const notes = [
      ...(run.sheets.length > sheets.length
        ? [`${sheets.length} of ${run.sheets.length} sheets; all are in samples/`]
        : []),
      ...(missing.length > 0 ? [`${missing.length} cannot be shown, such as ${missing[0]}`] : []),
    ];
    const row = `<div class="sheets" tabindex="0" role="group" aria-label="${escapeXml(`images of ${run.name} by step`)}">${figures.join('')}</div>`;
    out.push(
      `<h3>${escapeXml(run.name)}</h3>${figures.length > 0 ? row : ''}${notes.map((note) => `<p class="quiet">${escapeXml(note)}</p>`).join('')}${await promptsOf(run, shown)}`,
    );
  }
  return out.join('');
}
