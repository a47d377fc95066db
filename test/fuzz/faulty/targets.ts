// Targets that go wrong in every way that the driver must see, for its own test.
import { DrmError } from '../../../binding/error.js';
import type { FuzzTarget } from '../driver.js';

const seeds = () => [Buffer.from('seed')];
/** Only after other inputs, so that which one it was must be found. */
let calls = 0;
const at = (call: number, act: () => void) => () => {
  if (calls++ === call) act();
};

export const targets: FuzzTarget[] = [
  {
    name: 'right',
    seeds,
    run: () => {
      throw new DrmError('BAD_FILE', 'refused');
    },
  },
  {
    name: 'bug',
    seeds,
    run: at(3, () => {
      throw new TypeError('read properties of undefined');
    }),
  },
  {
    name: 'internal',
    seeds,
    run: at(3, () => {
      throw new DrmError('INTERNAL', 'cannot be');
    }),
  },
  { name: 'abort', seeds, run: at(3, () => process.abort()) },
  {
    name: 'hang',
    seeds,
    run: at(3, () => {
      for (;;);
    }),
  },
  { name: 'memory', seeds, run: () => void Buffer.alloc(1200 << 20, 1) },
  {
    name: 'unheard',
    seeds,
    async run() {
      if (calls++ === 3) void Promise.reject(new Error('nobody listens'));
      await new Promise((next) => setImmediate(next));
    },
  },
];
