// A process that lacks something says so, and blames neither itself nor a file.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DrmError } from '../../binding/error.js';
import { errorEvent, throwLack } from '../../cli/common/errors.js';
import { drm, quick, temporaryFolder } from '../run_drm.js';

const failed = (message: string, fields: object = {}) => Object.assign(new Error(message), fields);

test.each([
  [failed('EMFILE: too many open files, open a', { code: 'EMFILE' }), 'ENVIRONMENT', 'ulimit -n'],
  [failed('ENOMEM: not enough memory, read', { code: 'ENOMEM' }), 'OUT_OF_MEMORY', 'ulimit -v'],
  [failed('spawn node EAGAIN', { code: 'EAGAIN', syscall: 'spawn node' }), 'OUT_OF_MEMORY', 'ulimit -u'],
  [failed('unable to create thread\nvips2png: ...'), 'OUT_OF_MEMORY', 'found unable to create thread;'],
  [new RangeError('Array buffer allocation failed'), 'OUT_OF_MEMORY', 'memory'],
])('%s is what this process lacks', (error, code, words) => {
  expect(errorEvent(error, false)).toMatchObject({ code, exit_code: 4, message: expect.stringContaining(words) });
  expect(() => throwLack(error)).toThrow(DrmError);
});

test('a disk is no bug of ours, and a bad file no lack', () => {
  for (const code of ['ENOSPC', 'EROFS', 'EACCES', 'EIO'])
    expect(errorEvent(failed(`${code}: x, write`, { code }), false)).toMatchObject({ code: 'DISK', exit_code: 4 });
  for (const error of [failed('Input buffer has corrupt header'), failed('ENOENT: no such file', { code: 'ENOENT' })]) {
    throwLack(error);
    expect(errorEvent(error, false).exit_code).toBe(1);
  }
});

test.each([
  ['-n 24', 'too many open files'],
  ['-v 1300000', 'libtorch'],
])('ulimit %s: exit code 4, in a sentence', (limit, words) => {
  const command = [process.execPath, drm, ...quick, '--prompt', 'x', '--out', join(temporaryFolder(), 'out')];
  const { status, stderr } = spawnSync('bash', ['-c', `ulimit ${limit}; exec "$@"`, 'limited', ...command], {
    encoding: 'utf8',
  });
  expect(stderr).toMatch(/^drm: \[(system|binding)\] expected /);
  expect(stderr).toContain(words);
  expect(status).toBe(4);
});
