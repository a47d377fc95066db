// A folder of LPIPS for tests: the golden case's small AlexNet, in two files as the published one comes.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../cli/common/root.js';
import { readTensors, writeTensors } from '../parity/safetensors.js';

const golden = join(packageRoot, 'test/golden/scorers');

export function writeLpips(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const { cases } = JSON.parse(readFileSync(join(golden, 'config.json'), 'utf8'));
  const { channels } = cases.lpips_alex.config;
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ network: 'alex', channels }));
  const all = [...readTensors(join(golden, 'lpips_alex.safetensors'))];
  const part = (file: string, has: (key: string) => boolean) =>
    writeTensors(join(folder, file), new Map(all.filter(([key]) => has(key))));
  part('alex-trunk.safetensors', (key) => key.startsWith('features.'));
  part('alex-lin.safetensors', (key) => key.startsWith('lin'));
  return folder;
}
