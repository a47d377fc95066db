// `drm pretrain` in the test's own process.
import { command } from '../../cli/commands/pretrain.js';
import type { Event } from '../../cli/common/events.js';
import { refusedHere, runHere } from './here.js';

/** Runs the command line after `drm pretrain`; returns its events. */
export const pretrainHere = (argv: string[], onEvent?: (event: Event) => void) => runHere(command, argv, onEvent);

/** Expects it to fail with this exit code and all these words in its message. */
export const refuses = (
  argv: string[],
  code: number,
  words: (string | RegExp)[],
  onEvent?: (event: Event) => void,
): Promise<void> => refusedHere(command, argv, code, words, onEvent);
