// LPIPS as a distance of images: torchvision's trunk and the linear layers of the authors' package, from one folder.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { ScorerSource } from '../../binding/types.js';
import { chooseDevice } from '../common/device.js';
import { packageRoot } from '../common/root.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { placedFolder } from '../hub/published.js';
import type { Distance } from './reward.js';
import type { DistanceSpec, RewardLoading } from './spec.js';

interface Network {
  /** As the core calls it. */
  name: 'alex' | 'vgg';
  called: string;
  /** File names of torchvision's weights and of the linear layers: ours after a conversion, then as they are published. */
  trunk: readonly string[];
  lin: readonly string[];
}

const ALEX: Network = {
  name: 'alex',
  called: 'AlexNet',
  trunk: ['alex-trunk.safetensors', 'alexnet-owt-7be5be79.pth'],
  lin: ['alex-lin.safetensors', 'alex.pth'],
};
const VGG: Network = {
  name: 'vgg',
  called: 'VGG16',
  trunk: ['vgg-trunk.safetensors', 'vgg16-397923af.pth'],
  lin: ['vgg-lin.safetensors', 'vgg.pth'],
};

/** Throws DrmError MISSING_WEIGHTS saying what was looked for and where it comes from. */
function lpipsFiles(called: string, network: Network, folder: string): ScorerSource {
  const missing = (what: string, names: readonly string[], advice: string) =>
    new DrmError(
      'MISSING_WEIGHTS',
      `[lpips] ${called}: expected ${what} in ${folder} (${names.join(' or ')}), found none; ${advice}`,
      { file: folder },
    );
  const find = (names: readonly string[]) => names.map((name) => join(folder, name)).find((file) => existsSync(file));
  const own = find(['config.json']);
  const config = own ?? join(packageRoot, `configs/scorers/lpips-${network.name}.json`);
  const whole = find(['model.safetensors']);
  if (whole !== undefined) return { kind: 'lpips', config, weights: [whole] };
  const trunk = find(network.trunk);
  if (trunk === undefined)
    throw missing(
      `the trunk, torchvision's ${network.called},`,
      [...network.trunk, 'model.safetensors with both'],
      "torchvision's page of models links to it; put it there, or name its folder with --diversity lpips:FOLDER",
    );
  const lin = find(network.lin);
  if (lin === undefined)
    throw missing(
      'the linear layers of v0.1',
      network.lin,
      `they are weights/v0.1/${network.name}.pth in the Python package lpips 0.1.4; put that file there`,
    );
  return { kind: 'lpips', config, weights: [trunk, lin] };
}

async function loadLpips(
  name: string,
  network: Network,
  source: ScorerSource,
  { device: wanted, signal, onWarning, onProgress }: RewardLoading,
): Promise<Distance> {
  const { Scorer } = await import('../../binding/index.js');
  const { device, dtype } = await chooseDevice({ device: wanted, dtype: 'fp32' });
  const scorer = await Scorer.load(
    source,
    { device, dtype },
    {
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
      onEvent: ({ kind, message }) => {
        if (kind === 'warning') onWarning?.(String(message));
      },
    },
  );
  return {
    name,
    definition: `LPIPS v0.1, ${network.called}`,
    weights: weightsFingerprint({ scorer: { weights: source.weights }, config: source.config }),
    between: async (images, pairs, job) =>
      Array.from(
        await scorer.distances(
          { images: [...images], first: pairs.map(([one]) => one), second: pairs.map(([, other]) => other) },
          job,
        ),
      ),
    dispose: () => scorer.dispose(),
  };
}

const finder =
  (kind: string, network: Network) =>
  (name: string, place: string): DistanceSpec => {
    const source = lpipsFiles(name, network, place === '' ? placedFolder(kind) : place);
    return { name, load: (loading) => loadLpips(name, network, source, loading) };
  };

export const findLpips = finder('lpips', ALEX);
export const findLpipsVgg = finder('lpips-vgg', VGG);
