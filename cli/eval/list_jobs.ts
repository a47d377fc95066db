// Images that `drm score` is asked about: the command line's, or those of a list.
import { dirname, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { isObject, readText } from '../common/json.js';
import { type JsonValue, jsonValues } from '../common/json_forms.js';
import { brief } from '../common/shape.js';

/** A prompt and its images. `preferred`: the first is what people preferred. */
export interface ListJob {
  prompt: string;
  /** As the user wrote them. */
  names: string[];
  /** Where they are. */
  paths: string[];
  preferred: boolean;
}

const bad = (file: string, what: string): DrmError => new DrmError('BAD_FILE', `[score] ${file}${what}`, { file });

const FORMS = '{"prompt", "image"}, {"prompt", "images": [...]} or {"prompt", "chosen", "rejected"}';

/** Null is absent. */
function jobOf({ value, where }: JsonValue, file: string): ListJob {
  const { prompt, image, images, ...row } = isObject(value) ? value : {};
  const [chosen, rejected] = [row.chosen ?? undefined, row.rejected ?? undefined];
  const preferred = chosen !== undefined || rejected !== undefined;
  const names = preferred ? [chosen, rejected] : Array.isArray(images) ? images : [image];
  if (typeof prompt !== 'string' || names.length === 0 || !names.every((name) => typeof name === 'string'))
    throw bad(file, `, ${where}: expected ${FORMS}, found ${brief(value)}`);
  return { prompt, names, paths: names.map((name) => resolve(dirname(file), name)), preferred };
}

/** One job an object of a list; paths are relative to the file. Throws DrmError BAD_FILE. */
export function readListJobs(file: string): ListJob[] {
  const values = readText(file, { part: 'score', expected: 'a list as JSON' }, jsonValues);
  if (values.length === 0) throw bad(file, ': expected at least one line, found none');
  return values.map((value) => jobOf(value, file));
}
