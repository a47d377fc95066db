// Prompt files: text (one a line), or JSON: an array or an object a line, each a text or an object with `prompt`, and
// optionally `negative_prompt`, `seed` and settings of its own.
import { DrmError } from '../../binding/error.js';
import { fileFault, isObject, readText } from '../common/json.js';
import { type JsonValue, jsonValues } from '../common/json_forms.js';
import { brief } from '../common/shape.js';

/** Settings that a prompt may have for itself. */
export type PromptSettings = Partial<Record<'steps' | 'guidance' | 'width' | 'height' | 'n', number>>;

export interface Prompt {
  prompt: string;
  negativePrompt?: string;
  seed?: bigint;
  settings?: PromptSettings;
}

/** What it says is meant by its fields, those that diffusers and A1111 call otherwise among them. */
const FIELDS: Readonly<Record<string, readonly (keyof PromptSettings)[]>> = {
  steps: ['steps'],
  num_inference_steps: ['steps'],
  guidance: ['guidance'],
  guidance_scale: ['guidance'],
  cfg_scale: ['guidance'],
  width: ['width'],
  height: ['height'],
  size: ['width', 'height'],
  n: ['n'],
  num_images: ['n'],
  num_images_per_prompt: ['n'],
};

const OWN = ['prompt', 'negative_prompt', 'seed'];

/** Fields that mean nothing here, each with how many prompts have it. */
export type Unread = Map<string, number>;

function settingsOf(value: Record<string, unknown>, unread: Unread, fault: (what: string) => DrmError): PromptSettings {
  const settings: PromptSettings = {};
  for (const [field, said] of Object.entries(value)) {
    if (OWN.includes(field) || said === null) continue;
    const keys = Object.hasOwn(FIELDS, field) ? FIELDS[field] : undefined;
    if (!keys) unread.set(field, (unread.get(field) ?? 0) + 1);
    else if (typeof said !== 'number' || !Number.isFinite(said))
      throw fault(`expected a number as ${JSON.stringify(field)}, found ${brief(said)}`);
    else for (const key of keys) settings[key] = said;
  }
  return settings;
}

const bad = (file: string, where: string, what: string): DrmError =>
  new DrmError('BAD_FILE', `[prompts] ${file}, ${where}: ${what}`, { file, where });

/** Null is absent. */
function promptOf(value: unknown, file: string, where: string, unread: Unread): Prompt {
  if (typeof value === 'string') return { prompt: value };
  if (!isObject(value)) throw bad(file, where, `expected a text, or an object with a "prompt", found ${brief(value)}`);
  const { prompt } = value;
  const [negative, seed] = [value.negative_prompt ?? undefined, value.seed ?? undefined];
  if (typeof prompt !== 'string')
    throw bad(file, where, `expected a text as "prompt", found ${prompt === undefined ? 'none' : brief(prompt)}`);
  if (negative !== undefined && typeof negative !== 'string')
    throw bad(file, where, `expected a text as "negative_prompt", found ${brief(negative)}`);
  if (seed !== undefined && !(Number.isSafeInteger(seed) && (seed as number) >= 0))
    throw bad(file, where, `expected a whole number from 0 as "seed", found ${brief(seed)}`);
  const settings = settingsOf(value, unread, (what) => bad(file, where, what));
  return {
    prompt,
    ...(Object.keys(settings).length > 0 && { settings }),
    ...(negative !== undefined && { negativePrompt: negative }),
    ...(seed !== undefined && { seed: BigInt(seed as number) }),
  };
}

const isNamed = (value: unknown): boolean => isObject(value) && Object.hasOwn(value, 'prompt');

/** Whether a text that does not say so by its file's name is JSON all the same, and does not merely look like it. */
function isJson(text: string): boolean {
  const all = (part: string, fits: (value: unknown) => boolean): boolean => {
    try {
      return jsonValues(part).every(({ value }) => fits(value));
    } catch {
      return false; // "[neon sign] over a bar", "{best quality} a cat"
    }
  };
  const [first = ''] = text.trimStart().split(/\r\n|\n|\r/, 1);
  if (first.startsWith('[')) return all(text, (value) => typeof value === 'string' || isNamed(value));
  return first.startsWith('{') && (all(first, isObject) || all(text, isNamed));
}

/**
 * Reads a prompt file. It is JSON when its name ends in .json or .jsonl, when all of it is an array of prompts, or when its
 * first line is an object; else each line is a prompt as it stands. Empty lines are passed over and counted. `-` is standard
 * input. Throws DrmError BAD_FILE with the line, or the place in the array.
 */
export function readPrompts(named: string): { prompts: Prompt[]; blank: number; unread: Unread } {
  const [file, source] = named === '-' ? ['standard input', 0] : [named, named];
  const as = {
    part: 'prompts',
    expected: 'a readable file of prompts in UTF-8',
    advice: 'give one prompt a line, or JSON',
  };
  const text = readText(
    file,
    as,
    (read) => {
      if (read.includes('\0')) throw new Error('found zero bytes');
      return read;
    },
    source,
  );
  const lines = text.split(/\r\n|\n|\r/);
  const filled = lines.map((line) => line.trim()).filter((line) => line !== '');
  let blank = lines.length - filled.length - (text.endsWith('\n') ? 1 : 0);
  const unread: Unread = new Map();
  let prompts: Prompt[] = filled.map((prompt) => ({ prompt }));
  if (filled.length > 0 && (/\.(jsonl?|ndjson)$/i.test(file) || isJson(text))) {
    let values: JsonValue[];
    try {
      values = jsonValues(text);
    } catch (error) {
      throw fileFault(file, (error as Error).message, as);
    }
    prompts = values.map(({ value, where }) => promptOf(value, file, where, unread));
    if (!values[0]?.where.startsWith('line')) blank = 0; // lines of an array are no prompts
  }
  if (prompts.length === 0) throw fileFault(file, 'expected at least one prompt, found none', as);
  return { prompts, blank, unread };
}
