// `drm data inspect`: figures and a contact sheet of a prepared set, of captioned images or of pairs.
import { DrmError } from '../../../binding/error.js';
import { prepareFolder } from '../../common/files.js';
import { inspectionText, inspectSet, writeContactSheet } from '../../data/inspect/captions.js';
import { inspectPairs, pairInspectionText, writePairSheet } from '../../data/inspect/pairs.js';
import { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { readManifest } from '../../data/prepared/manifest.js';
import { PairSet } from '../../data/prepared/pair_set.js';
import type { DataContext } from './options.js';

export async function inspectPrepared(context: DataContext): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const [, folder] = args;
  const { seed = 0, samples: count = 64, verify } = options;
  const split = options.split === undefined || options.split === 'all' ? {} : { split: options.split };
  const opening = { ...split, verify };
  const out = global.out ?? folder;
  const isPairs = readManifest(folder).kind === 'pairs';
  const onProgress = (label: string, step: number, total: number) =>
    events.emit({
      event: 'progress',
      id: label,
      label,
      step,
      total,
      unit: label === 'reading' ? 'pair' : 'image',
      seconds: (performance.now() - started) / 1000,
    });
  try {
    const { text, found, sheet, samples, bad } = await (isPairs ? inspectedPairs() : inspectedPictures());
    for (const warning of bad.slice(0, 5)) events.emit({ event: 'warning', message: warning });
    events.emit({ event: 'result', text, data: { ...found, contact_sheet: sheet } });
    events.emit({ event: 'image', path: sheet.png, width: sheet.width, height: sheet.height });
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { ...samples, bad: bad.length, page: sheet.html },
    });
  } catch (error) {
    if (signal.aborted) throw new DrmError('CANCELLED', 'stopped; nothing was written');
    throw error;
  }

  async function inspectedPictures() {
    const set = await CaptionedSet.open(folder, opening);
    try {
      await prepareFolder(out);
      const found = await inspectSet(set, seed, signal, (done, total) => onProgress('opening images', done, total));
      const sheet = await writeContactSheet(set, found, out, { count, seed });
      return {
        text: inspectionText(found),
        found,
        sheet,
        samples: { samples: found.samples },
        bad: found.pictures.bad,
      };
    } finally {
      await set.close();
    }
  }

  async function inspectedPairs() {
    const set = await PairSet.open(folder, opening);
    try {
      await prepareFolder(out);
      const found = await inspectPairs(set, seed, signal, onProgress);
      const sheet = await writePairSheet(set, found, out, { count, seed });
      return {
        text: pairInspectionText(found),
        found,
        sheet,
        samples: { pairs: found.pairs },
        bad: found.pictures.bad,
      };
    } finally {
      await set.close();
    }
  }
}
