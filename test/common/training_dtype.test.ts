// Which dtype a training takes where nobody chose one, by what the CPU can do.
import { beforeEach, expect, test, vi } from 'vitest';
import { chooseForTraining } from '../../cli/common/device.js';

const machine = vi.hoisted(() => ({ cpuBf16: false, cudaBuilt: false, cudaError: '', gpus: [] as object[] }));
vi.mock('../../binding/index.js', () => ({ runtimeInfo: () => machine }));

const alone = { size: 1, localRank: 0 };
const choose = (dtype: 'auto' | 'fp32' | 'bf16', device = 'auto') => chooseForTraining({ device, dtype }, alone);

beforeEach(() => Object.assign(machine, { cpuBf16: false, cudaBuilt: false, gpus: [] }));

test('fp32 on a CPU without instructions for bf16, and why', async () => {
  expect(await choose('auto')).toEqual({
    ...{ device: 'cpu', dtype: 'fp32' },
    because: 'this CPU has no instructions for bf16',
  });
});

test('bf16 on a CPU with them', async () => {
  machine.cpuBf16 = true;
  expect(await choose('auto')).toMatchObject({
    device: 'cpu',
    dtype: 'bf16',
    because: expect.stringContaining('bf16'),
  });
  expect(await choose('bf16')).toEqual({ device: 'cpu', dtype: 'bf16' });
});

test('bf16 on a GPU, whatever the CPU', async () => {
  Object.assign(machine, { cudaBuilt: true, gpus: [{}] });
  expect(await choose('auto')).toEqual({ device: 'cuda', dtype: 'bf16' });
});

test('a choice that is slow here is taken, and said to be slow', async () => {
  const { dtype, warning } = await choose('bf16');
  expect(dtype).toBe('bf16');
  expect(warning).toMatch(/no instructions for bf16.*--dtype auto/);
  expect(await choose('fp32')).toEqual({ device: 'cpu', dtype: 'fp32' });
});
