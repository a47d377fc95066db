// A set is its file and one line: the sources of `drm data prepare`, its flags and errors follow, and so does `drm eval`.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { PUBLISHED_SETS } from '../../../cli/data/sets/registry.js';
import { commandOf, refusedHere, runHere } from '../../e2e/here.js';
import { temporaryFolder } from '../../run_drm.js';
import { pngOf, write } from '../images.js';
import { toySet } from './toy_set.js';

PUBLISHED_SETS.toy = toySet;
const { command } = await import('../../../cli/commands/data.js');
const { describe: described } = await import('../../../cli/commands/describe.js');
const { findListFiles, splitKey } = await import('../../../cli/eval/judged_lists.js');
const { ownFigures } = await import('../../../cli/eval/pair_accuracy.js');

const PUBLISHED = 'hpdv3, hpdv2, imagereward, pickapic, toy';

async function toyFolder(): Promise<string> {
  const list = [
    ['a cat', '1.png', '2.png'],
    ['a dog', '3.png', '4.png'],
  ];
  const images = Object.fromEntries(
    await Promise.all([1, 2, 3, 4].map(async (number) => [`${number}.png`, await pngOf(number)])),
  );
  return write(temporaryFolder(), { 'test.json': JSON.stringify(list), ...images });
}

test('is a source, by its own flags', async () => {
  const [from, out] = [await toyFolder(), join(temporaryFolder(), 'out')];
  const events = await runHere(command, ['prepare', 'toy', '--from', from, '--from-last', '--out', out]);
  expect(events.at(-1)).toMatchObject({ event: 'done', facts: { records: 2, kept: 2 } });
  expect(readManifest(out, 'pairs')).toMatchObject({ settings: { source: 'toy', last: true }, splits: { test: 2 } });
});

test('is named in the help and where a source is none of them', async () => {
  const { command: prepare } = commandOf(command, ['prepare']);
  const words = (text: string) => text.replace(/\s+/g, ' ').replaceAll('"', '');
  const help = described(prepare).helpInformation();
  expect(words(help)).toContain(`choices: ${PUBLISHED}, jsonl, webdataset, emoji, emoji-prefs`);
  expect(help).toContain('--from-last');
  const out = join(temporaryFolder(), 'out');
  for (const name of ['hpdv4', 'constructor', '__proto__']) {
    let said = '';
    const program = described(prepare)
      .exitOverride()
      .configureOutput({ writeErr: (text) => (said += text) });
    expect(() => program.parse([name, '--from', '.', '--out', out], { from: 'user' })).toThrow();
    expect(words(said)).toContain(`Allowed choices are ${PUBLISHED}, jsonl`);
  }
  await refusedHere(command, ['prepare', 'toy'], 2, [
    'data prepare toy: expected what to read and a folder to write to',
  ]);
});

test('its lists are found and counted by its own protocol', async () => {
  const folder = await toyFolder();
  expect(splitKey('toy_test')).toEqual({ set: 'toy', split: 'test' });
  expect(findListFiles(folder, 'toy', 'test')).toEqual([join(folder, 'test.json')]);
  expect(() => findListFiles(folder, 'toy', 'train')).toThrow('the train list of toy (train.json) there or in toy/');
  const pair = { prompt: 'a cat', chosen: 0, rejected: 1, group: 'a cat', ranks: [1, 2] };
  const column = { reward: 'r', level: 0, scale: 1, scores: [0.9, 0.1] };
  const figures = ownFigures('toy', [pair] as never, column as never);
  expect(figures.map(({ protocol }) => protocol)).toEqual(['rank']);
});
