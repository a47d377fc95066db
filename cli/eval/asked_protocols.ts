// What --protocol may name: ways of counting right answers, and ways of looking at images.
import { DrmError } from '../../binding/error.js';
import { nearest } from '../common/nearest.js';
import type { ProtocolName } from '../data/sets/published.js';
import { DEFINITIONS } from './protocols.js';
import { isViewingProtocol, VIEWING_PROTOCOLS, type ViewingProtocol } from './viewing.js';

export interface AskedProtocols {
  /** Undefined: each set's own. */
  counting?: ProtocolName[];
  viewing?: ViewingProtocol;
}

const COUNTING = Object.keys(DEFINITIONS) as ProtocolName[];

/** Throws DrmError USAGE for a name that is none. */
export function askedProtocols(names: readonly string[]): AskedProtocols {
  const counting: ProtocolName[] = [];
  let viewing: ViewingProtocol | undefined;
  for (const name of new Set(names)) {
    const protocol = COUNTING.find((one) => one === name);
    if (protocol) counting.push(protocol);
    else if (isViewingProtocol(name)) viewing = name;
    else {
      const known = [...COUNTING, ...Object.keys(VIEWING_PROTOCOLS)];
      const guess = nearest(name, known);
      throw new DrmError(
        'USAGE',
        `--protocol ${name}: expected one of ${known.join(', ')}${guess ? `; did you mean ${guess}?` : ''}`,
      );
    }
  }
  return { ...(counting.length > 0 && { counting }), ...(viewing && { viewing }) };
}
