// What `drm eval pairs` leaves: accuracy.json, a table, and plots where there are several timesteps.
import { join } from 'node:path';
import { writeAtomically } from '../../common/files.js';
import { VERSION } from '../../common/version.js';
import { accuracyPlot } from '../../eval/accuracy_plot.js';
import type { Row, SetResults } from '../../eval/pair_rows.js';
import { report } from '../../eval/pairs_report.js';
import { slug } from '../../image/write.js';
import type { Reward } from '../../rewards/reward.js';
import type { PairsContext } from './options.js';

export type LabelledResults = SetResults & { label: string };

/** Table, files and plots. */
export async function writeResults(
  sets: readonly LabelledResults[],
  rewards: readonly Reward[],
  out: string,
  { events }: PairsContext,
): Promise<void> {
  const [alone] = sets;
  const data = {
    drm: VERSION,
    ...(sets.length === 1 && alone ? withoutLabel(alone) : { sets: sets.map(withoutLabel) }),
  };
  await writeAtomically(join(out, 'accuracy.json'), `${JSON.stringify(data, null, 2)}\n`);
  events.emit({ event: 'result', text: report(sets), data });
  for (const [i, { label, pairs, rows }] of sets.entries()) {
    if (new Set(rows.map(({ timestep }) => timestep)).size < 2) continue;
    const path = join(out, sets.length === 1 ? 'accuracy.svg' : `accuracy-${i + 1}-${slug(label)}.svg`);
    const lines = rewards.map(({ name }) => ({
      name,
      points: rows.flatMap(({ reward, timestep, overall }) =>
        reward === name ? [{ timestep, accuracy: overall.accuracy }] : [],
      ),
    }));
    await writeAtomically(path, accuracyPlot(lines, titleOf(label, pairs, rows)));
    events.emit({ event: 'image', path, width: 0, height: 0 });
  }
}

const withoutLabel = ({ label: _, ...results }: LabelledResults): SetResults => results;

const titleOf = (label: string, pairs: number, [row]: readonly Row[]): string =>
  `Pairwise accuracy on ${label}, ${pairs} pairs${row?.protocol ? `, ${row.protocol}` : ''}`;
