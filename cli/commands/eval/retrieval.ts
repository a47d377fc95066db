// `drm eval retrieval`.
import { DrmError } from '../../../binding/error.js';
import { progressOf, secondsSince } from '../../common/events.js';
import { needed } from '../../common/options.js';
import { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { readManifest } from '../../data/prepared/manifest.js';
import { retrieveSet } from '../../eval/retrieval.js';
import { loadJudges } from '../../rewards/judges.js';
import { percent, plusMinus, table } from '../../ui/table.js';
import type { RetrievalContext } from './options.js';

/** Backwards: the caption looks for its image. */
const HEAD = ['split', 'images', 'captions', 'top-1 %', 'top-5 %', 'backwards %', 'cosine'];

export async function evaluateRetrieval(context: RetrievalContext): Promise<void> {
  const { options, events, signal } = context;
  const started = performance.now();
  const {
    data: [folder, ...others],
  } = needed('eval retrieval', {
    data: { value: options.data, what: 'a prepared set', give: '--data DIR (see `drm data prepare`)' },
    scorer: { value: options.scorer, what: 'a scorer', give: '--scorer judge, or --scorer clip:FOLDER' },
  });
  if (folder === undefined || others.length > 0)
    throw new DrmError('USAGE', `eval retrieval: expected one --data, found ${1 + others.length}; name each by itself`);
  const { among = 256, seed = 0 } = options;
  const splits = options.split ?? Object.keys(readManifest(folder).splits);
  const { rewards: judges } = await loadJudges(context);
  events.emit({
    event: 'started',
    version: 1,
    command: 'eval retrieval',
    facts: { data: folder, splits: splits.join(', '), scorers: judges.map(({ name }) => name).join(', ') },
  });
  const warn = (message: string) => events.emit({ event: 'warning', message });
  try {
    for (const { name, space } of judges) {
      if (!space) throw new DrmError('BAD_REQUEST', `[eval] ${name} scores pairs only; retrieval needs a CLIP`);
      const data: object[] = [];
      const rows: string[][] = [];
      for (const split of splits) {
        const set = await CaptionedSet.open(folder, { split });
        const about = { id: `${name} ${split}`, label: `${split} by ${name}`, unit: 'image' };
        const onImages = progressOf(events, about);
        const result = await retrieveSet(space, set, { among, seed }, { signal, onWarning: warn, onImages });
        await set.close();
        data.push({ split, scorer: name, ...result });
        rows.push([
          split,
          String(result.images),
          String(result.among),
          percent(result.top1),
          percent(result.top5),
          percent(result.image_of_caption),
          plusMinus(result.cosine, 3),
        ]);
      }
      events.emit({ event: 'result', text: `${name}: captions of real images\n${table(HEAD, rows)}`, data });
    }
  } finally {
    for (const judge of judges) judge.dispose();
  }
  events.emit({
    event: 'done',
    seconds: secondsSince(started),
    facts: { splits: splits.length, scorers: judges.length },
  });
}
