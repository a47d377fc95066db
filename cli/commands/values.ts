// Values that completion offers for options which take any text: names that come with drm.
import { configNames, loadSchema, taskOf } from '../config/resolve.js';

type Offer = (tasks: readonly string[]) => Promise<string[]>;

const models: Offer = async () => (await import('../hub/resolve.js')).namedModels().map(({ name }) => name);

const rewards =
  (ofImages: boolean): Offer =>
  async () => {
    const { knownRewards } = await import('../rewards/registry.js');
    const known = knownRewards().filter(({ sees }) => !ofImages || sees === 'images');
    return known.map(({ name, needsPlace }) => (needsPlace ? `${name}:` : name));
  };

const OFFERS: Readonly<Record<string, Offer>> = {
  '--model': models,
  '--reward': rewards(false),
  '--scorer': rewards(true),
  '--judge': rewards(true),
  '--config': async (tasks) => configNames().filter((name) => tasks.includes(taskOf(name))),
  '--set': async (tasks) => {
    const keys = tasks.flatMap((task) => Object.keys(loadSchema(task).properties));
    return [...new Set(keys)].map((key) => `${key}=`);
  },
};

/** Of the command whose settings are those of `tasks`; none where only files can be meant, or nothing is known. */
export const offeredValues = async (flag: string, tasks: readonly string[]): Promise<string[]> =>
  (await OFFERS[flag]?.(tasks)) ?? [];
