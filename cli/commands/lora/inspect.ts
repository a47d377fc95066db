// `drm lora inspect`: what an adapter file holds, and whether it fits a model.
import { DrmError } from '../../../binding/error.js';
import { inspectLora } from '../../../binding/index.js';
import type { LoraInspection, LoraLayer } from '../../../binding/types.js';
import { modelAsked } from '../../hub/resolve.js';
import { findLora, UNSTATED } from '../../lora/loras.js';
import { table } from '../../ui/table.js';
import type { InspectContext } from './options.js';

const distinct = <Value>(values: Value[]): Value[] => [...new Set(values)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** A layer's name within its block. */
const targetOf = ({ name }: LoraLayer): string => name.replace(/^transformer_blocks\.\d+\./, '');

const byTarget = (layers: LoraLayer[]) =>
  distinct(layers.map(targetOf)).map((target) => {
    const own = layers.filter((layer) => targetOf(layer) === target);
    return {
      target,
      layers: own.length,
      ranks: distinct(own.map(({ rank }) => rank)),
      alphas: distinct(own.map(({ alpha }) => alpha)),
      norm_a: mean(own.map(({ normA }) => normA)),
      norm_b: mean(own.map(({ normB }) => normB)),
      norm_delta: mean(own.map(({ normDelta }) => normDelta)),
    };
  });

/** What `--json` prints. */
function dataOf(found: LoraInspection, model: string | undefined) {
  const { file, spelling, tensors, alphaStated, unmatchedKeys, layers, match } = found;
  return {
    file,
    spelling,
    tensors,
    layers: layers.length,
    parameters: layers.reduce((sum, { rank, in: from, out }) => sum + rank * (from + out), 0),
    dtypes: distinct(layers.map(({ dtype }) => dtype)),
    ranks: distinct(layers.map(({ rank }) => rank)),
    alphas: distinct(layers.map(({ alpha }) => alpha)),
    scales: distinct(layers.map(({ alpha, rank }) => alpha / rank)),
    alpha_stated: alphaStated,
    targets: byTarget(layers),
    besides: unmatchedKeys,
    ...(match && { match: { model, tensors: match.tensors, matched: match.matched, unmatched: match.unmatched } }),
  };
}

const short = (value: number): string => String(Number(value.toPrecision(4)));
const list = (values: number[]): string => values.map(short).join(', ');

function listing(names: string[]): string {
  const shown = names.slice(0, 8).join(', ');
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown;
}

function textOf(data: ReturnType<typeof dataOf>): string {
  const { file, spelling, tensors, besides, match } = data;
  const lines = [`${file}: ${spelling === '' ? 'unknown' : spelling} names, ${tensors} tensors, ${data.layers} layers`];
  if (data.layers > 0) {
    lines.push(
      `rank ${list(data.ranks)}, alpha ${list(data.alphas)}${data.alpha_stated ? '' : ' (not stated: the rank)'}, scale ${list(data.scales)}, ${data.dtypes.join(', ')}, ${data.parameters.toLocaleString('en')} parameters`,
      '',
      table(
        ['target', 'layers', 'rank', 'alpha', '|A|', '|B|', '|scale B A|'],
        data.targets.map((t) => [
          t.target,
          String(t.layers),
          list(t.ranks),
          list(t.alphas),
          short(t.norm_a),
          short(t.norm_b),
          short(t.norm_delta),
        ]),
      ),
      '',
    );
  }
  if (besides.length > 0) lines.push(`besides an SD3 transformer it adapts ${listing(besides)}`);
  if (match) lines.push(`${match.matched} of ${match.tensors} tensors match ${match.model}`);
  return lines.join('\n').trimEnd();
}

export async function inspectLoras({ args, options, events, signal }: InspectContext): Promise<void> {
  const [files] = args;
  const model = await modelAsked(options);
  for (const name of files) {
    const found = await inspectLora(await findLora(name), model?.source.transformer, { signal });
    const data = dataOf(found, model?.name);
    events.emit({ event: 'result', text: textOf(data), data });
    if (!found.alphaStated) events.emit({ event: 'warning', message: `${found.file} ${UNSTATED}` });
    const { match } = found;
    if (match && match.matched < match.tensors)
      throw new DrmError(
        'KEYS_MISMATCH',
        `[lora] ${found.file}: ${match.matched} of ${match.tensors} tensors match ${model?.name}; no layer of that name and size for ${listing(match.unmatched)}; ${found.layers.length > 0 ? 'was it trained on another base model?' : 'is it of another architecture, or in a spelling that docs/lora.md does not list?'}`,
        { file: found.file, unmatched: match.unmatched.join('\n') },
      );
  }
}
