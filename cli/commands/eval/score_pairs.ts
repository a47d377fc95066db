// How the images of prepared pairs come to their scores: each reward at the levels that it sees, with progress and warnings.
import { DrmError } from '../../../binding/error.js';
import { progressOf } from '../../common/events.js';
import { commandLine } from '../../common/options.js';
import type { JudgedSet } from '../../eval/judged_sets.js';
import type { KeptImages } from '../../eval/kept_images.js';
import type { ScoredColumn } from '../../eval/pair_rows.js';
import type { PairScores } from '../../eval/pair_scores.js';
import { NAME, short } from '../../eval/pairs_report.js';
import { type AskedViewing, viewingFor } from '../../eval/viewing.js';
import type { Team } from '../../parallel/team.js';
import { type Level, sigmaText, timestepText } from '../../rewards/levels.js';
import type { Reward, Viewing } from '../../rewards/reward.js';
import type { PairsContext } from './options.js';

const NAMED_BAD = 5;

export interface Scoring {
  team: Team;
  out: string;
  context: PairsContext;
  kept: KeptImages;
}

/**
 * Each reward's scores of the sets' images, at each level that it can see: columns by set. One reward after the other goes
 * through all sets and gives its memory back, where it can.
 */
export async function scoreSets(
  sets: readonly JudgedSet[],
  rewards: readonly Reward[],
  asked: AskedViewing,
  scoring: Scoring,
): Promise<ScoredColumn[][]> {
  const columns = sets.map((): ScoredColumn[] => []);
  for (const reward of rewards) {
    for (const [i, set] of sets.entries())
      columns[i]?.push(
        ...(await scoreSet(set, reward, asked, { ...scoring, label: sets.length > 1 ? set.label : '' })),
      );
    if (reward.bytes !== undefined) reward.dispose();
  }
  if (columns.some((of) => of.length === 0))
    throw new DrmError('USAGE', '--timesteps: none of the rewards scores noisy latents; let 0 be among them');
  return columns;
}

interface SetScoring extends Scoring {
  /** Of the set, where there are several. */
  label: string;
}

async function scoreSet(
  { scores, validation }: JudgedSet,
  reward: Reward,
  asked: AskedViewing,
  scoring: SetScoring,
): Promise<ScoredColumn[]> {
  const { events } = scoring.context;
  const viewing = viewingFor(reward, asked);
  if (viewing.levels.length < asked.levels.values.length)
    events.emit({ event: 'warning', message: `${reward.name} scores clean images only: timestep 0` });
  if (viewing.levels.length === 0) return [];
  const found = await scoreOne(scores, reward, viewing, scoring);
  const before = validation && (await scoreOne(validation.scores, reward, viewing, scoring, 'validation'));
  const definitions = reward.definitions(viewing);
  return viewing.levels.map((level, i) => {
    const column = (all: Float64Array[]) => ({
      ...{ reward: reward.name, level, scale: reward.scale ?? 1, scores: all[i] as Float64Array },
    });
    return {
      ...column(found),
      viewing: definitions[i] as string,
      ...(before && { validation: column(before) }),
    };
  });
}

async function scoreOne(
  scores: PairScores,
  reward: Reward,
  viewing: Viewing,
  { team, out, context: { events, signal }, label, kept }: SetScoring,
  part = '',
): Promise<Float64Array[]> {
  const of = [label, part].filter((text) => text !== '').join(', ');
  let named = 0;
  const warn = (message: string) => events.emit({ event: 'warning', message });
  return scores
    .score(reward, viewing, out, {
      signal,
      team,
      kept,
      onScores: progressOf(events, {
        id: `score ${reward.name}${of && ` ${of}`}`,
        label: `scoring ${of && `${of} `}by ${short(reward.name, NAME)}`,
        unit: 'score',
        ...levelsNote(viewing.levels),
      }),
      onBad: (message) => {
        if (named++ < NAMED_BAD) warn(message);
      },
      onWarning: warn,
    })
    .catch((error: unknown) => {
      if (!(error instanceof DrmError) || error.code !== 'CANCELLED') throw error;
      throw new DrmError('CANCELLED', `stopped: ${error.message}; go on with: ${commandLine(process.argv.slice(2))}`);
    });
}

/** Which levels: worth a word where they are not those of the command line. */
const levelsNote = (levels: readonly Level[]) =>
  levels.some(({ timestep }) => timestep > 0)
    ? { note: levels.map((level) => `t ${timestepText(level)} (${sigmaText(level)})`).join(', ') }
    : {};
