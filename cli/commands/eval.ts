import { DrmError } from '../../binding/error.js';
import type { Command, Context } from '../command.js';
import type { Scorer } from '../scorers/scorer.js';

const WHAT = ['images', 'retrieval'];

export const command: Command = {
  name: 'eval',
  summary: 'measure a model by scorers, or a scorer by real pictures',
  examples: [
    {
      command: 'drm eval retrieval --data data/emoji --split test-style --scorer clip:runs/judge/model',
      does: 'how often a CLIP finds the right caption among 256',
    },
  ],
  arguments: [{ name: '<what>', description: 'what to measure', choices: WHAT }],
  options: [
    {
      flags: '--scorer <scorer>',
      description: 'clip:FOLDER; may be repeated',
      repeatable: true,
    },
    { flags: '--data <dir>', description: 'retrieval: a set prepared by `drm data prepare`' },
    { flags: '--split <name>', description: 'retrieval: one split; may be repeated', default: 'all', repeatable: true },
    { flags: '--among <n>', description: 'retrieval: captions to choose from', default: '256' },
    { flags: '--seed <n>', description: 'retrieval: deals pictures into groups', default: '0' },
  ],
  async run(context) {
    const [what] = context.args as string[];
    if (what === 'retrieval') return retrieval(context);
    throw new DrmError('USAGE', `eval ${what}: expected ${WHAT.join(' or ')}`);
  },
};

function wholeNumber(context: Context, name: string, otherwise: number, least: number): number {
  const given = context.options[name];
  if (given === undefined) return otherwise;
  const value = Number(given);
  if (given === '' || !Number.isSafeInteger(value) || value < least)
    throw new DrmError('USAGE', `--${name} ${given}: expected a whole number from ${least}`);
  return value;
}

async function loadScorers(context: Context): Promise<Scorer[]> {
  const { options, global, events, signal } = context;
  const names = (options.scorer as string[] | undefined) ?? [];
  if (names.length === 0) throw new DrmError('USAGE', 'eval: expected a scorer; give --scorer clip:FOLDER');
  const { chooseDevice } = await import('../device.js');
  const { setThreads } = await import('../../binding/index.js');
  const { loadScorer } = await import('../scorers/registry.js');
  if (global.threads !== undefined) setThreads(global.threads);
  const where = await chooseDevice({ device: global.device, dtype: global.dtype ?? 'auto' });
  const onWarning = (message: string) => events.emit({ event: 'warning', message });
  const scorers: Scorer[] = [];
  try {
    for (const name of names) scorers.push(await loadScorer(name, { ...where, signal, onWarning }));
  } catch (error) {
    for (const scorer of scorers) scorer.dispose();
    throw error;
  }
  return scorers;
}

async function retrieval(context: Context): Promise<void> {
  const { options, events, signal } = context;
  const started = performance.now();
  const folder = options.data as string | undefined;
  if (folder === undefined)
    throw new DrmError('USAGE', 'eval retrieval: expected a prepared set; give --data DIR (see `drm data prepare`)');
  const among = wholeNumber(context, 'among', 256, 2);
  const seed = wholeNumber(context, 'seed', 0, 0);
  const { readManifest } = await import('../data/manifest.js');
  const { CaptionedSet } = await import('../data/captioned_set.js');
  const { retrieveSet } = await import('../eval/retrieval.js');
  const { percent, interval, table } = await import('../eval/table.js');
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
