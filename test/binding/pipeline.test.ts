// The binding with a real pipeline, the small one of the fixtures: what crosses, and who owns what when things end early.
// Its numbers are checked by the golden cases.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Pipeline } from '../../binding/index.js';
import type { LoadOptions, NativeEvent, PipelineSource, PromptTokens, SampleRequest } from '../../binding/types.js';
import { dist, resultOf, root, runScript } from './process.js';

const model = join(root, 'test', 'golden', 'pipeline');
const component = (name: string, file: string) => ({
  config: join(model, name, 'config.json'),
  weights: [join(model, name, file)],
});
const source: PipelineSource = {
  transformer: component('transformer', 'diffusion_pytorch_model.safetensors'),
  vae: component('vae', 'diffusion_pytorch_model.safetensors'),
  textEncoder: component('text_encoder', 'model.safetensors'),
  textEncoder2: component('text_encoder_2', 'model.safetensors'),
  textEncoder3: component('text_encoder_3', 'model.safetensors'),
  schedulerConfig: join(model, 'scheduler', 'scheduler_config.json'),
};
const options: LoadOptions = { device: 'cpu', dtype: 'fp32' };

/** Ids in the fixtures' small vocabularies: begin, two words, end, then padding. */
const tokens = (): PromptTokens => ({
  clipL: BigInt64Array.from({ length: 77 }, (_, i) => [932n, 5n, 6n][i] ?? 933n),
  clipG: BigInt64Array.from({ length: 77 }, (_, i) => [932n, 5n, 6n][i] ?? 933n),
  t5: BigInt64Array.from({ length: 256 }, (_, i) => [7n, 8n, 1n][i] ?? 0n),
});
const request = (change: Partial<SampleRequest> = {}): SampleRequest => ({
  prompts: [tokens()],
  negatives: [tokens()],
  images: [
    { prompt: 0, negative: 0, seed: 0n },
    { prompt: 0, negative: 0, seed: 2n ** 64n - 1n },
  ],
  steps: 3,
  guidance: 4.5,
  height: 64,
  width: 96,
  t5Length: 256,
  batch: 0,
  freeEncoders: false,
  decode: true,
  previewEvery: 0,
  tile: 0,
  ...change,
});

describe('Pipeline', () => {
  test('loads, tells about itself, samples images, is disposed', async () => {
    const pipeline = await Pipeline.load(source, options);
    expect(pipeline.info).toMatchObject({ device: 'cpu', dtype: 'fp32', vaeFactor: 8 });
    expect(pipeline.info.weightBytes).toBeGreaterThan(0);

    const images: NativeEvent[] = [];
    let steps = 0;
    const summary = await pipeline.sample(request(), {
      onEvent: (event) => images.push(event),
      onProgress: ({ phase, step }) => {
        if (phase === 'denoise') steps = step;
      },
    });
    expect(summary).toMatchObject({ images: 2, width: 96, height: 64 });
    expect(steps).toBe(3);
    expect(images.map(({ kind, index, width, height }) => ({ kind, index, width, height }))).toEqual([
      { kind: 'image', index: 0, width: 96, height: 64 },
      { kind: 'image', index: 1, width: 96, height: 64 },
    ]);
    for (const { bytes } of images) expect(bytes).toHaveLength(96 * 64 * 3);

    pipeline.dispose();
    pipeline.dispose();
    await expect(pipeline.sample(request())).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('finishes a job that runs while it is disposed', async () => {
    const pipeline = await Pipeline.load(source, options);
    const job = pipeline.sample(request({ steps: 20 }));
    pipeline.dispose();
    await expect(job).resolves.toMatchObject({ images: 2 });
  });

  test('runs calls one after the other', async () => {
    const pipeline = await Pipeline.load(source, options);
    const summaries = await Promise.all([1, 2, 3].map(() => pipeline.sample(request({ steps: 2 }))));
    expect(summaries.map(({ images }) => images)).toEqual([2, 2, 2]);
    pipeline.dispose();
  });

  test('copies the request when it is called: later changes do not reach the job', async () => {
    const pipeline = await Pipeline.load(source, options);
    const seen = async (change: boolean) => {
      let image: Uint8Array | undefined;
      const one = request({ images: [{ prompt: 0, negative: 0, seed: 1n }] });
      const job = pipeline.sample(one, {
        onEvent: ({ bytes }) => {
          image = bytes;
        },
      });
      if (change) {
        one.prompts[0]?.clipL.fill(9n);
        one.steps = 1;
      }
      await job;
      return image;
    };
    expect(await seen(true)).toEqual(await seen(false));
    pipeline.dispose();
  });

  test('stops sampling on abort', async () => {
    const pipeline = await Pipeline.load(source, options);
    const controller = new AbortController();
    const job = pipeline.sample(request({ steps: 100_000 }), {
      signal: controller.signal,
      onProgress: ({ phase }) => phase === 'denoise' && controller.abort(),
    });
    await expect(job).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(pipeline.sample(request())).resolves.toMatchObject({ images: 2 });
    pipeline.dispose();
  });

  test('tells even a slow listener that each phase has ended', async () => {
    const pipeline = await Pipeline.load(source, options);
    const last: Record<string, number> = {};
    await pipeline.sample(request({ steps: 20 }), {
      onProgress: ({ phase, step, total }) => {
        const until = performance.now() + 20;
        while (performance.now() < until);
        last[phase] = step / total;
      },
    });
    expect(last).toEqual({ encode: 1, denoise: 1, decode: 1 });
    pipeline.dispose();
  });

  test('reports what is wrong with files and requests', async () => {
    const nowhere = { ...source, transformer: { ...source.transformer, config: '/nowhere/config.json' } };
    await expect(Pipeline.load(nowhere, options)).rejects.toMatchObject({
      name: 'DrmError',
      code: 'BAD_FILE',
      message: expect.stringContaining('/nowhere/config.json'),
    });
    const pipeline = await Pipeline.load(source, options);
    await expect(pipeline.sample(request({ steps: -1 }))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    const seed = { images: [{ prompt: 0, negative: 0, seed: 2n ** 64n }] };
    await expect(pipeline.sample(request(seed))).rejects.toThrow(/images\[0\]\.seed: expected a bigint from 0/);
    const ids = { prompts: [{ ...tokens(), clipL: new Int32Array(77) as unknown as BigInt64Array }] };
    await expect(pipeline.sample(request(ids))).rejects.toThrow(/prompts\[0\]\.clipL: expected a BigInt64Array/);
    pipeline.dispose();
  });
});

describe('a process that samples', () => {
  const script = (body: string) => `
    import { Pipeline } from '${dist('binding/index.js')}';
    const ids = (length, ids, pad) => BigInt64Array.from({ length }, (_, i) => ids[i] ?? pad);
    const tokens = { clipL: ids(77, [932n, 5n], 933n), clipG: ids(77, [932n, 5n], 933n), t5: ids(256, [7n, 1n], 0n) };
    const request = { ...${JSON.stringify(request({ prompts: [], negatives: [], images: [], steps: 100_000 }))},
      prompts: [tokens], negatives: [tokens], images: [{ prompt: 0, negative: 0, seed: 0n }] };
    const load = () => Pipeline.load(${JSON.stringify(source)}, ${JSON.stringify(options)});
    ${body}`;

  // libtorch's threads compute while the process leaves: its static objects must not be destroyed under them.
  test('leaves at any moment with its exit code', async () => {
    for (let i = 0; i < 8; ++i) {
      const ended = await runScript(
        script(`const pipeline = await load();
          pipeline.sample(request).catch(() => {});
          setTimeout(() => process.exit(7), ${Math.random() * 60});`),
      );
      expect(ended).toMatchObject({ code: 7, signal: null, stderr: '' });
    }
  });

  test('may forget its pipelines: they are collected', async () => {
    const growth = await resultOf<number>(
      script(`
        const rounds = async (count) => {
          for (let i = 0; i < count; ++i) { await load(); if (i % 5 === 4) { gc(); await sleep(5); } }
          gc(); await sleep(20);
          return process.memoryUsage().rss;
        };
        const before = await rounds(10);
        print((await rounds(40)) - before);`),
      { args: ['--expose-gc'], env: { MALLOC_ARENA_MAX: '1' } },
    );
    expect(growth).toBeLessThan(60e6);
  });
});
