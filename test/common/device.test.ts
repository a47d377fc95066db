// What is said of a GPU that cannot be used: a driver that shows one (a fake libcuda.so.1) beside a libtorch without CUDA.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runtimeInfo } from '../../binding/index.js';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';

/** A folder with a driver library of CUDA 12.4 and one GPU. */
function fakeDriver(): string {
  const folder = temporaryFolder();
  const source = join(folder, 'driver.c');
  writeFileSync(
    source,
    `#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { *version = 12040; return 0; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuDeviceGetName(char* name, int size, int device) { strncpy(name, "Fake GPU", size); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) { *value = attribute == 75 ? 8 : 6; return 0; }
int cuDeviceTotalMem_v2(unsigned long* bytes, int device) { *bytes = 24ul << 30; return 0; }
`,
  );
  execFileSync('cc', ['-shared', '-fPIC', source, '-o', join(folder, 'libcuda.so.1')]);
  return folder;
}

describe.skipIf(process.platform !== 'linux' || runtimeInfo().cudaBuilt)('a GPU beside a libtorch without CUDA', () => {
  const env = { LD_LIBRARY_PATH: fakeDriver() };

  test('is shown by doctor as one that cannot be used, with what to do', async () => {
    const { stdout } = await runDrm(['doctor', '--out', temporaryFolder()], { env });
    expect(stdout).toMatch(/^warn +GPU 0 +Fake GPU, compute 8\.6, .*free; cannot be used$/m);
    expect(stdout).toMatch(
      /^warn +CUDA +this libtorch \(2\.\d+\.\d+\) has no CUDA\n +-> install a CUDA build of torch/m,
    );
  });

  test('is refused at once where it is asked for, and not taken by itself', async () => {
    const sample = ['sample', '--model', fixture, '--prompt', 'a fox', '--steps', '1', '--out', temporaryFolder()];
    const { code, stderr } = await runDrm([...sample, '--device', 'cuda'], { env });
    expect(code).toBe(4);
    expect(stderr).toContain('device cuda: expected a libtorch with CUDA, found 2.');
    expect(stderr).toContain('--device cpu');
    expect(await runDrm([...sample, '--size', '64'], { env })).toMatchObject({ code: 0 });
  });
});
