// What can be asked of `drm pull`.
import type { ContextOf } from '../../common/command.js';
import type { Argument, Option } from '../../common/option.js';

export const ARGUMENTS = [
  { name: '<id>', description: 'org/name on the hub, or a scorer such as pickscore' },
] as const satisfies readonly Argument[];

export const OPTIONS = [
  { flags: '--revision <name>', description: 'branch, tag or commit', default: 'main' },
  { flags: '--include <glob>', description: 'only these files; may be repeated', repeatable: true },
  { flags: '--exclude <glob>', description: 'not these files; may be repeated', repeatable: true },
  { flags: '--repo-type <type>', description: 'what the id names', choices: ['model', 'dataset'], default: 'model' },
  { flags: '--dry-run', description: 'list what would be fetched' },
] as const satisfies readonly Option[];

export type PullContext = ContextOf<typeof OPTIONS, typeof ARGUMENTS>;
