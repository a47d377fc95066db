// Pictures that `drm score` is asked about: the command line's, or those of a JSONL file.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';

/** A prompt and its pictures. `preferred`: the first is what people preferred. */
export interface PictureJob {
  prompt: string;
  /** As the user wrote them. */
  names: string[];
  /** Where they are. */
  paths: string[];
  preferred: boolean;
}

const bad = (file: string, line: number, what: string): DrmError =>
  new DrmError('BAD_FILE', `[score] ${file}, line ${line}: ${what}`, { file, line: String(line) });

const FORMS = '{"prompt", "image"}, {"prompt", "images": [...]} or {"prompt", "chosen", "rejected"}';

function parse(text: string, file: string, line: number): PictureJob {
  let row: Record<string, unknown>;
  try {
    row = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch (error) {
    throw bad(file, line, `expected JSON (${(error as Error).message})`);
  }
  const { prompt, image, images, chosen, rejected } = row;
  const preferred = chosen !== undefined || rejected !== undefined;
  const names = preferred ? [chosen, rejected] : Array.isArray(images) ? images : [image];
  if (typeof prompt !== 'string' || names.length === 0 || !names.every((name) => typeof name === 'string'))
    throw bad(file, line, `expected ${FORMS}, found ${text.length > 120 ? `${text.slice(0, 120)} …` : text}`);
  return { prompt, names, paths: names.map((name) => resolve(dirname(file), name)), preferred };
}

/** One job a line; paths are relative to the file. Empty lines are passed over. Throws DrmError BAD_FILE. */
export function readPictureJobs(file: string): PictureJob[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    const why = error instanceof TypeError ? 'expected UTF-8 text' : (error as Error).message;
    throw new DrmError('BAD_FILE', `[score] ${file}: expected a JSONL file: ${why}`, { file });
  }
  const jobs = text.split(/\r\n|\n|\r/).flatMap((line, i) => (line.trim() === '' ? [] : [parse(line, file, i + 1)]));
  if (jobs.length === 0)
    throw new DrmError('BAD_FILE', `[score] ${file}: expected at least one line, found none`, { file });
  return jobs;
}
