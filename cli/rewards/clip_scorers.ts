// The scorers that are a CLIP: CLIP ViT-H/14 itself, PickScore, HPS and HPSv2. They differ in weights, in how images become
// squares, in how texts are cleaned, and in the unit of the cosine.
import type { ScorerSource } from '../../binding/types.js';
import { whatFtfyMayAlter } from '../text/clip_cleaning.js';
import { type ClipTextStyle, clipRow } from '../text/clip_rows.js';
import { cutEnd } from '../text/columns.js';
import { Tokenizer } from '../text/tokenizer.js';
import { visibleLine } from '../text/visible.js';
import { type Reader, type ScorerPlan, scorerSpec } from './scorer.js';
import { ScorerFiles } from './scorer_files.js';
import type { ImageSpec } from './spec.js';
import { PRECISIONS, precisionOf, type Variants } from './variants.js';

type ClipScorer = 'clip-h' | 'pickscore' | 'hps' | 'hpsv2' | 'hpsv2.1';

/** flow_grpo's rewards by PickScore are near 1 by this. */
const FLOW_GRPO = 26;
/** What a cosine is multiplied by for the likelihood of a preference: the temperature that these CLIPs are trained to. */
const TEMPERATURE = 100;

interface Own extends Omit<ScorerPlan, 'source' | 'dtype' | 'reader'> {
  /** Of the kind `clip` in the core. */
  settings: object;
  /** In configs/scorers, where no config.json is there. */
  shape: string;
  cleaning: ClipTextStyle;
}

export const CLIP_VARIANTS: Record<ClipScorer, Variants> = {
  'clip-h': PRECISIONS,
  pickscore: { 'over-26': 'divided by 26, as flow_grpo does', ...PRECISIONS },
  hps: PRECISIONS,
  hpsv2: { 'no-antialias': 'images reduced without antialias, as torchvision before 0.17 did', ...PRECISIONS },
  'hpsv2.1': { 'no-antialias': 'images reduced without antialias, as torchvision before 0.17 did', ...PRECISIONS },
};

const letterboxed = (version: string, variants: readonly string[]): Own => {
  const antialias = !variants.includes('no-antialias');
  return {
    ...{ unit: 'cosine', scale: TEMPERATURE, shape: 'clip-vit-h-14', cleaning: 'open_clip' },
    settings: { pixels: 'letterbox', antialias },
    definition: `HPS ${version}: cosine of image and prompt (benchmarks show 100 times it), the whole image in a black square, ${antialias ? 'antialiased' : 'without antialias'}`,
  };
};

const OWN: Record<ClipScorer, (variants: readonly string[]) => Own> = {
  'clip-h': () => ({
    ...{ unit: 'cosine', scale: TEMPERATURE, hasSpace: true, shape: 'clip-vit-h-14', cleaning: 'transformers' },
    settings: { pixels: 'transformers' },
    definition: 'CLIP ViT-H/14: cosine of image and prompt, the middle square of the image',
  }),
  pickscore: (variants) => {
    const over = variants.includes('over-26') ? FLOW_GRPO : 1;
    return {
      unit: over === 1 ? 'e^s cosine' : `e^s cosine / ${over}`,
      factor: ({ logitScale }) => Math.exp(logitScale) / over,
      ...(over > 1 && { scale: over }),
      ...{ shape: 'clip-vit-h-14', cleaning: 'transformers' },
      settings: { pixels: 'transformers' },
      definition: `PickScore: e^s times the cosine of image and prompt${over > 1 ? `, divided by ${over}` : ''}, the middle square of the image`,
    };
  },
  hps: () => ({
    ...{ unit: 'cosine', scale: TEMPERATURE, shape: 'clip-vit-l-14', cleaning: 'open_clip' },
    settings: { pixels: 'torchvision' },
    definition: 'HPS: cosine of image and prompt, the middle square of the image',
  }),
  hpsv2: (variants) => letterboxed('v2.0', variants),
  'hpsv2.1': (variants) => letterboxed('v2.1', variants),
};

/** Files are looked for at once. Throws DrmError MISSING_WEIGHTS. */
export function clipScorer(kind: ClipScorer, name: string, place: string, variants: readonly string[]): ImageSpec {
  const { settings, shape, cleaning, ...own } = OWN[kind](variants);
  const files = ScorerFiles.of(kind, name, place);
  const preprocessor = cleaning === 'transformers' ? files.optional('preprocessor') : undefined;
  const source: ScorerSource = {
    kind: 'clip',
    config: files.config(shape),
    weights: [files.file('weights')],
    ...(preprocessor !== undefined && { preprocessorConfig: preprocessor }),
    settings: JSON.stringify(settings),
  };
  const folder = files.tokenizer();
  return scorerSpec(name, async ({ onWarning }) => ({
    ...own,
    source,
    reader: clipReader(Tokenizer.fromFolder(folder), cleaning, onWarning && ftfyWarning(name, onWarning)),
    dtype: precisionOf(variants, 'fp32'),
  }));
}

/** Rows of CLIP's ids; `look` sees the prompts that are cleaned as open_clip does. */
export const clipReader =
  (tokenizer: Tokenizer, style: ClipTextStyle, look?: (prompt: string) => void): Reader =>
  (prompts, { tokens }) => {
    if (style === 'open_clip') for (const prompt of prompts) look?.(prompt);
    return Promise.all(prompts.map((prompt) => clipRow(tokenizer, prompt, tokens, style)));
  };

/** Once: a set in another language would say it of every prompt. */
function ftfyWarning(name: string, onWarning: (message: string) => void): (prompt: string) => void {
  let told = false;
  return (prompt) => {
    const part = told ? undefined : whatFtfyMayAlter(prompt);
    if (part === undefined) return;
    told = true;
    onWarning(
      `${name}: its own code repairs prompts with ftfy, which drm does not have: "${visibleLine(part)}" in "${cutEnd(visibleLine(prompt), 60)}" may be read otherwise there; other such prompts are not named`,
    );
  };
}
