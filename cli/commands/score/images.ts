// `drm score`.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { setThreads } from '../../../binding/index.js';
import { progressOf, secondsSince } from '../../common/events.js';
import { prepareFolder, writeAtomically } from '../../common/files.js';
import { Drop } from '../../data/io/drop.js';
import { decodeImage } from '../../data/io/image.js';
import { KeptImages } from '../../eval/kept_images.js';
import { type ListJob, readListJobs } from '../../eval/list_jobs.js';
import { noiseKey } from '../../eval/pair_scores.js';
import { NAME, short } from '../../eval/pairs_report.js';
import { type AskedViewing, askedViewing, sizeNotes, VIEWING_PROTOCOLS, viewingFor } from '../../eval/viewing.js';
import type { Image } from '../../image/write.js';
import { CLEAN_LEVEL } from '../../rewards/levels.js';
import { loadRewards } from '../../rewards/load.js';
import type { Judged, Reward } from '../../rewards/reward.js';
import { cutEnd } from '../../text/columns.js';
import { visibleLine } from '../../text/visible.js';
import { table, wrapped } from '../../ui/table.js';
import type { ScoreContext } from './options.js';

interface Row {
  reward: string;
  prompt: string;
  image: string;
  score: number;
  /** Its standard deviation, of a reward that says how sure it is. */
  deviation?: number;
}

/** Images decoded, and given to a reward, at a time. */
const CHUNK = 32;

function askedJobs(context: ScoreContext): ListJob[] {
  const { options, args } = context;
  const [images] = args;
  if (options.pairs !== undefined) {
    if (images.length > 0 || options.prompt !== undefined)
      throw new DrmError('USAGE', 'score: expected --pairs FILE, or --prompt TEXT with images, found both');
    return readListJobs(options.pairs);
  }
  if (options.prompt === undefined)
    throw new DrmError('USAGE', 'score: expected a prompt; give --prompt "a red fox", or --pairs FILE');
  if (images.length === 0) throw new DrmError('USAGE', 'score: expected at least one image');
  return [{ prompt: options.prompt, names: images, paths: images, preferred: false }];
}

export async function scoreFiles(context: ScoreContext): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const names = options.reward ?? [];
  if (names.length === 0) throw new DrmError('USAGE', 'score: expected a reward; give --reward tiny');
  const asked = askedViewing(options, '--timestep', options.timestep, options.protocol);
  const [timestep = 0, ...more] = asked.levels.values;
  if (more.length > 0)
    throw new DrmError('USAGE', `--timestep ${options.timestep}: expected one; \`drm eval pairs\` takes several`);
  const jobs = askedJobs(context);
  if (global.threads !== undefined) setThreads(global.threads);
  const images = jobs.flatMap((job) => job.paths.map((path, i) => ({ job, path, name: job.names[i] as string })));
  const rewards = await loadRewards(names, {
    device: global.device,
    dtype: global.dtype,
    model: options.model,
    later: true,
    signal,
    onWarning: (message) => events.emit({ event: 'warning', message }),
    onProgress: (p) => events.emit({ event: 'progress', id: 'load', label: 'loading', unit: 'B', ...p }),
  });
  try {
    for (const { name, sees } of rewards)
      if (sees === 'images' && timestep > 0)
        throw new DrmError('USAGE', `--timestep ${timestep}: ${name} scores clean images only; leave it out`);
    for (const message of sizeNotes(rewards, asked.size)) events.emit({ event: 'warning', message });
    events.emit({
      event: 'started',
      version: 1,
      command: 'score',
      facts: { rewards: rewards.map(({ name }) => name).join(', '), prompts: jobs.length, images: images.length },
    });
    const found: Found = { rows: [], bad: [] };
    const kept = new KeptImages(rewards.length);
    for (const [i, reward] of rewards.entries()) {
      const label = rewards.length > 1 ? `scoring by ${short(reward.name, NAME)}` : 'scoring';
      const tell = progressOf(events, { id: 'score', label, unit: 'image' }, started);
      const onImages = (done: number) => tell(i * images.length + done, rewards.length * images.length);
      const own = await scoredBy(reward, images, asked, { kept, signal, onImages });
      found.rows.push(...own.rows);
      found.bad = own.bad; // the same for each
      if (reward.bytes !== undefined) reward.dispose(); // the next one may need the memory
    }
    const { rows, bad } = found;
    for (const { image, reason } of bad) events.emit({ event: 'warning', message: `${image}: ${reason}` });
    await give(rows, bad, jobs, rewards, asked, context);
    if (bad.length > 0)
      throw new DrmError(
        'BAD_FILE',
        `[score] ${bad.length} of ${images.length} images could not be read: ${bad
          .slice(0, 3)
          .map(({ image }) => image)
          .join(', ')}${bad.length > 3 ? ', …' : ''}; the others have their scores`,
      );
    events.emit({
      event: 'done',
      seconds: secondsSince(started),
      facts: { images: images.length, scores: rows.length },
    });
  } finally {
    for (const reward of rewards) reward.dispose();
  }
}

interface Bad {
  image: string;
  reason: string;
}

interface Found {
  rows: Row[];
  bad: Bad[];
}

interface Asked {
  job: ListJob;
  path: string;
  name: string;
}

/** All images by one reward, some at a time. */
async function scoredBy(
  reward: Reward,
  images: readonly Asked[],
  asked: AskedViewing,
  { kept, signal, onImages }: { kept: KeptImages; signal: AbortSignal; onImages(done: number): void },
): Promise<Found> {
  const found: Found = { rows: [], bad: [] };
  for (let begin = 0; begin < images.length; begin += CHUNK) {
    signal.throwIfAborted();
    const ready = await open(images.slice(begin, begin + CHUNK), found.bad, kept);
    const judged = ready.map((one) => one.judged);
    const { scores, deviations } = await scoresOf(reward, judged, asked, signal);
    for (const [i, { name, judged: of }] of ready.entries())
      found.rows.push({
        ...{ reward: reward.name, prompt: of.prompt, image: name, score: scores[i] as number },
        ...(deviations && { deviation: deviations[i] as number }),
      });
    onImages(Math.min(begin + CHUNK, images.length));
  }
  return found;
}

async function scoresOf(
  reward: Reward,
  judged: readonly Judged[],
  asked: AskedViewing,
  signal: AbortSignal,
): Promise<{ scores: readonly number[]; deviations?: readonly number[] }> {
  if (reward.withDeviations) return reward.withDeviations(judged, { signal });
  const [scores = []] = await reward.score(judged, viewingFor(reward, asked), { signal });
  return { scores };
}

async function open(some: readonly Asked[], bad: Bad[], kept: KeptImages) {
  const ready: { name: string; judged: Judged }[] = [];
  const read = await Promise.all(some.map(({ path }) => kept.get(path, () => openImage(path))));
  for (const [i, found] of read.entries()) {
    const { name, job } = some[i] as Asked;
    if (found instanceof Drop) bad.push({ image: name, reason: `${found.reason}: ${found.detail}` });
    else {
      const { noise: key, ...image } = found;
      ready.push({ name, judged: { image, prompt: job.prompt, key } });
    }
  }
  return ready;
}

async function openImage(path: string): Promise<(Image & { noise: number }) | Drop> {
  const bytes = await readFile(path).catch((error: Error) => new Drop('missing_image', error.message));
  if (bytes instanceof Drop) return bytes;
  const decoded = await decodeImage(bytes);
  return decoded instanceof Drop ? decoded : { ...decoded, noise: noiseKey(bytes) };
}

/** Of lines with a chosen and a rejected image: how often the chosen one scores higher. */
function accuracies(rows: readonly Row[], jobs: readonly ListJob[], rewards: readonly Reward[]) {
  const pairs = jobs.filter(({ preferred }) => preferred);
  if (pairs.length === 0) return [];
  return rewards.map(({ name }) => {
    const own = new Map(rows.flatMap((r) => (r.reward === name ? [[`${r.prompt}\n${r.image}`, r.score]] : [])));
    const scored = pairs.flatMap(({ prompt, names: [chosen, rejected] }) => {
      const [a, b] = [own.get(`${prompt}\n${chosen}`), own.get(`${prompt}\n${rejected}`)];
      return a === undefined || b === undefined ? [] : [a > b];
    });
    return { reward: name, right: scored.filter(Boolean).length, of: scored.length };
  });
}

async function give(
  rows: readonly Row[],
  bad: readonly Bad[],
  jobs: readonly ListJob[],
  rewards: readonly Reward[],
  asked: AskedViewing,
  { events, global }: ScoreContext,
): Promise<void> {
  const definitions = rewards.map((reward) => {
    const viewing = viewingFor(reward, asked);
    const { timestep, sigma } = viewing.levels[0] ?? CLEAN_LEVEL;
    return {
      reward: reward.name,
      unit: reward.unit,
      timestep,
      sigma,
      ...(asked.protocol && { protocol: asked.protocol }),
      definition: reward.definitions(viewing)[0],
    };
  });
  const pairs = accuracies(rows, jobs, rewards);
  const several = rewards.length > 1;
  const prompts = jobs.length > 1;
  const unsure = rows.some(({ deviation }) => deviation !== undefined);
  const lines = rows.map(({ reward, prompt, image, score: value, deviation }) => [
    image,
    ...(prompts ? [cutEnd(visibleLine(prompt), 30)] : []),
    ...(several ? [reward] : []),
    value.toFixed(4),
    ...(unsure ? [deviation === undefined ? '-' : deviation.toFixed(4)] : []),
  ]);
  const head = [
    'image',
    ...(prompts ? ['prompt'] : []),
    ...(several ? ['reward'] : []),
    several ? 'score' : (rewards[0]?.unit ?? 'score'),
    ...(unsure ? ['sigma'] : []),
  ];
  const notes = [
    ...pairs.map(({ reward, right, of }) => `${reward}: ${right} of ${of} pairs right (equal scores wrong)`),
    ...(asked.protocol ? [`${asked.protocol}: ${VIEWING_PROTOCOLS[asked.protocol]}`] : []),
    ...definitions.map(({ reward, definition }) => `${reward}: ${definition}`),
  ];
  const data = { scores: rows, bad, pairs, definitions };
  const text =
    rows.length > 0
      ? [table(head, lines, head.length - (unsure ? 2 : 1)), '', ...notes.map((n) => wrapped(n))].join('\n')
      : '';
  if (global.out !== undefined) {
    await prepareFolder(global.out);
    await writeAtomically(join(global.out, 'scores.json'), `${JSON.stringify(data, null, 2)}\n`);
  }
  if (rows.length > 0) events.emit({ event: 'result', text, data });
}
