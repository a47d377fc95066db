// clang-tidy as `npm test` runs it: where it comes from, and that what is planted in a tree is found.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tidy } from '../../scripts/tidy/tidy.mjs';
import { findClangTidy, WANTED_VERSION } from '../../scripts/tidy/tool.mjs';
import { checkoutOf, fakeWheel, pip, programs, runNode } from './fakes.mjs';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drm-tidy-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const { answer: lacking, ...tool } = await findClangTidy(() => {});

describe.skipIf(lacking)('clang-tidy', () => {
  const path = (name) => join(folder, 'csrc', name);
  function write(files) {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(path(name)), { recursive: true });
      writeFileSync(path(name), text);
    }
  }
  /** { findings: ['a.cc: check'], read, unclean: ['a.cc'] } of these .cc files. */
  async function findings(...names) {
    const sources = names.map((name) => ({ file: path(name), flags: ['-std=c++20', `-I${path('')}`] }));
    const found = await tidy(tool, sources, [path('')], join(folder, 'build'));
    return {
      findings: found.findings.map(({ file, text }) => `${basename(file)}: ${/\[([\w-]+)/.exec(text)?.[1]}`).sort(),
      read: found.read,
      unclean: found.unclean.map(({ file }) => basename(file)).sort(),
    };
  }
  const same = 'bool same(int n) { return n == n; }\n';
  const twice = { 'room/twice.h': '#pragma once\nint twice(int number);\n' };
  const twiceOf = (name) => `#include "room/twice.h"\nint twice(int ${name}) { return 2 * ${name}; }\n`;

  test('finds what is planted, in a header too, and reads again what was not clean or has changed', async () => {
    write({ ...twice, 'room/twice.cc': twiceOf('value'), 'same.cc': same, 'good.cc': 'int one() { return 1; }\n' });
    const all = ['room/twice.cc', 'same.cc', 'good.cc'];
    expect(await findings(...all)).toEqual({
      findings: ['same.cc: misc-redundant-expression', 'twice.h: readability-inconsistent-declaration-parameter-name'],
      read: 3,
      unclean: ['same.cc', 'twice.cc'],
    });
    expect((await findings(...all)).read).toBe(2);
    write({ 'room/twice.cc': twiceOf('number'), 'same.cc': '' });
    expect(await findings(...all)).toEqual({ findings: [], read: 2, unclean: [] });
    expect((await findings(...all)).read).toBe(0);
    write({ 'room/twice.h': '#pragma once\nint twice(int value);\n' });
    expect(await findings(...all)).toMatchObject({ read: 1, unclean: ['twice.cc'] });
  });

  test('reads files apart that define the same names, and no finding is lost by it', async () => {
    const own = (text) => `namespace {\nconstexpr int kSize = 3;\nstruct Loaded {};\n}\n${text}`;
    write({
      'a.cc': own('int a() { return kSize; }\n'),
      'b.cc': own(same),
      'c.cc': own('int c() { return kSize; }\n'),
      'd.cc': 'bool other(int n) { return n != n; }\n',
    });
    expect(await findings('a.cc', 'b.cc', 'c.cc', 'd.cc')).toEqual({
      findings: ['b.cc: misc-redundant-expression', 'd.cc: misc-redundant-expression'],
      read: 4,
      unclean: ['b.cc', 'd.cc'],
    });
  });

  test('does not take what it cannot compile for clean', async () => {
    write({
      'a.cc': 'int a() { return nowhere; }\n',
      'b.cc': '#include "gone.h"\n',
      'c.cc': 'int c() { return 1; }\n',
    });
    expect(await findings('a.cc', 'b.cc', 'c.cc')).toEqual({
      findings: ['a.cc: clang-diagnostic-error', 'b.cc: clang-diagnostic-error'],
      read: 3,
      unclean: ['a.cc', 'b.cc'],
    });
  });

  test('that ends without a word is no clean one', async () => {
    write({ 'a.cc': 'int a() { return 1; }\n' });
    const killed = join(programs(folder, { killed: 'kill -9 $$' }), 'killed');
    const sources = [{ file: path('a.cc'), flags: [] }];
    const { findings, unclean } = await tidy({ command: killed, version: '23' }, sources, [], join(folder, 'build'));
    expect(findings[0].text).toContain('DRM_JOBS=1');
    expect(unclean).toHaveLength(1);
  });
});

describe('the search for clang-tidy', () => {
  const says = (version) => `echo "LLVM version ${version}"`;
  function search(env) {
    const copied = checkoutOf(folder);
    return runNode(
      folder,
      `import { findClangTidy } from '${copied('tidy/tool.mjs')}';
       import { runMain } from '${copied('setup/errors.mjs')}';
       await runMain(async () => console.log(JSON.stringify(await findClangTidy(console.error))));`,
      { XDG_CACHE_HOME: join(folder, 'cache'), ...env },
    );
  }

  test('takes the one that is named, or refuses it', () => {
    const bin = programs(folder, { mine: says('23.9.9'), old: says('19.1.0') });
    const found = search({ PATH: bin, DRM_CLANG_TIDY: join(bin, 'mine') });
    expect(JSON.parse(found.stdout)).toEqual({ command: join(bin, 'mine'), version: '23.9.9' });
    const refused = search({ PATH: bin, DRM_CLANG_TIDY: join(bin, 'old') });
    expect(refused.code).toBe(4);
    expect(refused.stderr).toMatch(/DRM_CLANG_TIDY=.*old: expected clang-tidy 23, found 19\.1\.0/);
  });

  test('takes one of the right edition on PATH', () => {
    const found = search({ PATH: programs(folder, { 'clang-tidy': says('23.0.1') }) });
    expect(JSON.parse(found.stdout)).toEqual({ command: 'clang-tidy', version: '23.0.1' });
  });

  test('else fetches the pinned wheel by pip, and the second time only looks', () => {
    const wheel = fakeWheel(folder, `clang_tidy-${WANTED_VERSION}`, {
      'clang_tidy/data/bin/clang-tidy': `#!/bin/sh\n${says(WANTED_VERSION)}\n`,
      'clang_tidy/data/lib/clang/23/include/stddef.h': 'header',
      'clang_tidy/__init__.py': 'not needed',
    });
    const first = search({ PATH: programs(folder, { 'clang-tidy': says('19.1.0'), python3: pip(wheel) }) });
    expect(first.stderr).toContain(`fetching ${WANTED_VERSION} with pip`);
    const command = join(
      folder,
      'cache',
      'drm',
      `clang-tidy-${WANTED_VERSION}`,
      'clang_tidy',
      'data',
      'bin',
      'clang-tidy',
    );
    expect(JSON.parse(first.stdout)).toEqual({ command, version: WANTED_VERSION });
    expect(readFileSync(join(dirname(command), '../lib/clang/23/include/stddef.h'), 'utf8')).toBe('header');
    const second = search({ PATH: programs(folder, { python3: 'exit 1' }) });
    expect(second.stderr).toBe('');
    expect(JSON.parse(second.stdout).command).toBe(command);
  });

  test('says what is missing where it cannot', () => {
    expect(JSON.parse(search({ PATH: programs(folder, {}) }).stdout)).toEqual({ answer: 'python3 has no pip' });
    const python3 = '[ "$3" = --version ] && exit 0; echo "ERROR: No matching distribution found"; exit 1';
    expect(JSON.parse(search({ PATH: programs(folder, { python3 }) }).stdout).answer).toBe(
      'ERROR: No matching distribution found (log: build/logs/clang-tidy.log)',
    );
  });
});
