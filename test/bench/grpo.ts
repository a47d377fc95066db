// Iterations of Flow-GRPO and Step-GRPO on the embedded model against the same algorithm in PyTorch with diffusers and peft:
// one process a side, which take turns. Both first make two iterations of the same random numbers from the same adapter,
// and must compute the same.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machine, median, python, pythonHas, repository, rounded } from './common.js';
import type { Computed, Parts, PolicyWorkload } from './grpo_iterations.js';
import { type Figures, figures, Side, takeTurns } from './sides.js';

/** Sizes of an iteration by which the embedded model is trained. */
const ALGORITHMS = {
  flow: { prompts: 8, each: 12, k: 1, updates: 2 },
  step: { prompts: 16, each: 1, k: 6, updates: 1 },
};

const THINGS = ['apple', 'grinning face', 'dog', 'pizza', 'heart', 'cat', 'car', 'tree'];
const STYLES = ['noto', 'twemoji'];

const TARGETS = ['to_q', 'to_k', 'to_v', 'to_out.0', 'add_q_proj', 'add_k_proj', 'add_v_proj', 'to_add_out'];

/** How far two sides may be apart in each iteration; the second begins with what the first one's updates made. */
const TOLERANCES = [
  { scores: 1e-3, gradient: 1e-3, kl: Number.POSITIVE_INFINITY, loss: 1e-5 }, // no divergence before an update
  { scores: 1e-3, gradient: 1e-2, kl: 1e-2, loss: 1e-5 },
];

/**
 * Largest differences of both sides' iterations, relative to the root mean square; of losses, which are sums of advantages
 * that cancel, absolute. Throws where they exceed the tolerance.
 */
function compare(ours: Computed[], theirs: Computed[]): Record<string, number>[] {
  return TOLERANCES.map((tolerances, iteration) => {
    const [a, b] = [ours[iteration], theirs[iteration]];
    if (!a || !b) throw new Error(`check: expected ${TOLERANCES.length} iterations of both sides`);
    const largest = (x: number[], y: number[]) => Math.max(...x.map((v, i) => Math.abs(v - (y[i] ?? Number.NaN))));
    const size = (x: number[]) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);
    const of = (side: Computed, name: 'loss' | 'kl' | 'gradient') => side.updates.map((update) => update[name]);
    const relative = (x: number[], y: number[]) => (size(y) === 0 ? largest(x, y) : largest(x, y) / size(y));
    const found = {
      scores: relative(a.scores, b.scores),
      gradient: relative(of(a, 'gradient'), of(b, 'gradient')),
      kl: relative(of(a, 'kl'), of(b, 'kl')),
      loss: largest(of(a, 'loss'), of(b, 'loss')),
    };
    for (const name of ['scores', 'gradient', 'kl', 'loss'] as const)
      if (!(found[name] <= tolerances[name]))
        throw new Error(
          `check: ${name} of iteration ${iteration + 1}: expected both sides to differ by ${tolerances[name]} at most, found ${found[name]}; drm ${JSON.stringify(a.updates)}, PyTorch ${JSON.stringify(b.updates)}`,
        );
    return Object.fromEntries(Object.entries(found).map(([name, difference]) => [name, rounded(difference, 2)]));
  });
}

export async function grpo(): Promise<void> {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      algorithm: { type: 'string' },
      repeats: { type: 'string', default: '5' },
      threads: { type: 'string', default: String(availableParallelism()) },
      batch: { type: 'string', default: '16' },
      'denoising-steps': { type: 'string', default: '10' },
      'kl-beta': { type: 'string', default: '0.01' },
      guidance: { type: 'string', default: '4.5' },
    },
  });
  const asked = values.algorithm ? [values.algorithm] : Object.keys(ALGORITHMS);
  const hasPython = pythonHas('peft, diffusers');
  const scratch = mkdtempSync(join(tmpdir(), 'drm-bench-'));
  try {
    for (const name of asked) {
      const algorithm = ALGORITHMS[name as keyof typeof ALGORITHMS];
      if (!algorithm) throw new Error(`--algorithm: expected flow or step, found ${name}`);
      const captions = STYLES.flatMap((style) => THINGS.map((thing) => `${thing}, ${style} style`));
      const work: PolicyWorkload = {
        model: join(repository, 'models/tiny'),
        reward: join(repository, 'models/tiny-drm'),
        threads: Number(values.threads),
        seed: 1,
        captions: captions.slice(0, algorithm.prompts),
        ...{ each: algorithm.each, k: algorithm.k, updates: algorithm.updates },
        batch: Number(values.batch),
        steps: Number(values['denoising-steps']),
        guidance: Number(values.guidance),
        ...{ noiseLevel: 0.7, clipRange: 1e-4, advantageClip: 5, klBeta: Number(values['kl-beta']) },
        learningRate: 1e-4,
        lora: { rank: 32, alpha: 64, targets: TARGETS.map((target) => `attn.${target}`) },
        optimizer: {
          ...{ beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 1e-4, maxGradientNorm: 1, emaDecay: 0.9, emaEvery: 8 },
        },
        adapter: join(scratch, 'adapter.safetensors'),
      };
      const sides: Record<string, Side> = {
        drm: new Side(process.execPath, join(repository, 'dist/test/bench/grpo_iterations.js'), work),
      };
      if (hasPython) sides.pytorch = new Side(python, join(repository, 'test/bench/python/grpo_torch.py'), work);
      for (const side of Object.values(sides)) await side.ready();
      const checks = await takeTurns<Computed[]>(sides, 1, 'check'); // the first iterations also choose kernels
      const differences = hasPython && compare(checks.drm?.[0] ?? [], checks.pytorch?.[0] ?? []);
      const all = await takeTurns<[Parts]>(sides, Number(values.repeats), '1');
      for (const side of Object.values(sides)) side.close();
      const parts = (of: (values: number[]) => number): Record<string, Figures> => {
        const part = (value: (p: Parts) => number) =>
          figures(all, (answers) => of(answers.map(([iteration]) => value(iteration))));
        return {
          rollout: part((p) => p.rollout),
          reward: part((p) => p.reward),
          update: part((p) => p.update),
          iteration: part((p) => p.rollout + p.reward + p.update),
          sampling_cpu: part((p) => p.sampling_cpu),
          update_cpu: part((p) => p.update_cpu),
        };
      };
      console.log(
        JSON.stringify({
          bench: 'grpo',
          algorithm: name,
          ...{ ...algorithm, batch: work.batch, denoising_steps: work.steps, kl_beta: work.klBeta },
          dtype: 'fp32',
          threads: work.threads,
          iterations: Number(values.repeats),
          ...machine(),
          ...(differences && { differences }),
          median_s: parts(median),
          best_s: parts((seconds) => Math.min(...seconds)),
        }),
      );
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
