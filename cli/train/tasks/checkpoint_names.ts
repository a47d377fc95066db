// Checkpoints that are named as a reward or a model (RUN@STEP, RUN@latest, a stopped run): made into models, which whoever
// resolves these names then finds.
import { existsSync } from 'node:fs';
import type { Context } from '../../common/command.js';
import { madeFolder, rememberFolder } from '../../hub/made_folders.js';
import { checkpointNamed } from '../../runs/checkpoint_name.js';

/** `texts`: whatever else stands in them, as in 0.7*drm:runs/a@40+0.3*judge. Throws DrmError BAD_FILE. */
export async function prepareCheckpoints(
  texts: readonly string[],
  { events, signal }: Pick<Context, 'events' | 'signal'>,
): Promise<void> {
  const words = texts.flatMap((text) => text.split(/[*+,=]/));
  for (const name of new Set(words.map((word) => word.trim().replace(/^drm:/, '')))) {
    const run = name.replace(/@(\d+|latest)$/, '');
    if (name === '' || madeFolder(name) !== undefined || !existsSync(run)) continue;
    const checkpoint = await checkpointNamed(name);
    if (!checkpoint) continue;
    const { writeCheckpointModel } = await import('./checkpoint_model.js');
    const { folder, step, steps } = await writeCheckpointModel(checkpoint, signal);
    rememberFolder(name, folder);
    const of = steps > 0 ? ` of ${steps}` : '';
    const stopped = run === name && checkpoint.step === undefined ? ' has no result yet; its model' : '';
    events.emit({ event: 'info', message: `${name}${stopped} is taken as it stood after step ${step}${of}` });
  }
}
