// Settings of `drm grpo` for tests: the defaults, and what a test changes.
import { resolveConfig } from '../../cli/config/resolve.js';
import type { GrpoSettings } from '../../cli/config/types.js';

export const grpoSettings = (changes: Partial<GrpoSettings> = {}): GrpoSettings => ({
  ...resolveConfig('grpo', {}).values,
  ...changes,
});
