#!/usr/bin/env node
import { errorEvent } from './common/errors.js';
import { stderr } from './ui/streams.js';

try {
  // Not at once: what keeps the program from being loaded (too few files may be open) has a sentence, too.
  const { main } = await import('./program.js');
  await main(process.argv.slice(2));
} catch (error) {
  const event = errorEvent(error, false);
  stderr.write(`drm: ${event.message}\n`);
  process.exitCode = event.exit_code;
}
