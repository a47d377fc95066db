// What can be asked of `drm data`, by subcommand.
import type { Context, ContextOf } from '../../common/command.js';
import { type Argument, grouped, type Option, type OptionsOf } from '../../common/option.js';
import { toNumber, toWhole } from '../../common/options.js';
import { PUBLISHED_SETS } from '../../data/sets/registry.js';
import { SMALLEST_VOCABULARY } from '../../text/train_bpe.js';

export const FOLDER = [
  { name: '<folder>', description: 'what `drm data prepare` wrote' },
] as const satisfies readonly Argument[];

const SPLIT = { flags: '--split <name>', description: 'only this split', default: 'all' } as const satisfies Option;

export const PREPARE_OPTIONS = [
  ...grouped('What is read:', [
    { flags: '--from <path>', description: 'the file or folder to read' },
    {
      flags: '--images <path>',
      description: 'folder or archive with the images',
      default: 'beside the list',
    },
    {
      flags: '--rewrite <from=to>',
      description: 'image paths that begin with from begin with to; may be repeated',
      repeatable: true,
    },
    SPLIT,
    {
      flags: '--max-pairs <n>',
      description: 'the first n pairs that can be used',
      default: 'all',
      parse: toWhole(1, 1e9),
    },
    {
      flags: '--min-confidence <x>',
      description: 'drops training pairs below',
      default: '0.95 for hpdv3 and --raters',
      parse: toNumber,
    },
    { flags: '--keep-ties', description: 'keeps ties, marked, for protocols that count them' },
    {
      flags: '--hold-out <percent>',
      description: 'captions that make a split `test`',
      default: '0',
      parse: toWhole(0, 99),
    },
    {
      flags: '--seed <n>',
      description: 'chooses the pairs of --sample and --mix; emoji-prefs: makes the pairs',
      default: '0',
      parse: toWhole(0),
    },
  ]),
  ...grouped(
    'One published set alone:',
    Object.values(PUBLISHED_SETS).flatMap(({ flags }) => flags),
  ),
  ...grouped('Embedded emoji:', [
    {
      flags: '--model <model>',
      description: 'emoji-prefs: the base whose own images are compared',
      default: 'tiny',
    },
    {
      flags: '--early <model>',
      description: 'emoji-prefs: an earlier checkpoint of it; may be repeated, the latest first',
      repeatable: true,
    },
    {
      flags: '--also <style>',
      description: 'emoji: also trains on openmoji, emojione, emojione-v1, fxemoji or noto-v1; may be repeated',
      repeatable: true,
    },
    {
      flags: '--raters <n>',
      description: 'emoji-prefs: pairs of its own images that so many simulated raters vote on, instead',
      parse: toWhole(1, 1000),
    },
    {
      flags: '--own-images <n>',
      description: 'with --raters: images of a caption that the base draws by its recommended settings',
      default: '8',
      parse: toWhole(2, 64),
    },
    {
      flags: '--scorer <name>',
      description: 'emoji-prefs: orders two of its own images of a caption, such as clip:FOLDER; makes `own` pairs',
    },
  ]),
  ...grouped('What is written:', [
    {
      flags: '--size <n>',
      description: 'edge of a square, lossless copy; pairs are squashed to it, captioned images cropped',
      default: '64 for emoji and emoji-prefs, else the original',
      parse: toWhole(1, 4096),
    },
    { flags: '--self-contained', description: 'writes the images with every pair that uses them' },
    {
      flags: '--shard-size <mb>',
      description: 'a shard ends after so many megabytes',
      default: '256',
      parse: toWhole(1, 8192),
    },
    {
      flags: '--shard-samples <n>',
      description: 'and after so many samples',
      default: 'no limit',
      parse: toWhole(1, 1e9),
    },
  ]),
] as const satisfies readonly Option[];

export const INSPECT_OPTIONS = [
  SPLIT,
  { flags: '--verify', description: "also compare each shard's sha256" },
  {
    flags: '--samples <n>',
    description: 'images or pairs on the contact sheet',
    default: '64',
    parse: toWhole(1, 1000),
  },
  {
    flags: '--seed <n>',
    description: 'chooses them',
    default: '0',
    parse: toWhole(0),
  },
] as const satisfies readonly Option[];

export const ENCODE_OPTIONS = [
  {
    flags: '--model <model>',
    description: 'the base whose VAE and text encoders run',
    default: 'tiny',
  },
  {
    flags: '--size <n>',
    description: 'edge of the square that images are scaled to',
    default: "the model's own, at most 512",
    parse: toWhole(1, 4096),
  },
  {
    flags: '--t5-length <n>',
    description: 'tokens that T5 reads of a prompt, as --set t5_length of drm train',
    default: '512',
    parse: toWhole(0, 4096),
  },
] as const satisfies readonly Option[];

export const TOKENIZER_OPTIONS = [
  SPLIT,
  {
    flags: '--vocabulary <n>',
    description: 'most entries',
    default: '3000',
    parse: toWhole(SMALLEST_VOCABULARY, 1_000_000),
  },
  { flags: '--max-length <n>', description: 'tokens of a prompt', default: '24', parse: toWhole(3, 77) },
  {
    flags: '--pad <token>',
    description: 'what fills a prompt up; CLIP-G pads with !',
    choices: ['<|endoftext|>', '!'],
    default: '<|endoftext|>',
  },
] as const satisfies readonly Option[];

export type PrepareContext = Context<OptionsOf<typeof PREPARE_OPTIONS>, readonly [source: string]>;
export type InspectContext = ContextOf<typeof INSPECT_OPTIONS, typeof FOLDER>;
export type EncodeContext = ContextOf<typeof ENCODE_OPTIONS, typeof FOLDER>;
export type TokenizerContext = ContextOf<typeof TOKENIZER_OPTIONS, typeof FOLDER>;
