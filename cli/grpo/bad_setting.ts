import { DrmError } from '../../binding/error.js';
import type { GrpoSettings } from '../config/types.js';

/** BAD_CONFIG that names the setting; `what` says what was expected, what was found and what to do. */
export const badSetting = (key: keyof GrpoSettings, what: string, details: Record<string, string> = {}): DrmError =>
  new DrmError('BAD_CONFIG', `[grpo] ${key}: ${what}`, { key, ...details });
