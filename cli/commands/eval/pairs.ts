// `drm eval pairs`: how often rewards prefer the image that people preferred.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { setThreads } from '../../../binding/index.js';
import { chooseDevice } from '../../common/device.js';
import { prepareFolder } from '../../common/files.js';
import { commandLine, needed } from '../../common/options.js';
import { askedProtocols } from '../../eval/asked_protocols.js';
import { closeSets, type JudgedSet, openSets } from '../../eval/judged_sets.js';
import { KeptImages } from '../../eval/kept_images.js';
import { rowsOf, type ScoredColumn } from '../../eval/pair_rows.js';
import { type AskedViewing, askedViewing, enlargedNote, sizeNotes } from '../../eval/viewing.js';
import { inProcessGroup } from '../../parallel/in_process_group.js';
import type { Team } from '../../parallel/team.js';
import { loadRewards } from '../../rewards/load.js';
import type { Reward } from '../../rewards/reward.js';
import type { PairsContext } from './options.js';
import { type LabelledResults, writeResults } from './pairs_results.js';
import { type Scoring, scoreSets } from './score_pairs.js';
import { evaluateScores } from './scores.js';

export async function evaluatePairs(context: PairsContext): Promise<void> {
  const { options } = context;
  if (options.scores !== undefined) return evaluateScores(context, options.scores);
  const only = options.from !== undefined ? '--from' : options.images ? undefined : '--no-images';
  if (only !== undefined) throw new DrmError('USAGE', `eval pairs: ${only} is for --scores FILE, which was not given`);
  const asked = whatIsAsked(context);
  await inProcessGroup(context, commandLine(process.argv.slice(2)), (team, own) => evaluateInTeam(team, own, asked));
}

interface Asked {
  folders: string[];
  rewards: string[];
  viewing: AskedViewing;
  protocols: ReturnType<typeof askedProtocols>;
  most: number | undefined;
}

function whatIsAsked({ options }: PairsContext): Asked {
  const { folders, rewards } = needed('eval pairs', {
    folders: {
      value: options.data,
      what: 'preference pairs',
      give: '--data DIR (see `drm data prepare`), or --scores FILE',
    },
    rewards: {
      value: [...(options.reward ?? []), ...(options.scorer ?? [])],
      what: 'a reward',
      give: '--reward tiny, or --scorer pickscore',
    },
  });
  const protocols = askedProtocols(options.protocol ?? []);
  const viewing = askedViewing(options, '--timesteps', options.timesteps, protocols.viewing);
  if (options.validation !== undefined && !protocols.counting?.includes('tie-aware'))
    throw new DrmError('USAGE', '--validation: expected --protocol tie-aware beside it, whose threshold it is for');
  return { folders: [...new Set(folders)], rewards, viewing, protocols, most: options.maxPairs };
}

/** A message for each chunk of a million images would say nothing more. */
function once(emit: (message: string) => void): (message: string) => void {
  const said = new Set<string>();
  return (message) => {
    const kind = message.replace(/\d+/g, '#');
    if (!said.has(kind)) emit(message);
    said.add(kind);
  };
}

async function evaluateInTeam(team: Team, context: PairsContext, asked: Asked): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const { viewing, protocols, most } = asked;
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const out = global.out ?? 'out/eval-pairs';
  if (team.first) await prepareFolder(out);
  if (global.threads !== undefined) setThreads(global.threads);
  const { device } = await chooseDevice({ device: global.device, dtype: 'auto' }, team);
  const sets = await openSets(
    {
      folders: asked.folders,
      splits: options.split,
      validation: options.validation,
      protocols: protocols.counting,
      most,
      seed: viewing.seed,
    },
    signal,
    warn,
  );
  let rewards: Reward[] = [];
  try {
    rewards = await loadRewards(asked.rewards, {
      device,
      dtype: global.dtype,
      model: options.model,
      later: true,
      signal,
      onWarning: once(warn),
      onProgress: (p) => events.emit({ event: 'progress', id: 'load', label: 'loading', unit: 'B', ...p }),
    });
    for (const note of notesOnSizes(rewards, sets, viewing)) warn(note);
    await team.sameSettings({
      ...asked,
      weights: rewards.map(({ weights }) => weights),
      sets: sets.map(({ scores }) => scores.digest),
    });
    const pairs = sets.reduce((sum, { scores }) => sum + scores.pairs.length, 0);
    events.emit({
      event: 'started',
      version: 1,
      command: 'eval pairs',
      facts: {
        data: asked.folders.join(', '),
        pairs,
        rewards: rewards.map(({ name }) => name).join(', '),
        ...factsOf(viewing),
        ...(team.size > 1 && { processes: team.size }),
      },
    });
    const results = await resultsOf(sets, rewards, asked, { team, out, context });
    await team.meet();
    if (!team.first) return;
    await writeResults(results, rewards, out, context);
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: {
        pairs,
        bad_images: results.reduce((sum, { bad_images: bad }) => sum + bad, 0),
        results: join(out, 'accuracy.json'),
      },
    });
  } finally {
    for (const reward of rewards) reward.dispose();
    await closeSets(sets);
  }
}

/** All processes score; the first one alone counts, and has results. */
async function resultsOf(
  sets: readonly JudgedSet[],
  rewards: readonly Reward[],
  { viewing, protocols }: Asked,
  scoring: Omit<Scoring, 'kept'>,
): Promise<LabelledResults[]> {
  const columns = await scoreSets(sets, rewards, viewing, { ...scoring, kept: new KeptImages(rewards.length) });
  if (!scoring.team.first) return [];
  return sets.map((set, i) => {
    const { folder, label, scores } = set;
    const counting = {
      asked: protocols.counting,
      viewing: viewing.protocol,
      validation: set.validation?.scores.pairs,
    };
    const rows = rowsOf(scores.pairs, columns[i] as ScoredColumn[], counting);
    const found = { pairs: scores.pairs.length, images: scores.count, bad_images: scores.bad.size };
    return { label, data: folder, ...found, rows };
  });
}

/** Images that rewards see smaller or larger than they are. */
function notesOnSizes(rewards: Reward[], sets: readonly JudgedSet[], { size }: AskedViewing): string[] {
  const enlarged = sets.map(({ folder, set }) => enlargedNote(folder, set.manifest.settings.size, rewards, size));
  return [...sizeNotes(rewards, size), ...enlarged.filter((note) => note !== undefined)];
}

const factsOf = ({ levels, draws, protocol, size }: AskedViewing) => ({
  timesteps: `${levels.reading === 'schedule' ? 'schedule:' : ''}${levels.values.join(', ')}`,
  draws,
  ...(size !== undefined && { size }),
  ...(protocol && { protocol }),
});
