// What a table or figure of the paper consists of. A new one is a file here and a line in registry.ts.
import type { Shown } from '../document.js';
import type { Results } from '../results.js';
import type { Step } from '../step.js';
import type { Chain } from '../steps.js';

export interface Table {
  title: string;
  /** The steps whose results it shows; what those need is found by itself. Throws DrmError BAD_CONFIG. */
  steps(chain: Chain): Step[];
  /** From the results that are there, whichever those are. */
  show(chain: Chain, results: Results): Promise<Shown['blocks']>;
}
