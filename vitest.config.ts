import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx,mjs}'],
    // Many tests start real processes; a busy two-core machine needs the slack, a hung process still shows.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks', // the addon's exit behaviour is a process's, not a worker thread's
  },
});
