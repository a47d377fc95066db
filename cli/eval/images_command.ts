// `drm eval images`: makes a model's pictures of some prompts and lets scorers judge them, a row for each setting.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { Pipeline, setThreads } from '../../binding/index.js';
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
import { askedPrompts, plan } from '../sample/jobs.js';
import { sampleSettings } from '../sample/settings.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { VERSION } from '../version.js';
import { type Maker, makePictures } from './images.js';
import { captionsOf, Judge, referenceSamples, type Verdict } from './judge.js';
import type { Watch } from './retrieval.js';
import { loadScorers } from './scorers.js';
import { percent, plusMinus, table } from './table.js';

/** Options that a sweep may vary. */
const SWEPT = ['guidance', 'steps'] as const;
const SHEET = { pictures: 64, columns: 8 };

interface Setting {
  /** As in the table, and as a folder's name: 'guidance=3'. */
  name: string;
  settings: SampleSettings;
}

interface Row {
  setting: string;
  folder: string;
  settings: SampleSettings;
  pictures: number;
  /** Undefined when all pictures are of earlier runs that did not say. */
  seconds_per_picture?: number;
  verdicts: Verdict[];
}

interface Results {
  drm: string;
  model: string;
  weights: string;
  reference?: { folder: string; pictures: number; captions: number; verdicts: Verdict[] };
  rows: Row[];
}

/** Every combination of the swept values; one nameless setting without a sweep. */
function settingsOf(context: Context): Setting[] {
  const sweeps = ((context.options.sweep as string[] | undefined) ?? []).map((text) => {
    const [key = '', list = ''] = text.split(/=(.*)/s);
    const values = list.split(',').map((value) => value.trim());
    if (!SWEPT.some((name) => name === key) || values.includes(''))
      throw new DrmError(
        'USAGE',
        `--sweep ${text}: expected ${SWEPT.join(' or ')} and values, such as --sweep guidance=1,2,3`,
      );
    return values.map((value) => ({ key, value }));
  });
  const combinations = sweeps.reduce<{ key: string; value: string }[][]>(
    (all, values) => all.flatMap((chosen) => values.map((value) => [...chosen, value])),
    [[]],
  );
  const names = new Set<string>();
  return combinations.flatMap((chosen) => {
    const name = chosen.map(({ key, value }) => `${key}=${value}`).join(' ');
    if (names.has(name)) return [];
    names.add(name);
    const options = { ...context.options, ...Object.fromEntries(chosen.map(({ key, value }) => [key, value])) };
    return [{ name, settings: sampleSettings({ ...context, options }, undefined) }];
  });
}

function earlierResults(file: string): Partial<Results> {
  if (!existsSync(file)) return {};
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<Results>;
  } catch {
    return {}; // only times are taken from there
  }
}

async function writeSheet(files: string[], path: string): Promise<void> {
  const decoded = await Promise.all(files.slice(0, SHEET.pictures).map((file) => decodePicture(readFileSync(file))));
  const pictures = decoded.filter((picture) => !(picture instanceof Drop)) as Picture[];
  await writeAtomically(path, await contactSheet(pictures, SHEET.columns));
}

const HEAD = ['setting', 'score', 'top-1 %', 'top-5 %', 'CMMD', 'unbiased', 's/pic'];

function cells(setting: string, { score, retrieval, cmmd }: Verdict, seconds?: number): string[] {
  return [
    setting,
    plusMinus(score, 4),
    retrieval ? percent(retrieval.top1) : '-',
    retrieval ? percent(retrieval.top5) : '-',
    cmmd ? cmmd.biased.toFixed(3) : '-',
    cmmd ? cmmd.unbiased.toFixed(3) : '-',
    seconds === undefined ? '-' : seconds.toFixed(2),
  ];
}

/** A table for each scorer: their numbers cannot be compared, those of settings can. */
function report(model: string, { rows, reference }: Results): string {
  const scorers = rows[0]?.verdicts ?? [];
  return scorers
    .map(({ scorer, unit, pictures, retrieval }, at) => {
      const lines = rows.map((row) =>
        cells(row.setting || model, row.verdicts[at] as Verdict, row.seconds_per_picture),
      );
      const real = reference?.verdicts.find((verdict) => verdict.scorer === scorer);
      if (real) lines.push(cells('real pictures', real));
      const among = retrieval ? `, captions found among ${retrieval.among}` : '';
      return `${scorer}: ${unit} of ${pictures} pictures${among}\n${table(HEAD, lines)}`;
    })
    .join('\n\n');
}

export async function evaluateImages(context: Context): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const settings = settingsOf(context);
  const [first] = settings as [Setting];
  if (options.prompts === undefined && options.prompt === undefined)
    throw new DrmError('USAGE', 'eval images: expected prompts; give --prompts FILE (one a line, or JSONL)');
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

    const resultsFile = join(out, 'results.json');
    const earlier = earlierResults(resultsFile);
    const maker = (name: string): Maker => ({
      model,
      weights,
      tokenizer: loadTokenizers(model.tokenizers),
      pipeline: async () => {
        pipeline ??= await Pipeline.load(
          model.source,
          { device, dtype },
          {
            signal,
            onProgress: (p) => events.emit({ event: 'progress', id: 'load', label: 'loading', unit: 'B', ...p }),
          },
        );
        return pipeline;
      },
      signal,
      onPicture: progress(`make ${name}`, `pictures${name && `, ${name}`}`),
      onWarning: warn,
    });
    for (const { name, settings: values } of settings) {
      const folder = name === '' ? out : join(out, name.replaceAll(' ', ',').replaceAll('=', '-'));
      await prepareFolder(folder);
      const { files, made, seconds } = await makePictures(folder, jobs, { ...values, dtype }, maker(name));
      const before = earlier.rows?.find((row) => row.folder === folder)?.seconds_per_picture;
      const each = made > 0 ? seconds / made : before;
      const verdicts: Verdict[] = [];
      for (const judge of judges) {
        const id = `judge ${judge.scorer.name} ${name}`;
        verdicts.push(await judge.verdict(files, watch(id, `judging by ${judge.scorer.name}`)));
      }
      results.rows.push({
        setting: name,
        folder,
        settings: { ...values, dtype },
        pictures: files.length,
        ...(each !== undefined && { seconds_per_picture: each }),
        verdicts,
      });
      if (options.grid) {
        const path = join(folder, 'grid.png');
        await writeSheet(files, path);
        events.emit({ event: 'image', path, width: 0, height: 0 });
      }
      await writeAtomically(resultsFile, `${JSON.stringify(results, null, 2)}\n`);
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
