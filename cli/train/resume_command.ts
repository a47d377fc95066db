// What to type to go on with a run.
import { commandLine } from '../common/options.js';

/** The command line that goes on with this run: the one that was typed, with --resume and the run's folder. */
export function resumeCommand(typed: readonly string[], folder: string): string {
  const words = [...typed];
  if (!words.some((word) => word === '--out' || word.startsWith('--out='))) words.push('--out', folder);
  if (!words.includes('--resume')) words.push('--resume');
  return commandLine(words);
}
