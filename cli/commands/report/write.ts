// `drm report`: run folders in, one page out.
import { existsSync, statSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { prepareFolder, writeAtomically } from '../../common/files.js';
import { groupsOf } from '../../report/groups.js';
import { pageOf } from '../../report/page.js';
import { readRuns } from '../../report/read.js';
import { summaryOf, summaryText } from '../../report/summary.js';
import { bytes } from '../../ui/figures.js';
import type { ReportContext } from './options.js';

/** Where the page goes. Throws DrmError USAGE for a name that no page has: it would take another file's place. */
function placeOf(out: string | undefined, folders: readonly string[]): string {
  if (out === undefined) return folders.length === 1 ? join(folders[0] as string, 'report.html') : 'report.html';
  if (existsSync(out) && statSync(out).isDirectory()) return join(out, 'report.html');
  if (!['.html', '.htm'].includes(extname(out).toLowerCase()))
    throw new DrmError('USAGE', `--out ${out}: expected a folder that is there or a name ending in .html`);
  return out;
}

export async function writeReport({ args, global, events }: ReportContext): Promise<void> {
  const started = performance.now();
  const runs = await readRuns(args[0]);
  const file = placeOf(
    global.out,
    runs.map(({ folder }) => folder),
  );
  await prepareFolder(dirname(file));
  const groups = groupsOf(runs);
  const page = await pageOf(runs, groups);
  await writeAtomically(file, page);
  events.emit({
    event: 'result',
    text: summaryText(runs),
    data: {
      report: file,
      groups: groups.map(({ label, runs: own }) => ({ label, runs: own.map(({ name }) => name) })),
      runs: runs.map(summaryOf),
    },
  });
  events.emit({
    event: 'done',
    seconds: (performance.now() - started) / 1000,
    facts: { report: file, size: bytes(Buffer.byteLength(page)) },
  });
}
