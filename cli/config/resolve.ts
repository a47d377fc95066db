// What a run's settings are and where each comes from: schema default, the model's own drm.json, `extends`, the file,
// --set, then flags.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, parse, resolve } from 'node:path';
import type { Ajv, ErrorObject, ValidateFunction } from 'ajv';
import { DrmError } from '../../binding/error.js';
import { type JsonObject, readObject } from '../common/json.js';
import { nearest } from '../common/nearest.js';
import { packageRoot } from '../common/root.js';
import type { Settings, Task } from './types.js';

export const CONFIG_FOLDER = join(packageRoot, 'configs');

export interface Property {
  type: string;
  default: unknown;
  description: string;
  [rule: string]: unknown;
}

export interface Schema {
  properties: Record<string, Property>;
}

export interface Resolved<T extends Task = Task> {
  values: Settings[T];
  /** By key: "default", a file name, "--set" or "flag". */
  origin: Record<string, string>;
}

export interface Sources {
  /** What these settings begin from instead of the schema's defaults: those of a run that is resumed. */
  base?: { from: string; values: Record<string, unknown> };
  /** The file of settings that a model recommends, if it carries one: {"sample": {"steps": 28}}. */
  recommended?: (model: string) => string | undefined;
  file?: string;
  /** key=value texts; values are JSON where they parse as such, else text. */
  set?: string[];
  /** Values that the user gave as flags; undefined ones count as not given. */
  flags?: Record<string, unknown>;
}

/** The tasks that there is a schema for. */
export function taskNames(): string[] {
  const files = readdirSync(join(CONFIG_FOLDER, 'schema')).filter((file) => file.endsWith('.json'));
  return files.map((file) => parse(file).name).sort();
}

/** The configs that come with drm: 'sample/tiny'. */
export function configNames(): string[] {
  const folders = readdirSync(CONFIG_FOLDER).filter((folder) => !['schema', 'models', 'scorers'].includes(folder));
  return folders.sort().flatMap((folder) =>
    readdirSync(join(CONFIG_FOLDER, folder))
      .filter((file) => file.endsWith('.json'))
      .sort()
      .map((file) => `${folder}/${parse(file).name}`),
  );
}

/** Values that were allowed while the program ran, by task and setting. */
const allowed = new Map<string, Set<string>>();

/** Allows a value of a setting besides its schema's `enum`: for what registers itself. */
export function allowValue<T extends Task>(task: T, key: keyof Settings[T] & string, value: string): void {
  const name = `${task} ${key}`;
  allowed.set(name, (allowed.get(name) ?? new Set()).add(value));
}

function withAllowed(task: string, [key, property]: [string, Property]): [string, Property] {
  const more = allowed.get(`${task} ${key}`);
  return [key, more && Array.isArray(property.enum) ? { ...property, enum: [...property.enum, ...more] } : property];
}

/** A task's settings: its own, then those of the parts that its schema includes; where both have one, its own counts. */
export function loadSchema(task: string): Schema {
  const read = (name: string) =>
    JSON.parse(readFileSync(join(CONFIG_FOLDER, 'schema', `${name}.json`), 'utf8')) as Schema & { include?: string[] };
  const { properties, include = [] } = read(task);
  const parts = include.map((part) => read(`parts/${part}`).properties);
  const all: Record<string, Property> = Object.assign({}, properties, ...parts, properties);
  return { properties: Object.fromEntries(Object.entries(all).map((entry) => withAllowed(task, entry))) };
}

/** What a task is called on the command line. */
export const commandOf = (task: string) => task.replace('_', ' ');

const bad = (where: string, what: string, details: Record<string, string> = {}) =>
  new DrmError('BAD_CONFIG', `[config] ${where}: ${what}`, { file: where, ...details });

/** A config by path, or by the name of one that comes with drm ("sample/tiny"). */
function findFile(file: string): string {
  for (const path of [file, join(CONFIG_FOLDER, file), join(CONFIG_FOLDER, `${file}.json`)])
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) return path;
  const guess = nearest(file, configNames());
  throw new DrmError(
    'BAD_FILE',
    `[config] ${file}: expected a JSON file, or one of drm's own such as sample/tiny, found ${existsSync(file) ? 'a folder' : 'no such file'}; ${guess ? `did you mean ${guess}?` : '`drm config list` has their names'}`,
    { file },
  );
}

const readConfig = (path: string): JsonObject => readObject(path, { part: 'config', code: 'BAD_CONFIG' });

/** The file and those it extends, the most basic first. */
function chain(file: string, seen: string[] = []): { path: string; values: Record<string, unknown> }[] {
  const path = resolve(file);
  if (seen.includes(path)) throw bad(path, `extends itself by way of ${seen.join(' -> ')}`);
  const { extends: base, ...values } = readConfig(path);
  if (base === undefined || base === null) return [{ path, values }];
  if (typeof base !== 'string') throw bad(path, 'extends: expected the name of a file');
  return [...chain(join(dirname(path), base), [...seen, path]), { path, values }];
}

/** The task that a config file names, its `extends` included. */
export function taskOf(file: string): string {
  for (const { values } of chain(findFile(file)).reverse()) if (typeof values.task === 'string') return values.task;
  throw bad(file, 'expected "task" to say which command it is for, such as "sample"');
}

/** Of a value in parts, the part that a path such as /k/0 leads to. */
const partAt = (value: unknown, path: string): unknown =>
  path
    .split('/')
    .slice(1)
    .reduce(
      (whole: unknown, key) => (whole as Record<string, unknown>)[key.replace('~1', '/').replace('~0', '~')],
      value,
    );

function sentence(error: ErrorObject, whole: unknown): string {
  const value = partAt(whole, error.instancePath);
  const place = error.instancePath.slice(1).replace(/(^|\/)\d+$/, ''); // an entry of a list is told by what it is
  return `${place && `${place}: `}${expectation(error, value)}`;
}

function expectation(error: ErrorObject, value: unknown): string {
  const found = JSON.stringify(value) ?? 'nothing';
  const { params } = error;
  switch (error.keyword) {
    case 'required':
      return `expected ${params.missingProperty}, found ${found}`;
    case 'additionalProperties':
      return `expected no ${params.additionalProperty}, found ${found}`;
    case 'type':
      return `expected ${params.type}, found ${found}`;
    case 'enum':
      return `expected one of ${(params.allowedValues as unknown[]).join(', ')}, found ${found}`;
    case 'const':
      return `expected ${JSON.stringify(params.allowedValue)}, found ${found}`;
    case 'minimum':
      return `expected at least ${params.limit}, found ${found}`;
    case 'maximum':
      return `expected at most ${params.limit}, found ${found}`;
    default:
      return `${error.message ?? 'is not allowed'}, found ${found}`;
  }
}

function parseSet(text: string, properties: Schema['properties']): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) throw new DrmError('USAGE', `--set ${text}: expected key=value, such as --set steps=50`);
  const key = text.slice(0, at);
  const value = text.slice(at + 1);
  try {
    const parsed: unknown = JSON.parse(value);
    // A prompt may well be "5" or "true": where text is expected, text it stays.
    const isText = Object.hasOwn(properties, key) && properties[key]?.type === 'string';
    return [key, isText && typeof parsed !== 'string' ? value : parsed];
  } catch {
    return [key, value];
  }
}

/** What a model's drm.json says for one task. It may not choose another model, nor another task. */
function recommendedSettings(path: string, task: Task): Record<string, unknown> {
  const byTask = readConfig(path);
  const tasks = taskNames();
  for (const [key, value] of Object.entries(byTask)) {
    if (!tasks.includes(key)) throw bad(path, `expected settings by task (${tasks.join(', ')}), found ${key}`, { key });
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw bad(`${key} in ${path}`, `expected an object of settings, found ${JSON.stringify(value)}`, {
        file: path,
        key,
      });
  }
  // Fine-tuning reads prompts as sampling will, unless the model says otherwise.
  const { t5_length } = (byTask.sample ?? {}) as Record<string, unknown>;
  const settings = {
    ...((task === 'pretrain_flow' || task === 'grpo') && t5_length !== undefined && { t5_length }),
    ...(byTask[task] as Record<string, unknown> | undefined),
  };
  for (const key of ['model', 'task'])
    if (Object.hasOwn(settings, key))
      throw bad(`${key} in ${path}`, 'is not for a model to recommend', { file: path, key });
  return settings;
}

let ajv: Ajv | undefined;
/** By their rules: compiling one takes longer than all its uses. */
const validators = new Map<string, ValidateFunction>();

function validatorOf({ default: _, description: __, ...rules }: Property): ValidateFunction {
  const key = JSON.stringify(rules);
  const known = validators.get(key);
  if (known) return known;
  // Loaded when something is to be checked: defaults alone, help and completion need none of it.
  ajv ??= new (createRequire(import.meta.url)('ajv') as typeof import('ajv')).Ajv({ strict: true });
  const validate = ajv.compile(rules);
  validators.set(key, validate);
  return validate;
}

/** Throws DrmError BAD_CONFIG (a file) or USAGE (a flag or --set) naming key, expectation and finding. */
export function resolveConfig<T extends Task>(task: T, sources: Sources): Resolved<T> {
  const schema = loadSchema(task);
  const keys = Object.keys(schema.properties);
  const values: Record<string, unknown> = {};
  const origin: Record<string, string> = {};
  const put = (from: string, given: Record<string, unknown>, usage: boolean) => {
    const fail = (key: string, what: string) => {
      const option = from === 'flag' ? `--${key.replaceAll('_', '-')}` : `${from} ${key}`;
      const text = usage ? option : `${key} in ${from}`;
      return usage ? new DrmError('USAGE', `${text}: ${what}`, { key }) : bad(text, what, { file: from, key });
    };
    for (const [key, value] of Object.entries(given)) {
      // Own properties alone: "constructor" is no setting.
      const property = Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
      if (!property) {
        const guess = nearest(key, keys);
        throw fail(
          key,
          `expected a setting of drm ${commandOf(task)}, found an unknown one${guess ? `; did you mean ${guess}?` : `; known: ${keys.join(', ')}`}`,
        );
      }
      const validate = validatorOf(property);
      if (!validate(value))
        throw fail(key, validate.errors?.[0] ? sentence(validate.errors[0], value) : 'is not allowed');
      values[key] = value;
      origin[key] = from;
    }
  };
  for (const [key, property] of Object.entries(schema.properties)) {
    values[key] = property.default;
    origin[key] = 'default';
  }
  const files = sources.file === undefined ? [] : chain(findFile(sources.file));
  const set = Object.fromEntries((sources.set ?? []).map((text) => parseSet(text, schema.properties)));
  const flags = Object.fromEntries(Object.entries(sources.flags ?? {}).filter(([, value]) => value !== undefined));
  const model = [...files.map((file) => file.values), set, flags].reduce(
    (last, { model: own = last }) => own,
    values.model,
  );
  const recommended = typeof model === 'string' ? sources.recommended?.(model) : undefined;
  if (recommended !== undefined) put(recommended, recommendedSettings(recommended, task), false);
  if (sources.base) {
    // A run of another version may hold settings that are gone: what becomes of them is the run folder's affair.
    const known = Object.entries(sources.base.values).filter(([key]) => Object.hasOwn(schema.properties, key));
    put(sources.base.from, Object.fromEntries(known), false);
  }
  for (const { path, values: given } of files) put(path, given, false);
  put('--set', set, true);
  put('flag', flags, true);
  // Every key has a default and every other value passed the schema, which the type is generated from.
  return { values: values as unknown as Settings[T], origin };
}
