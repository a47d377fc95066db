// `drm eval pairs`: how often rewards prefer the image that people preferred.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { setThreads } from '../../../binding/index.js';
import type { Context } from '../../common/command.js';
import { chooseDevice } from '../../common/device.js';
import { prepareFolder, writeAtomically } from '../../common/files.js';
import { commandLine, wholeOption } from '../../common/options.js';
import { VERSION } from '../../common/version.js';
import { accuracyPlot } from '../../eval/accuracy_plot.js';
import { askedProtocols } from '../../eval/asked_protocols.js';
import { closeSets, type JudgedSet, openSets } from '../../eval/judged_sets.js';
import { type Row, rowsOf, type ScoredColumn, type SetResults } from '../../eval/pair_rows.js';
import type { PairScores } from '../../eval/pair_scores.js';
import { NAME, report, short } from '../../eval/pairs_report.js';
import { type AskedViewing, askedViewing, enlargedNote, sizeNotes, viewingFor } from '../../eval/viewing.js';
import { slug } from '../../image/write.js';
import { inProcessGroup } from '../../parallel/in_process_group.js';
import type { Team } from '../../parallel/team.js';
import { type Level, sigmaText, timestepText } from '../../rewards/levels.js';
import { loadRewards } from '../../rewards/load.js';
import type { Reward, Viewing } from '../../rewards/reward.js';
import { evaluateScores } from './scores.js';

export async function evaluatePairs(context: Context): Promise<void> {
  const { options } = context;
  if (options.scores !== undefined) return evaluateScores(context);
  for (const only of ['from', 'images', 'pictures'])
    if (options[only] !== undefined && options[only] !== true)
      throw new DrmError(
        'USAGE',
        `eval pairs: --${only === 'from' ? 'from' : `no-${only}`} is for --scores FILE, which was not given`,
      );
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

function whatIsAsked({ options }: Context): Asked {
  const folders = (options.data as string[] | undefined) ?? [];
  const rewards = (options.reward as string[] | undefined) ?? [];
  if (folders.length === 0)
    throw new DrmError(
      'USAGE',
      'eval pairs: expected preference pairs; give --data DIR (see `drm data prepare`), or --scores FILE',
    );
  if (rewards.length === 0) throw new DrmError('USAGE', 'eval pairs: expected a reward; give --reward tiny');
  const protocols = askedProtocols(options);
  const viewing = askedViewing(options, 'timesteps', protocols.viewing);
  if (options.validation !== undefined && !protocols.counting?.includes('tie-aware'))
    throw new DrmError('USAGE', '--validation: expected --protocol tie-aware beside it, whose threshold it is for');
  return { folders: [...new Set(folders)], rewards, viewing, protocols, most: wholeOption(options, 'maxPairs', 1) };
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

async function evaluateInTeam(team: Team, context: Context, asked: Asked): Promise<void> {
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
      splits: options.split as string[] | undefined,
      validation: options.validation as string | undefined,
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
      model: options.model as string | undefined,
      signal,
      onWarning: once(warn),
      onProgress: (p) => events.emit({ event: 'progress', id: 'load', label: 'loading', unit: 'B', ...p }),
    });
    for (const note of sizeNotes(rewards, viewing.size)) warn(note);
    for (const { folder, set } of sets) {
      const note = enlargedNote(folder, set.manifest.settings.size, rewards, viewing.size);
      if (note !== undefined) warn(note);
    }
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
    const results: (SetResults & { label: string })[] = [];
    for (const set of sets) {
      const { folder, label, scores } = set;
      const columns = await scoreSet(set, rewards, viewing, {
        team,
        out,
        context,
        label: sets.length > 1 ? label : '',
      });
      if (!team.first) continue;
      const counting = {
        asked: protocols.counting,
        viewing: viewing.protocol,
        validation: set.validation?.scores.pairs,
      };
      const rows = rowsOf(scores.pairs, columns, counting);
      const found = { pairs: scores.pairs.length, pictures: scores.count, bad_pictures: scores.bad.size };
      results.push({ label, data: folder, ...found, rows });
    }
    await team.meet();
    if (!team.first) return;
    await tell(results, rewards, out, context);
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: {
        pairs,
        bad_images: results.reduce((sum, { bad_pictures: bad }) => sum + bad, 0),
        results: join(out, 'accuracy.json'),
      },
    });
  } finally {
    for (const reward of rewards) reward.dispose();
    await closeSets(sets);
  }
}

const factsOf = ({ levels, draws, protocol, size }: AskedViewing) => ({
  timesteps: `${levels.reading === 'schedule' ? 'schedule:' : ''}${levels.values.join(', ')}`,
  draws,
  ...(size !== undefined && { size }),
  ...(protocol && { protocol }),
});

/** Table, files and plots. */
async function tell(
  sets: readonly (SetResults & { label: string })[],
  rewards: readonly Reward[],
  out: string,
  { events }: Context,
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

const withoutLabel = ({ label: _, ...results }: SetResults & { label: string }): SetResults => results;

const titleOf = (label: string, pairs: number, [row]: readonly Row[]): string =>
  `Pairwise accuracy on ${label}, ${pairs} pairs${row?.protocol ? `, ${row.protocol}` : ''}`;

const NAMED_BAD = 5;

interface Scoring {
  team: Team;
  out: string;
  context: Context;
  /** Of the set, where there are several. */
  label: string;
}

async function scoreSet(
  { scores, validation }: JudgedSet,
  rewards: readonly Reward[],
  asked: AskedViewing,
  scoring: Scoring,
): Promise<ScoredColumn[]> {
  const { events } = scoring.context;
  const columns: ScoredColumn[] = [];
  for (const reward of rewards) {
    const viewing = viewingFor(reward, asked);
    if (viewing.levels.length < asked.levels.values.length)
      events.emit({ event: 'warning', message: `${reward.name} scores clean images only: timestep 0` });
    if (viewing.levels.length === 0) continue;
    const found = await scoreOne(scores, reward, viewing, scoring);
    const before = validation && (await scoreOne(validation.scores, reward, viewing, scoring, 'validation'));
    const definitions = reward.definitions(viewing);
    for (const [i, level] of viewing.levels.entries()) {
      const column = (all: Float64Array[]) => ({
        ...{ reward: reward.name, level, scale: reward.scale ?? 1, scores: all[i] as Float64Array },
      });
      columns.push({
        ...column(found),
        viewing: definitions[i] as string,
        ...(before && { validation: column(before) }),
      });
    }
  }
  if (columns.length === 0)
    throw new DrmError('USAGE', '--timesteps: none of the rewards scores noisy latents; let 0 be among them');
  return columns;
}

async function scoreOne(
  scores: PairScores,
  reward: Reward,
  viewing: Viewing,
  { team, out, context: { events, signal }, label }: Scoring,
  part = '',
): Promise<Float64Array[]> {
  const began = performance.now();
  const of = [label, part].filter((text) => text !== '').join(', ');
  let named = 0;
  const warn = (message: string) => events.emit({ event: 'warning', message });
  return scores
    .score(reward, viewing, out, {
      signal,
      team,
      onScores: (step, total) =>
        events.emit({
          event: 'progress',
          id: `score ${reward.name}${of && ` ${of}`}`,
          label: `scoring ${of && `${of} `}by ${short(reward.name, NAME)}`,
          step,
          total,
          unit: 'score',
          seconds: (performance.now() - began) / 1000,
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
