import { DrmError } from '../../binding/error.js';
import type { Settings, Task } from './types.js';

/** BAD_CONFIG that names the setting; `what` says what was expected, what was found and what to do. */
export const badSetting = <T extends Task>(
  task: T,
  key: keyof Settings[T] & string,
  what: string,
  details: Record<string, string> = {},
): DrmError => new DrmError('BAD_CONFIG', `[${task}] ${key}: ${what}`, { key, ...details });
