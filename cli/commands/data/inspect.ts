// `drm data inspect`: figures and a contact sheet of a prepared set, of captioned images or of pairs.
import { DrmError } from '../../../binding/error.js';
import { progressOf, secondsSince } from '../../common/events.js';
import { prepareFolder } from '../../common/files.js';
import { type Inspection, inspectionText, inspectSet, writeContactSheet } from '../../data/inspect/captions.js';
import type { SheetFiles } from '../../data/inspect/contact_sheet.js';
import { inspectPairs, type PairInspection, pairInspectionText, writePairSheet } from '../../data/inspect/pairs.js';
import { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { readManifest } from '../../data/prepared/manifest.js';
import { PairSet } from '../../data/prepared/pair_set.js';
import type { OpenOptions } from '../../data/prepared/shard_reader.js';
import type { InspectContext } from './options.js';

type Telling = (label: string, step: number, total: number) => void;

/** How one kind of set is inspected. */
interface Inspector<Kind extends { close(): Promise<void> }, Found extends { images: { bad: string[] } }> {
  open(folder: string, options: OpenOptions): Promise<Kind>;
  inspect(set: Kind, seed: number, signal: AbortSignal, tell: Telling): Promise<Found>;
  text(found: Found): string;
  sheet(set: Kind, found: Found, out: string, asked: { count: number; seed: number }): Promise<SheetFiles>;
  counted(found: Found): Record<string, number>;
}

const CAPTIONED: Inspector<CaptionedSet, Inspection> = {
  open: CaptionedSet.open,
  inspect: (set, seed, signal, tell) =>
    inspectSet(set, seed, signal, (done, total) => tell('opening images', done, total)),
  text: inspectionText,
  sheet: writeContactSheet,
  counted: ({ samples }) => ({ samples }),
};

const PAIRS: Inspector<PairSet, PairInspection> = {
  open: PairSet.open,
  inspect: inspectPairs,
  text: pairInspectionText,
  sheet: writePairSheet,
  counted: ({ pairs }) => ({ pairs }),
};

export async function inspectPrepared(context: InspectContext): Promise<void> {
  const [folder] = context.args;
  return readManifest(folder).kind === 'pairs' ? inspectBy(PAIRS, context) : inspectBy(CAPTIONED, context);
}

async function inspectBy<Kind extends { close(): Promise<void> }, Found extends { images: { bad: string[] } }>(
  by: Inspector<Kind, Found>,
  { args, options, global, events, signal }: InspectContext,
): Promise<void> {
  const started = performance.now();
  const [folder] = args;
  const { seed = 0, samples: count = 64, split = 'all', verify } = options;
  const out = global.out ?? folder;
  const tell: Telling = (label, step, total) =>
    progressOf(events, { id: label, label, unit: label === 'reading' ? 'pair' : 'image' }, started)(step, total);
  try {
    const set = await by.open(folder, { ...(split !== 'all' && { split }), verify });
    try {
      await prepareFolder(out);
      const found = await by.inspect(set, seed, signal, tell);
      const sheet = await by.sheet(set, found, out, { count, seed });
      const { bad } = found.images;
      for (const warning of bad.slice(0, 5)) events.emit({ event: 'warning', message: warning });
      events.emit({ event: 'result', text: by.text(found), data: { ...found, contact_sheet: sheet } });
      events.emit({ event: 'image', path: sheet.png, width: sheet.width, height: sheet.height });
      events.emit({
        event: 'done',
        seconds: secondsSince(started),
        facts: { ...by.counted(found), bad: bad.length, page: sheet.html },
      });
    } finally {
      await set.close();
    }
  } catch (error) {
    if (signal.aborted) throw new DrmError('CANCELLED', 'stopped; nothing was written');
    throw error;
  }
}
