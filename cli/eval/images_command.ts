// `drm eval images`: makes a model's pictures of some prompts and lets scorers judge them, a row for each setting.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { Pipeline, setThreads } from '../../binding/index.js';
import type { SampleSummary } from '../../binding/types.js';
import type { Context } from '../command.js';
import type { SampleSettings } from '../config/types.js';
import { CaptionedSet } from '../data/captioned_set.js';
import { decodePicture } from '../data/picture.js';
import { Drop } from '../data/source.js';
import { chooseDevice } from '../device.js';
import { prepareFolder, writeAtomically } from '../files.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { resolveModel } from '../hub/resolve.js';
import { contactSheet, type Picture } from '../image/write.js';
import { readShaped } from '../json.js';
import { findLoras, type Lora, tellLoras, textOf, usesOf } from '../lora/loras.js';
import { findReward } from '../rewards/registry.js';
import { askedPrompts, plan } from '../sample/jobs.js';
import { StepwiseReward } from '../sample/stepwise.js';
import { listOf, number, objectOf, optional, type ShapeOf, text } from '../shape.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { VERSION } from '../version.js';
import { type Maker, makePictures } from './images.js';
import { against, type Cost, type Results, report } from './images_report.js';
import { captionsOf, Judge, type Judgement, referenceSamples, type Verdict } from './judge.js';
import type { Watch } from './retrieval.js';
import { loadScorers } from './scorers.js';
import { folderOf, type Setting, settingsOf } from './sweeps.js';

const SHEET = { pictures: 64, columns: 8 };
/** Prompts on the sheet that has a column for each setting. */
const COMPARED = 12;

/** What is taken from an earlier run's results: times. */
const EARLIER = objectOf({
  rows: optional(
    listOf(
      objectOf({
        folder: text,
        seconds_per_picture: optional(number),
        cost: optional(objectOf<Cost>({ policy: number, reward: number, branch: number })),
      }),
    ),
  ),
});

function earlierResults(file: string): ShapeOf<typeof EARLIER> {
  const none = { rows: [] };
  if (!existsSync(file)) return none;
  try {
    return readShaped(file, EARLIER, { part: 'eval' });
  } catch {
    return none; // only times are taken from there
  }
}

async function writeSheet(files: string[], path: string): Promise<void> {
  const decoded = await Promise.all(files.slice(0, SHEET.pictures).map((file) => decodePicture(readFileSync(file))));
  const pictures = decoded.filter((picture) => !(picture instanceof Drop)) as Picture[];
  await writeAtomically(path, await contactSheet(pictures, SHEET.columns));
}

/** The first picture of the first prompts, a row each, a column for each setting. */
async function writeComparison(columns: readonly string[][], each: number, path: string): Promise<void> {
  const rows = Array.from({ length: Math.min(COMPARED, (columns[0]?.length ?? 0) / each) }, (_, i) => i * each);
  const files = rows.flatMap((picture) => columns.map((column) => column[picture] as string));
  const decoded = await Promise.all(files.map((file) => decodePicture(readFileSync(file))));
  if (decoded.some((picture) => picture instanceof Drop)) return;
  await writeAtomically(path, await contactSheet(decoded as Picture[], columns.length));
}

const costOf = ({ policySeconds, rewardSeconds, branchSeconds }: SampleSummary, made: number): Cost => ({
  policy: policySeconds / made,
  reward: rewardSeconds / made,
  branch: branchSeconds / made,
});

/** Of the reward model that chooses: pictures chosen by other weights are made again. */
function rewardFingerprint(name: string): string {
  const found = findReward(name);
  return found.kind === 'drm' ? weightsFingerprint({ reward: found.checkpoint }) : '';
}

export async function evaluateImages(context: Context): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const settings = settingsOf(context);
  const [first] = settings as [Setting];
  for (const { settings: one } of settings) StepwiseReward.find(one); // what cannot choose is refused now
  if (options.prompts === undefined && options.prompt === undefined)
    throw new DrmError('USAGE', 'eval images: expected prompts; give --prompts FILE (one a line, or JSONL)');
  const adapters = new Map<Setting, Lora[]>();
  for (const one of settings) adapters.set(one, await findLoras(one.settings.lora));
  const prompts = askedPrompts(context, undefined);
  const out = global.out ?? 'out/eval';
  await prepareFolder(out);
  const model = await resolveModel(first.settings.model, {});
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice(first.settings);
  const jobs = plan(prompts, first.settings);
  const captions = captionsOf(jobs.map(({ prompt }) => prompt));
  const weights = weightsFingerprint(model.source);
  const progress =
    (id: string, label: string, began = performance.now()) =>
    (step: number, total: number, seconds = (performance.now() - began) / 1000) =>
      events.emit({ event: 'progress', id, label, unit: 'picture', step, total, seconds });
  const watch = (id: string, label: string): Watch => ({ signal, onWarning: warn, onPictures: progress(id, label) });

  // Scorers and reference come first: what is missing there must not show after an hour of making pictures.
  const scorers = await loadScorers(context);
  let pipeline: Pipeline | undefined;
  let loaded = ''; // the adapters of that pipeline
  let reference: CaptionedSet | undefined;
  try {
    events.emit({
      event: 'started',
      version: 1,
      command: 'eval images',
      facts: {
        model: model.name,
        device,
        dtype,
        prompts: prompts.length,
        settings: settings.length,
        pictures: settings.length * jobs.length,
        scorers: scorers.map(({ name }) => name).join(', '),
      },
    });
    for (const note of model.notes) events.emit({ event: 'info', message: note });
    const judges = scorers.map((scorer) => new Judge(scorer, captions));
    const results: Results = { drm: VERSION, model: model.name, weights, rows: [] };
    if (options.reference !== undefined) {
      const folder = String(options.reference);
      reference = await CaptionedSet.open(folder);
      const { samples, matched } = referenceSamples(reference, captions.texts);
      if (matched === 0)
        warn(`no prompt is a caption of ${folder}: CMMD is taken to all its ${samples.length} pictures`);
      else if (matched < captions.texts.length)
        warn(
          `${matched} of ${captions.texts.length} prompts are captions of ${folder}: CMMD is taken to their pictures alone`,
        );
      const verdicts: Verdict[] = [];
      for (const judge of judges) {
        const id = `reference ${judge.scorer.name}`;
        const verdict = await judge.refer(reference, samples, watch(id, `real pictures by ${judge.scorer.name}`));
        if (verdict) verdicts.push(verdict);
      }
      results.reference = { folder, pictures: samples.length, captions: matched, verdicts };
    }

    const tokenizer = loadTokenizers(model.tokenizers);
    const resultsFile = join(out, 'results.json');
    const earlier = earlierResults(resultsFile);
    const maker = (name: string, values: SampleSettings, loras: Lora[], reward: StepwiseReward | undefined): Maker => ({
      model,
      loras,
      weights: values.k > 1 ? `${weights} ${rewardFingerprint(values.reward)}` : weights,
      tokenizer,
      pipeline: async () => {
        const wanted = loras.map(textOf).join(' ');
        if (pipeline && wanted === loaded) return pipeline;
        pipeline?.dispose();
        pipeline = await Pipeline.load(
          model.source,
          { device, dtype, loras: usesOf(loras) },
          {
            signal,
            onProgress: (p) => events.emit({ event: 'progress', id: 'load', label: 'loading', unit: 'B', ...p }),
          },
        );
        loaded = wanted;
        tellLoras(pipeline.info.loras, events);
        return pipeline;
      },
      ...(reward && {
        stepwise: async (asked, { info }) => {
          await reward.load(
            { device, dtype },
            {
              signal,
              onProgress: (p) =>
                events.emit({ event: 'progress', id: 'load-reward', label: 'loading the reward', unit: 'B', ...p }),
            },
          );
          return reward.request(values, asked, tokenizer, info, false);
        },
      }),
      signal,
      onPicture: progress(`make ${name}`, `pictures${name && `, ${name}`}`),
      onWarning: warn,
    });
    const columns: string[][] = [];
    let firstJudgements: Judgement[] = [];
    for (const setting of settings) {
      const { name, settings: values } = setting;
      const folder = name === '' ? out : join(out, folderOf(name));
      await prepareFolder(folder);
      const reward = StepwiseReward.find(values);
      const { files, made, seconds, summary } = await makePictures(
        folder,
        jobs,
        { ...values, dtype },
        maker(name, values, adapters.get(setting) as Lora[], reward),
      ).finally(() => reward?.dispose());
      columns.push(files);
      const before = earlier.rows?.find((row) => row.folder === folder);
      const each = made > 0 ? seconds / made : before?.seconds_per_picture;
      const cost = device === 'cpu' && summary ? costOf(summary, made) : before?.cost;
      const judgements: Judgement[] = [];
      for (const judge of judges) {
        const id = `judge ${judge.scorer.name} ${name}`;
        judgements.push(await judge.judge(files, watch(id, `judging by ${judge.scorer.name}`)));
      }
      if (columns.length === 1) firstJudgements = judgements;
      const firstEach = results.rows[0]?.seconds_per_picture;
      results.rows.push({
        setting: name,
        folder,
        settings: { ...values, dtype },
        pictures: files.length,
        ...(each !== undefined && { seconds_per_picture: each }),
        ...(each !== undefined && firstEach !== undefined && { time_ratio: each / firstEach }),
        ...(cost && { cost }),
        verdicts: judgements.map(({ verdict }) => verdict),
        ...(columns.length > 1 && {
          against_first: judgements.map((one, i) => against(one, firstJudgements[i] as Judgement)),
        }),
      });
      if (options.grid) {
        const path = join(folder, 'grid.png');
        await writeSheet(files, path);
        events.emit({ event: 'image', path, width: 0, height: 0 });
      }
      await writeAtomically(resultsFile, `${JSON.stringify(results, null, 2)}\n`);
    }
    if (options.grid && columns.length > 1) {
      const path = join(out, 'compare.png');
      await writeComparison(columns, first.settings.n, path);
      events.emit({ event: 'image', path, width: 0, height: 0 });
    }
    events.emit({ event: 'result', text: report(model.name, results), data: results });
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { pictures: results.rows.reduce((sum, row) => sum + row.pictures, 0), results: resultsFile },
    });
  } finally {
    for (const scorer of scorers) scorer.dispose();
    pipeline?.dispose();
    await reference?.close();
  }
}
