// The steps that tables are made of, from the settings: preparing a set, training a reward model, judging pairs, training a
// policy, judging images. The same settings give the same step, whichever table asks for it.
import { DrmError } from '../../binding/error.js';
import { own } from '../common/shape.js';
import type { GrpoSettings, ReproduceSettings } from '../config/types.js';
import { algorithmOf } from '../grpo/algorithms/registry.js';
import { policySettings, recipeWords, sampleSettingsOf, trainSettings } from './settings.js';
import type { Step } from './step.js';

/** What a candidate's score adds to the time of a policy's guided pass: 3.13 times K = 1 at K = 6 (docs/benchmarks.md). */
const CANDIDATE = 0.36;
/** Likewise to that of a trajectory that is trained on (docs/reproduction.md: seconds an update). */
const TRAINED_CANDIDATE = 0.1;
/** An image of an evaluation, 28 steps without gradients, to a trajectory of 10 steps that is trained on. */
const EVALUATED = 0.6;

export interface Chain {
  settings: ReproduceSettings;
  /** Held-out prompts that make images. */
  prompts: number;
  /** The steps that have been made, by id: their settings take time to resolve. */
  made: Map<string, Step>;
}

export const chainOf = (settings: ReproduceSettings, prompts: number): Chain => ({
  ...{ settings, prompts, made: new Map() },
});

function once({ made }: Chain, id: string, make: () => Omit<Step, 'id'>): Step {
  const known = made.get(id);
  if (known) return known;
  const step = { id, ...make() };
  made.set(id, step);
  return step;
}

const processes = ({ nproc }: ReproduceSettings): string[] => (nproc > 1 ? ['--nproc', String(nproc)] : []);

/** Throws DrmError BAD_CONFIG where the config has no such entry. */
function named<T>(settings: ReproduceSettings, key: 'data' | 'trainings' | 'policies', name: string): T {
  const found = own(settings[key] as Record<string, T>, name);
  if (found) return found;
  throw new DrmError('BAD_CONFIG', `[reproduce] ${key}: expected ${JSON.stringify(name)} there, found none`, { key });
}

type Sets = ReproduceSettings['data'];

export const preparing = (chain: Chain, name: string): Step =>
  once(chain, `data-${name}`, () => {
    const { prepare, pairs } = named<Sets[string]>(chain.settings, 'data', name);
    return {
      ...{ kind: 'prepare', units: pairs, needs: [] },
      words: () => ['data', 'prepare', ...prepare],
      ...{ resumes: 'by line', result: 'manifest.json' },
    };
  });

export const training = (chain: Chain, name: string): Step =>
  once(chain, `train-${name}`, () => {
    const { settings } = chain;
    const recipe = named<ReproduceSettings['trainings'][string]>(settings, 'trainings', name);
    const { steps, batch, epochs, size } = trainSettings(settings, recipe);
    const usual = trainSettings(settings, { ...recipe, set: [] });
    const data = preparing(chain, settings.train_data);
    return {
      ...{ kind: 'train', needs: [data] },
      units: (steps > 0 ? steps * batch : epochs * data.units) * (size / usual.size) ** 2,
      words: ({ folder }) => [
        ...['train', ...recipeWords(recipe, settings.train_set)],
        ...['--model', settings.model, '--data', folder(data), ...processes(settings)],
      ],
      ...{ resumes: 'by flag', result: 'model' },
    };
  });

/** Names of the sets that rewards are judged by. */
export const judgedSets = ({ data }: ReproduceSettings): string[] =>
  Object.entries(data).flatMap(([name, { judged }]) => (judged ? [name] : []));

/** The first of the trainings; Table 2 is of it, and policies learn from it. */
export function firstTraining({ trainings }: ReproduceSettings): string {
  const [first] = Object.keys(trainings);
  if (first !== undefined) return first;
  throw new DrmError('BAD_CONFIG', '[reproduce] trainings: expected a reward model at least, found none', {
    key: 'trainings',
  });
}

interface Judged {
  /** One of the trainings, or a scorer by its name. */
  reward: { training: string } | { scorer: string };
  set: string;
  timesteps: readonly number[];
  /** Tells evaluations of one reward apart. */
  tag?: string;
}

/** How often a reward prefers what people preferred. */
export function judgingPairs(chain: Chain, { reward, set, timesteps, tag = '' }: Judged): Step {
  const name = 'training' in reward ? reward.training : reward.scorer.replaceAll(/[^\w.-]/g, '-');
  return once(chain, `pairs${tag}-${name}-${set}`, () => {
    const { settings } = chain;
    const { judged = '', judged_pairs: all = 0 } = named<Sets[string]>(settings, 'data', set);
    const data = preparing(chain, set);
    const trained = 'training' in reward ? training(chain, reward.training) : undefined;
    const pairs = settings.max_pairs > 0 ? Math.min(settings.max_pairs, all) : all;
    return {
      ...{ kind: 'pairs', units: 2 * pairs * timesteps.length },
      needs: [data, ...(trained ? [trained] : [])],
      words: ({ folder }) => [
        ...['eval', 'pairs', '--data', folder(data), '--split', judged],
        ...['--reward', trained ? folder(trained) : name],
        ...['--timesteps', timesteps.join(',')],
        ...(settings.max_pairs > 0 ? ['--max-pairs', String(settings.max_pairs)] : []),
        ...processes(settings),
      ],
      ...{ resumes: 'by line', result: 'accuracy.json' },
    };
  });
}

/** The reward model of policies and step-wise sampling: a step, or one that is there by name. */
function guiding(chain: Chain): { needs: Step[]; word(folder: (step: Step) => string): string } {
  const { settings } = chain;
  if (settings.reward !== '') return { needs: [], word: () => settings.reward };
  const model = training(chain, firstTraining(settings));
  return { needs: [model], word: (folder) => folder(model) };
}

/** What a policy's training takes, in trajectories of 10 steps. */
function trajectoriesOf(s: GrpoSettings): number {
  const algorithm = algorithmOf(s);
  const each = s[algorithm.trajectories.setting] * (s.denoising_steps / 10);
  const candidates = algorithm.candidates(s);
  const looks = s.evaluate_every > 0 ? 1 + Math.ceil(s.iterations / s.evaluate_every) : 0;
  return (
    s.iterations * s.prompts_per_iteration * each * (1 + (candidates > 1 ? TRAINED_CANDIDATE * candidates : 0)) +
    EVALUATED * looks * s.evaluate_samples * (s.evaluate_steps / 28)
  );
}

export const policy = (chain: Chain, name: string, seed: number): Step =>
  once(chain, `policy-${name}-${seed}`, () => {
    const { settings } = chain;
    const recipe = named<ReproduceSettings['policies'][string]>(settings, 'policies', name);
    const reward = guiding(chain);
    return {
      ...{ kind: 'policy', needs: reward.needs, units: trajectoriesOf(policySettings(settings, recipe)) },
      words: ({ folder }) => [
        ...['grpo', ...recipeWords(recipe, settings.policy_set)],
        ...['--model', settings.model, '--reward', reward.word(folder)],
        ...(settings.prompts === '' ? [] : ['--prompts', settings.prompts]),
        ...['--seed', String(seed), ...processes(settings)],
      ],
      ...{ resumes: 'by flag', result: 'model' },
    };
  });

/** What all evaluations of images share. */
function imageWords({ settings }: Chain, prompts: string): string[] {
  return [
    ...['eval', 'images', '--model', settings.model],
    ...recipeWords({ config: settings.sample_config, set: settings.sample_set }, []),
    ...['--prompts', prompts, ...settings.scorers.flatMap((scorer) => ['--scorer', scorer])],
    ...processes(settings),
  ];
}

/** The images of a policy, or of the base. */
export const judgingPolicy = (chain: Chain, trained: Step | undefined): Step =>
  once(chain, trained ? `images-${trained.id}` : 'images-base', () => ({
    ...{ kind: 'images', needs: trained ? [trained] : [] },
    units: chain.prompts * (sampleSettingsOf(chain.settings).steps / 28),
    words: ({ folder, prompts }) => [...imageWords(chain, prompts), ...(trained ? ['--lora', folder(trained)] : [])],
    ...{ resumes: 'by line', result: 'results.json' },
  }));

/** Step-wise sampling, a row for each K. */
export const sampling = (chain: Chain): Step =>
  once(chain, 'images-stepwise', () => {
    const { settings } = chain;
    const reward = guiding(chain);
    const each = settings.k.reduce((sum, k) => sum + 1 + (k > 1 ? CANDIDATE * k : 0), 0);
    return {
      ...{ kind: 'images', needs: reward.needs },
      units: chain.prompts * settings.images * each * (sampleSettingsOf(settings).steps / 28),
      words: ({ folder, prompts }) => [
        ...imageWords(chain, prompts),
        ...['--k', settings.k.join(','), '--reward', reward.word(folder), '--n', String(settings.images)],
        ...(settings.diversity === '' ? [] : ['--diversity', settings.diversity]),
      ],
      ...{ resumes: 'by line', result: 'results.json' },
    };
  });
