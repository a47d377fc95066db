// A step of the chain: one drm command line, what it needs, what it leaves. Steps are values; folder.ts says where their
// results are, run_step.ts runs one.

/** Kinds of steps, by which their costs are told apart; a unit of each is said beside it. */
export const KINDS = {
  prepare: 'pair',
  train: 'pair seen, of the set’s own size',
  pairs: 'score',
  policy: 'trajectory, of 10 steps',
  images: 'image, of 28 steps',
} as const;

export type Kind = keyof typeof KINDS;

/** Where the parts of a command line are. */
export interface Places {
  /** The folder of a step's results. */
  folder(step: Step): string;
  /** The file of held-out prompts. */
  prompts: string;
}

export interface Step {
  /** Names its record and its log: letters, digits, dots and dashes. */
  id: string;
  kind: Kind;
  /** That it takes time by. */
  units: number;
  needs: readonly Step[];
  /** The words after `drm`, but for --out. */
  words(places: Places): string[];
  /** How the command goes on with what an interrupted one has left in its folder: by --resume, or by the same line. */
  resumes: 'by flag' | 'by line';
  /** In its folder when it is done. */
  result: string;
}

/** All steps that these rest on, and they, each once, what is needed before what needs it. */
export function inOrder(asked: readonly Step[]): Step[] {
  const found = new Map<string, Step>();
  const visit = (step: Step) => {
    if (found.has(step.id)) return;
    step.needs.forEach(visit);
    found.set(step.id, step);
  };
  asked.forEach(visit);
  return [...found.values()];
}
