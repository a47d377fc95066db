// `drm data encode`: latents and prompt embeds of a pair set beside its shards.
import { DataSetEncoder } from '../../../binding/index.js';
import { chooseDevice } from '../../common/device.js';
import { progressOf, secondsSince } from '../../common/events.js';
import { encodeSet } from '../../data/load/encoded.js';
import { PairSet } from '../../data/prepared/pair_set.js';
import { resolveModel } from '../../hub/resolve.js';
import { loadTokenizers } from '../../text/tokenizer.js';
import { partsFit, warnOfCuts } from '../../train/fit.js';
import { encodedKey, imageSize, promptBytes } from '../../train/tasks/encoded.js';
import type { EncodeContext } from './options.js';

export async function encodePrepared(context: EncodeContext): Promise<void> {
  const { args, options, global, events, signal } = context;
  const started = performance.now();
  const [folder] = args;
  const { model = 'tiny' } = options;
  const base = await resolveModel(model);
  const size = options.size ?? Math.min(512, imageSize(base));
  const t5Length = options.t5Length ?? (base.tokenizers.t5 ? 512 : 0);
  partsFit(size, base.source);
  const set = await PairSet.open(folder);
  const { device, dtype } = await chooseDevice({ device: global.device, dtype: global.dtype ?? 'auto' });
  const tokenizer = loadTokenizers(base.tokenizers);
  const facts = { model, size, device, dtype, pairs: set.length, images: set.imageCount };
  events.emit({ event: 'started', version: 1, command: 'data encode', facts });
  try {
    using encoder = await DataSetEncoder.load(base.source, t5Length, { device, dtype }, { signal });
    const key = { ...(await encodedKey(base, size, t5Length, tokenizer.clipLength)), dtype };
    const encoded = await encodeSet(set, encoder, tokenizer, key, {
      model,
      promptBytes: promptBytes(base, t5Length + tokenizer.clipLength, dtype),
      signal,
      onProgress: (what, step, total) =>
        progressOf(
          events,
          { id: what, label: `encoding ${what}`, unit: what === 'images' ? 'image' : 'pair' },
          started,
        )(step, total),
      onBad: (message) => events.emit({ event: 'warning', message }),
      onCut: (texts, of) => warnOfCuts(texts, of, events),
    });
    const { manifest } = encoded;
    events.emit({ event: 'result', text: encoded.folder, data: { folder: encoded.folder, ...manifest } });
    const bad = Object.keys(manifest.bad).length;
    events.emit({
      event: 'done',
      seconds: secondsSince(started),
      facts: { images: manifest.images, prompts: manifest.prompts, ...(bad > 0 && { bad }) },
    });
  } finally {
    await set.close();
  }
}
