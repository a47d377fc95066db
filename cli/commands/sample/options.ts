// What can be asked of `drm sample`.
import type { ContextOf } from '../../common/command.js';
import { type Argument, grouped, type Option } from '../../common/option.js';
import { toNumber } from '../../common/options.js';
import { FORMATS } from '../../image/formats.js';
import { toLayers, toSeed } from '../../sample/flags.js';
import { BATCH, CHOICE, COUNT, GUIDANCE, NEGATIVE_PROMPT, SDE, STEPS } from '../../sample/option_definitions.js';

export const ARGUMENTS = [
  { name: '[prompt...]', description: 'what to show; as --prompt' },
] as const satisfies readonly Argument[];

export const OPTIONS = [
  ...grouped('What to show, and with which model:', [
    {
      flags: '--model <model>',
      description: 'name, diffusers folder, single .safetensors file, or hub id in the cache',
      default: 'tiny',
    },
    {
      flags: '--lora <file>',
      description: 'FILE[:SCALE]: an adapter, how strongly it counts (1); may be repeated',
      repeatable: true,
    },
    { flags: '-p, --prompt <text>', description: 'what to show; may be repeated', repeatable: true },
    {
      flags: '--prompts <file>',
      description: 'one prompt a line, or JSON with prompt, negative_prompt, seed, steps …; - is standard input',
    },
    NEGATIVE_PROMPT,
    { flags: '--from <image>', description: 'repeat an image from the settings inside it; other flags change them' },
  ]),
  ...grouped('Sampling:', [
    STEPS,
    GUIDANCE,
    { flags: '--size <pixels>', description: 'height and width', parse: toNumber },
    { flags: '--height <pixels>', description: 'a multiple of VAE factor x patch (16)', parse: toNumber },
    { flags: '--width <pixels>', description: 'a multiple of VAE factor x patch (16)', parse: toNumber },
    {
      flags: '--seed <n>',
      description: 'image i of a prompt has seed + i; random draws it',
      default: '0',
      parse: toSeed,
    },
    COUNT,
    SDE,
  ]),
  ...grouped('Candidates, chosen by a reward:', [
    {
      flags: '--k <n>',
      description: 'candidates a step, of which the best by the reward goes on',
      default: '1',
      parse: toNumber,
    },
    {
      flags: '--reward <reward>',
      description:
        'what chooses for --k: a reward model by name, folder or file; or a scorer (judge, clip:FOLDER …), which takes longer',
    },
    ...CHOICE,
    { flags: '--trace', description: "write every step's candidates, scores and choice as JSON and a sheet" },
  ]),
  ...grouped('What is written:', [
    {
      flags: '--format <format>',
      description: 'of the images, each with its settings inside; `--out x.webp` says so, too, for one image',
      choices: FORMATS,
      default: 'png',
    },
    { flags: '--grid', description: 'also write one sheet of all images; with --n above 1, a row a prompt' },
    {
      flags: '--preview [steps]',
      description: 'write preview.png every so many steps',
      default: 'off',
      parse: toNumber,
    },
    {
      flags: '--init-latents <file>',
      description: 'start from FILE[:TENSOR], safetensors [N, C, H, W] (tensor: latents)',
    },
    { flags: '--save-latents <file>', description: 'write the final latents (tensor latents, fp32)' },
  ]),
  ...grouped('Skip-layer guidance:', [
    { flags: '--skip-layers <list>', description: 'blocks, such as 7,8,9', parse: toLayers },
    { flags: '--skip-layer-scale <w>', description: 'its weight', default: '2.8', parse: toNumber },
    {
      flags: '--skip-layer-start <fraction>',
      description: 'where in the steps it begins',
      default: '0.01',
      parse: toNumber,
    },
    { flags: '--skip-layer-stop <fraction>', description: 'where it ends', default: '0.2', parse: toNumber },
  ]),
  ...grouped('Memory and speed:', [
    BATCH,
    { flags: '--free-encoders', description: "give the text encoders' memory back before denoising" },
    {
      flags: '--tile <edge>',
      description: 'VAE tile in latent pixels; 0 for large images only, -1 never',
      default: '0',
      parse: toNumber,
    },
    { flags: '--t5-length <n>', description: 'tokens that T5 reads', default: '256', parse: toNumber },
    { flags: '--no-t5', description: 'do without T5 (zeros, as in the reference)' },
  ]),
  ...grouped('Parts of the model:', [
    { flags: '--components <dir>', description: 'diffusers folder that supplies what a single file lacks' },
    { flags: '--vae <file>', description: 'VAE weights' },
    { flags: '--clip-l <file>', description: 'CLIP-L weights' },
    { flags: '--clip-g <file>', description: 'CLIP-G weights' },
    { flags: '--t5 <file>', description: 'T5 weights' },
    { flags: '--revision <name>', description: 'branch, tag or commit of a hub id' },
  ]),
] as const satisfies readonly Option[];

export type SampleContext = ContextOf<typeof OPTIONS, typeof ARGUMENTS>;
