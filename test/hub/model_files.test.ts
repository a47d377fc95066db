// JSON files of a model that are not what they should be: named, with exit code 3.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveModel } from '../../cli/hub/resolve.js';
import { shardsOf } from '../../cli/hub/weight_index.js';
import { describeReward } from '../../cli/rewards/describe.js';
import { clipTokenizerJson } from '../../cli/text/clip_files.js';
import { write } from '../data/images.js';
import { ODD, outcome, refused } from '../data/odd_files.js';
import { repository, temporaryFolder } from '../run_drm.js';

test('model_index.json', async () => {
  const folder = temporaryFolder();
  for (const text of ODD.filter((one) => !/^\{./.test(one) && one !== '{}')) {
    writeFileSync(join(folder, 'model_index.json'), text);
    expect(await outcome(() => resolveModel(folder)), text).toMatchObject({
      code: 3,
      message: expect.stringContaining('model_index.json'),
    });
  }
  const index = { _class_name: ['x'], scheduler: null, transformer: [null, null], vae: {}, text_encoder_3: 'x' };
  writeFileSync(join(folder, 'model_index.json'), JSON.stringify(index));
  expect((await outcome(() => resolveModel(folder)))?.code).not.toBe(1);
});
test('an index of weights', async () => {
  const file = join(temporaryFolder(), 'model.safetensors.index.json');
  await refused(file, { weight_map: {} }, () => shardsOf(file), ['weight_map']);
  writeFileSync(file, JSON.stringify({ weight_map: { a: 'gone.safetensors' } }));
  expect(() => shardsOf(file)).toThrow(
    expect.objectContaining({ code: 'MISSING_WEIGHTS', message: expect.stringContaining('gone.safetensors') }),
  );
});
test('vocab.json and special_tokens_map.json', async () => {
  const special = { content: '<|endoftext|>', lstrip: null };
  const folder = write(temporaryFolder(), {
    'merges.txt': '#version\n',
    'vocab.json': '{"<|startoftext|>": 0, "<|endoftext|>": 1}',
    'special_tokens_map.json': JSON.stringify({ eos_token: special, bos_token: null, pad_token: '<|endoftext|>' }),
  });
  const { added_tokens } = JSON.parse(clipTokenizerJson(folder));
  expect(added_tokens.map(({ id, lstrip }: { id: number; lstrip: boolean }) => [id, lstrip])).toEqual([
    [0, false],
    [1, false],
  ]);
  const file = join(folder, 'special_tokens_map.json');
  const read = () => clipTokenizerJson(folder);
  for (const text of [
    'null',
    '[]',
    '"x"',
    '{"eos_token": 5}',
    '{"eos_token": {}}',
    '{"eos_token": {"content": 5}}',
    '{"eos_token": {"content": "x", "lstrip": "no"}}',
  ]) {
    writeFileSync(file, text);
    expect(await outcome(read), text).toMatchObject({ code: 3, message: expect.stringContaining(file) });
  }
  writeFileSync(file, '{"eos_token": "toString"}');
  expect(read).toThrow('expected an id for toString, found none');
  writeFileSync(file, '{}');
  for (const text of [...ODD, '{"a": "1"}', '{"a": -1}']) {
    writeFileSync(join(folder, 'vocab.json'), text);
    expect(await outcome(read), text).toMatchObject({ code: 3, message: expect.stringContaining('vocab.json') });
  }
});
test('config.json of a reward model', async () => {
  const file = join(temporaryFolder(), 'config.json');
  const right = JSON.parse(readFileSync(join(repository, 'models/tiny-drm/config.json'), 'utf8'));
  writeFileSync(file, JSON.stringify(right));
  expect(describeReward({ config: file })?.size).toBe(right.size);
  for (const text of [
    ...ODD,
    ...[{ backbone: [] }, { head: 'x' }, { base: 5 }, { base_vae_sha256: {} }, { size: '64' }].map((odd) =>
      JSON.stringify({ ...right, ...odd }),
    ),
  ]) {
    writeFileSync(file, text);
    expect(await outcome(() => describeReward({ config: file })), text).toMatchObject({
      code: 3,
      message: expect.stringContaining(file),
    });
  }
});
