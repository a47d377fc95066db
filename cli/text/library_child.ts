// The tokenizer library, in a process of its own: see library.ts, which starts it. A damaged file or an unlucky text ends this
// process and no other.
import { createRequire } from 'node:module';
import type { Tokenizer } from '@anush008/tokenizers';
import type { Answers, Requests } from './library.js';

const require = createRequire(import.meta.url);
const tokenizers = new Map<number, Tokenizer>();

/** The last resort of a native call that does not return is a signal that nothing can hold up. */
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));

const work: { [K in keyof Requests]: (request: Requests[K]) => Promise<Answers[K]> | Answers[K] } = {
  load({ id, json, named }) {
    // Loaded here and not above: a process that is told to go before it is asked anything does not wait for it.
    const library = require('@anush008/tokenizers') as typeof import('@anush008/tokenizers');
    const tokenizer = library.Tokenizer.fromString(json);
    // The file's own cutting and padding would hide how long a prompt really is.
    tokenizer.disableTruncation();
    tokenizer.disablePadding();
    tokenizers.set(id, tokenizer);
    return { size: tokenizer.getVocabSize(true), ids: named.map((token) => tokenizer.tokenToId(token)) };
  },
  async encode({ id, text, length }) {
    const encoding = await (tokenizers.get(id) as Tokenizer).encode(text);
    const ids = encoding.getIds();
    const cut = ids.length > length ? encoding.getOffsets()[length - 1]?.[0] : undefined;
    return { ids, cut: cut ?? 0 };
  },
  drop({ id }) {
    tokenizers.delete(id);
    return {};
  },
};

process.on('message', async ({ kind, request }: { kind: keyof Requests; request: never }) => {
  try {
    process.send?.({ answer: await work[kind](request) });
  } catch (error) {
    process.send?.({ refused: (error as Error).message });
  }
});
