// `drm eval pairs --scores FILE`.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { progressOf, secondsSince } from '../../common/events.js';
import { prepareFolder, writeAtomically } from '../../common/files.js';
import type { ProtocolName } from '../../data/sets/published.js';
import { askedProtocols } from '../../eval/asked_protocols.js';
import { unusableImages } from '../../eval/list_images.js';
import { DEFINITIONS, type Figure } from '../../eval/protocols.js';
import { judgeScores, type ListFigures, readScores } from '../../eval/score_file.js';
import { table, wrapped } from '../../ui/table.js';
import type { PairsContext } from './options.js';

const HEAD = ['list', 'protocol', 'accuracy %', '95 % interval', 'right / of'];

const inPercent = (share: number, digits: number) => (Number.isNaN(share) ? '-' : (100 * share).toFixed(digits));

export const intervalOf = ({ accuracy: { low, high } }: Pick<Figure, 'accuracy'>): string =>
  Number.isNaN(low) ? '-' : `${inPercent(low, 1)} to ${inPercent(high, 1)}`;

function cells(list: string, figure: Figure): string[] {
  const { protocol, accuracy, correct, of, unit } = figure;
  return [
    list,
    protocol,
    inPercent(accuracy.mean, 2),
    intervalOf(figure),
    unit === 'prompt' ? `${of} prompts` : `${correct} / ${of}`,
  ];
}

/** What the numbers leave open: ties, equal scores, what was left out. */
function remarks({ list, figures }: ListFigures): string[] {
  const [figure] = figures;
  if (!figure) return [];
  const threshold = figures.find((one) => one.threshold !== undefined)?.threshold;
  const found = [
    figure.failed > 0 ? `${figure.failed} left out (an image has no score)` : '',
    figure.equal > 0 ? `${figure.equal} with equal scores` : '',
    Math.max(...figures.map(({ tied }) => tied)) > 0 ? `${Math.max(...figures.map(({ tied }) => tied))} tied` : '',
    threshold === undefined ? '' : `tie threshold ${threshold} from the validation split`,
  ].filter((text) => text !== '');
  return found.length > 0 ? [`${list}: of its pairs ${found.join(', ')}`] : [];
}

/** Each protocol that occurs, explained once. */
export function legend(protocols: Iterable<ProtocolName>): string[] {
  return [...new Set(protocols)].map((name) => `${name}: ${DEFINITIONS[name]}`);
}

function report(lists: readonly ListFigures[]): string {
  const rows = lists.flatMap(({ list, figures }) => figures.map((figure) => cells(list, figure)));
  const words = [
    ...legend(lists.flatMap(({ figures }) => figures.map(({ protocol }) => protocol))),
    ...lists.flatMap(remarks),
  ];
  return [table(HEAD, rows, 2), '', ...words.map((line) => wrapped(line))].join('\n');
}

/** `file` is what --scores names. */
export async function evaluateScores(context: PairsContext, file: string): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  for (const name of ['data', 'reward', 'validation'] as const)
    if (options[name] !== undefined)
      throw new DrmError(
        'USAGE',
        `eval pairs: expected --scores FILE, or --data with --reward, found --scores and --${name}; leave one of them out`,
      );
  const { counting: protocols, viewing } = askedProtocols(options.protocol ?? []);
  if (viewing)
    throw new DrmError(
      'USAGE',
      `--protocol ${viewing} says how images are scored, and --scores ${file} has their scores already; leave one of them out`,
    );
  const entries = readScores(file, options.from);
  events.emit({
    event: 'started',
    version: 1,
    command: 'eval pairs',
    facts: { scores: file, lists: entries.map(({ name }) => name).join(', ') },
  });
  const lists: ListFigures[] = [];
  for (const entry of entries) {
    const about = { id: `look ${entry.name}`, label: `opening images of ${entry.name}`, unit: 'image' };
    const onImages = progressOf(events, about);
    const judged = await judgeScores(entry, {
      ...(protocols && { protocols }),
      ...(options.images && { unusable: (list) => unusableImages(list, { signal, onImages }) }),
    });
    for (const message of judged.notes) events.emit({ event: 'warning', message });
    lists.push(judged);
  }
  const given = new Set(lists.flatMap(({ figures }) => figures.map(({ protocol }) => protocol)));
  const unfit = protocols?.filter((protocol) => !given.has(protocol)) ?? [];
  if (unfit.length > 0)
    throw new DrmError(
      'USAGE',
      `--protocol ${unfit.join(', ')}: fits none of ${entries.map(({ name }) => name).join(', ')}${unfit.includes('tie-aware') ? ' (tie-aware needs scores_validation of Pick-a-Pic beside scores_test)' : ''}; leave it out for each list's own`,
    );
  for (const { list, figures } of lists)
    if (figures.length === 0)
      events.emit({
        event: 'warning',
        message: `${list}: none of the protocols ${protocols?.join(', ')} fits it; left out`,
      });
  const data = { scores: file, lists };
  if (global.out !== undefined) {
    await prepareFolder(global.out);
    await writeAtomically(join(global.out, 'accuracy.json'), `${JSON.stringify(data, null, 2)}\n`);
  }
  events.emit({ event: 'result', text: report(lists), data });
  events.emit({ event: 'done', seconds: secondsSince(started), facts: { lists: lists.length } });
}
