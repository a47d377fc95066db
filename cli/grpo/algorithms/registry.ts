// The algorithms there are, by the value of the setting `algorithm`: a line each, and its name in configs/schema/grpo.json,
// which the compiler holds against these.
import type { Option } from '../../common/option.js';
import { flagOf } from '../../common/options.js';
import { badSetting } from '../../config/bad_setting.js';
import { allowValue } from '../../config/resolve.js';
import type { GrpoSettings } from '../../config/types.js';
import type { Algorithm } from './algorithm.js';
import { flowGrpo } from './flow_grpo.js';
import { stepGrpo } from './step_grpo.js';

/** In the order that help and reports name them. */
const ALGORITHMS = new Map<string, Algorithm>(
  Object.entries({
    step: stepGrpo,
    flow: flowGrpo,
  } satisfies Record<GrpoSettings['algorithm'], Algorithm>),
);

/** Adds one while the program runs; from then on configs may name it. */
export function registerAlgorithm(name: string, algorithm: Algorithm): void {
  ALGORITHMS.set(name, algorithm);
  allowValue('grpo', 'algorithm', name);
}

export const allAlgorithms = (): Algorithm[] => [...ALGORITHMS.values()];

/** By a name that nobody has checked, such as a record of another version has. */
export const findAlgorithm = (name: unknown): Algorithm | undefined =>
  typeof name === 'string' ? ALGORITHMS.get(name) : undefined;

/** Throws DrmError BAD_CONFIG for one that is not registered, which a checked config never names. */
export function algorithmOf({ algorithm: name }: Pick<GrpoSettings, 'algorithm'>): Algorithm {
  const found = findAlgorithm(name);
  if (found) return found;
  throw badSetting('grpo', 'algorithm', `expected one of ${[...ALGORITHMS.keys()].join(', ')}, found ${name}`);
}

/** The flags that choose one, and what is run without. */
export function algorithmOptions(): Option[] {
  const otherwise = allAlgorithms().find(({ flag }) => !flag)?.label;
  return allAlgorithms().flatMap(({ label, flag }) =>
    flag ? [{ flags: flagOf(flag.name), description: `${label}: ${flag.description}; else ${otherwise}` }] : [],
  );
}

/** Those whose flags were given, by their names; one at most makes sense. */
export function algorithmsGiven(options: object): { name: string; flag: string }[] {
  const given = new Map<string, unknown>(Object.entries(options));
  return [...ALGORITHMS].flatMap(([name, { flag }]) =>
    flag && given.get(flag.name) === true ? [{ name, flag: flag.name }] : [],
  );
}
