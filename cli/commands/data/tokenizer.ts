// `drm data tokenizer`: a tokenizer of CLIP's kind from the captions of a prepared set.
import { needed } from '../../common/options.js';
import { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { clipTokenizerFiles, writeTokenizer } from '../../text/train_bpe.js';
import type { TokenizerContext } from './options.js';

export async function trainTokenizer(context: TokenizerContext): Promise<void> {
  const { args, options, global, events } = context;
  const started = performance.now();
  const [folder] = args;
  const { out } = needed('data tokenizer', {
    out: { value: global.out, what: 'a folder to write to', give: '--out DIR' },
  });
  const { vocabulary = 3000, maxLength = 24, pad = '<|endoftext|>' } = options;
  const split = options.split === undefined || options.split === 'all' ? {} : { split: options.split };
  const set = await CaptionedSet.open(folder, split);
  const captions = Array.from({ length: set.length }, (_, i) => set.caption(i));
  await writeTokenizer(out, clipTokenizerFiles(captions, { vocabulary, maxLength, pad }));
  // What was written is read as any user of the folder reads it.
  const tokenizer = Tokenizer.fromFolder(out);
  let tokens = 0;
  let longest = 0;
  let cut = 0;
  for (const caption of captions) {
    const { length } = await tokenizer.ids(caption);
    tokens += length;
    longest = Math.max(longest, length);
    if (length > maxLength) cut += 1;
  }
  if (cut > 0)
    events.emit({
      event: 'warning',
      message: `${cut} of ${captions.length} captions are longer than ${maxLength} tokens and will be cut; --max-length ${longest} would hold all`,
    });
  const facts = { captions: captions.length, tokens_per_caption: tokens / captions.length, longest };
  events.emit({ event: 'result', text: out, data: { folder: out, ...facts } });
  events.emit({ event: 'done', seconds: (performance.now() - started) / 1000, facts });
}
