import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DrmError, ERROR_CODES } from '../../binding/error.js';
import type { PipelineHandle } from '../../binding/handles.js';
import { runtimeInfo, setThreads } from '../../binding/index.js';
import { runJob } from '../../binding/job.js';
import { callNative, native } from '../../binding/native.js';
import type { SampleRequest } from '../../binding/types.js';
import { dist, runScript } from './process.js';

describe('a failed job', () => {
  const native_codes = ERROR_CODES.slice(0, ERROR_CODES.indexOf('USAGE'));
  test.each(native_codes)('rejects with code %s, message and details', async (code) => {
    const job = runJob({}, (addon, listen) => addon.testJob({ steps: 2, fail: code }, listen));
    const error = await job.catch((caught) => caught);
    expect(error).toBeInstanceOf(DrmError);
    expect(error).toMatchObject({ name: 'DrmError', code, message: '[testJob] asked to fail', details: { step: '2' } });
  });

  test('shows where in JavaScript it was started', async () => {
    async function theCaller() {
      return await runJob({}, (addon, listen) => addon.testJob({ steps: 1, fail: 'DISK' }, listen));
    }
    const error: Error = await theCaller().catch((caught) => caught);
    expect(error.stack).toMatch(/^DrmError: \[testJob\] asked to fail\n/);
    expect(error.stack).toContain('theCaller');
  });
});

describe('wrong arguments', () => {
  const request = {} as SampleRequest;
  test.each([
    ['undefined', undefined],
    ['a number', 5],
    ['a plain object', {}],
    ['a handle of another type', native().testHandle()],
  ])('%s is not a pipeline', (_, wrong) => {
    const handle = wrong as unknown as PipelineHandle;
    const refusal = expect.objectContaining({ code: 'BAD_REQUEST', message: expect.stringContaining('a pipeline') });
    expect(() => callNative((addon) => addon.sample(handle, request, () => {}))).toThrow(refusal);
    expect(() => callNative((addon) => addon.pipelineInfo(handle))).toThrow(refusal);
    expect(() => callNative((addon) => addon.disposePipeline(handle))).toThrow(refusal);
  });

  test('a missing or mistyped field is named', () => {
    const start = (options: object) => () =>
      callNative((addon) => addon.testJob(options as { steps: number }, () => {}));
    expect(start({})).not.toThrow();
    expect(start({ steps: 'many' })).toThrow(/test options\.steps: expected a number/);
    expect(start({ steps: 1.5 })).toThrow(/test options\.steps: expected a whole number/);
    expect(start({ steps: Number.NaN })).toThrow(/steps: expected a whole number/);
    expect(() => callNative((addon) => addon.testJob({ steps: 1 }, undefined as never))).toThrow(/listener/);
  });

  test.each([0, -1, 5000, 1.5, Number.NaN])('%s threads are refused or rounded, never obeyed blindly', (count) => {
    const before = runtimeInfo().threads;
    if (count === 1.5) expect(() => setThreads(count)).not.toThrow();
    else expect(() => setThreads(count)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    setThreads(before);
    expect(runtimeInfo().threads).toBe(before);
  });
});

test('the addon exports what binding/native.ts declares, no more and no less', () => {
  const source = readFileSync(join(import.meta.dirname, '../../binding/native.ts'), 'utf8');
  const members = /export interface Native \{\n(.*?)\n\}/s.exec(source)?.[1] ?? '';
  const declared = [...members.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
  expect(declared.length).toBeGreaterThan(40);
  expect(Object.keys(native()).sort()).toEqual(declared.sort());
});

describe('an addon that cannot be loaded', () => {
  const script = `
    import { runtimeInfo } from '${dist('binding/index.js')}';
    try { runtimeInfo(); } catch (error) { print({ name: error.name, code: error.code, message: error.message }); }`;
  const said = async (file: string) => {
    const ended = await runScript(script, { env: { DRM_ADDON: file } });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    return JSON.parse(ended.stdout);
  };

  test('because it was never built, says so and how to build it', async () => {
    const error = await said('/nowhere/drm.node');
    expect(error).toMatchObject({ name: 'DrmError', code: 'ENVIRONMENT' });
    expect(error.message).toContain('/nowhere/drm.node: the native addon is not built; run `npm run setup`');
  });

  test('because it is no library, names the file and the remedy', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'drm-addon-'));
    try {
      const file = join(folder, 'drm.node');
      writeFileSync(file, 'not an ELF file');
      const error = await said(file);
      expect(error.code).toBe('ENVIRONMENT');
      expect(error.message).toContain(file);
      expect(error.message).toContain('npm run setup');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('costs nothing while it is not needed', async () => {
    const ended = await runScript(`import '${dist('binding/index.js')}'; console.log('imported');`, {
      env: { DRM_ADDON: '/nowhere/drm.node' },
    });
    expect(ended).toMatchObject({ code: 0, stdout: 'imported\n' });
  });
});

test('runtimeInfo says what this build runs on', () => {
  const info = runtimeInfo();
  expect(info.libtorch).toMatch(/^2\.1[1-3]\./);
  expect(info.cpuCapability).not.toBe('');
  expect(info.attention).toContain('flash');
  expect(info.threads).toBeGreaterThan(0);
  expect(callNative((addon) => addon.buildInfo())).toMatchObject({
    sourceHash: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});
