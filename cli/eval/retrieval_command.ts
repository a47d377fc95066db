// `drm eval retrieval`.
import { DrmError } from '../../binding/error.js';
import type { Context } from '../command.js';
import { CaptionedSet } from '../data/captioned_set.js';
import { readManifest } from '../data/manifest.js';
import { wholeOption } from '../options.js';
import { retrieveSet } from './retrieval.js';
import { loadScorers } from './scorers.js';
import { interval, percent, table } from './table.js';

export async function evaluateRetrieval(context: Context): Promise<void> {
  const { options, events, signal } = context;
  const started = performance.now();
  const folder = options.data as string | undefined;
  if (folder === undefined)
    throw new DrmError('USAGE', 'eval retrieval: expected a prepared set; give --data DIR (see `drm data prepare`)');
  const among = wholeOption(options, 'among', 2) ?? 256;
  const seed = wholeOption(options, 'seed', 0) ?? 0;
  const splits = (options.split as string[] | undefined) ?? Object.keys(readManifest(folder).splits);
  const scorers = await loadScorers(context);
  events.emit({
    event: 'started',
    version: 1,
    command: 'eval retrieval',
    facts: { data: folder, splits: splits.join(', '), scorers: scorers.map(({ name }) => name).join(', ') },
  });
  const rows: string[][] = [];
  const data: unknown[] = [];
  try {
    for (const split of splits) {
      const set = await CaptionedSet.open(folder, { split });
      try {
        for (const scorer of scorers) {
          if (!scorer.space)
            throw new DrmError('BAD_REQUEST', `[eval] ${scorer.name} scores pairs only; retrieval needs a CLIP`);
          const begun = performance.now();
          const result = await retrieveSet(
            scorer.space,
            set,
            { among, seed },
            {
              signal,
              onWarning: (message) => events.emit({ event: 'warning', message }),
              onPictures: (step, total) =>
                events.emit({
                  event: 'progress',
                  id: `${scorer.name} ${split}`,
                  label: `${split} by ${scorer.name}`,
                  step,
                  total,
                  unit: 'picture',
                  seconds: (performance.now() - begun) / 1000,
                }),
            },
          );
          data.push({ split, scorer: scorer.name, ...result });
          rows.push([
            split,
            scorer.name,
            String(result.pictures),
            String(result.among),
            percent(result.top1),
            percent(result.top5),
            percent(result.picture_of_caption),
            interval(result.cosine, 3),
          ]);
        }
      } finally {
        await set.close();
      }
    }
  } finally {
    for (const scorer of scorers) scorer.dispose();
  }
  const head = ['split', 'scorer', 'pictures', 'captions', 'top-1', 'top-5', 'picture of caption', 'cosine'];
  events.emit({ event: 'result', text: table(head, rows), data });
  events.emit({ event: 'done', seconds: (performance.now() - started) / 1000, facts: { rows: rows.length } });
}
