// What a view shows, as a reducer over events.
import type { Event } from '../common/events.js';
import type { Bar } from './bar.js';
import { duration, figures, metricLine } from './figures.js';
import { beginTraining, curves, numbers, reduceTraining, type Training } from './training.js';

export interface Line {
  kind: 'plain' | 'faint' | 'warning' | 'error' | 'good';
  text: string;
}

export interface State {
  /** Finished lines, never changed again. */
  lines: Line[];
  /** Unfinished work, in order of first appearance. */
  bars: Bar[];
  /** Of a command that trains: what is shown while it does. */
  training?: Training;
}

export const initialState: State = { lines: [], bars: [] };

const facts = (all: Record<string, string | number>) =>
  Object.entries(all)
    .map(
      ([key, value]) =>
        `${key.replaceAll('_', ' ')} ${typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(3) : value}`,
    )
    .join(' · ');

/** The line that an event leaves behind; undefined when it leaves none. */
export function lineOf(event: Event): Line | undefined {
  switch (event.event) {
    case 'started':
      return { kind: 'plain', text: `${event.command}: ${facts(event.facts)}` };
    case 'info':
      return { kind: 'faint', text: event.message };
    case 'warning':
      return { kind: 'warning', text: `warning: ${event.message}` };
    case 'image':
      return { kind: 'plain', text: event.path };
    case 'result':
      return { kind: 'plain', text: event.text };
    case 'resumed':
      return { kind: 'plain', text: `going on from step ${event.step}: ${event.path}` };
    case 'evaluation':
      return { kind: 'plain', text: `evaluation after step ${event.step}: ${figures(event.values).join(' · ')}` };
    case 'checkpoint':
      return { kind: 'faint', text: `checkpoint: ${event.path}` };
    case 'sample_sheet':
      return { kind: 'plain', text: `images after step ${event.step}: ${event.paths.join(' ')}` };
    case 'done':
      return {
        kind: 'good',
        text: [`done in ${duration(event.seconds)}`, facts(event.facts)].filter((part) => part !== '').join(': '),
      };
    case 'error':
      return { kind: 'error', text: `drm: ${event.message}` };
    default:
      return undefined;
  }
}

export function reduce(state: State, event: Event): State {
  if (event.event === 'progress' && !state.training) {
    const { id, label, step, total, unit, seconds } = event;
    const bar = { id, label, step, total, unit, seconds };
    if (total > 0 && step >= total) return { ...state, bars: state.bars.filter((b) => b.id !== id) };
    const known = state.bars.some((b) => b.id === id);
    return { ...state, bars: known ? state.bars.map((b) => (b.id === id ? bar : b)) : [...state.bars, bar] };
  }
  const line = lineOf(event);
  const lines = line ? [...state.lines, line] : state.lines;
  if (event.event === 'started' && event.steps !== undefined) return { ...state, training: beginTraining(event) };
  if (event.event === 'done' || event.event === 'error')
    return { lines: [...state.lines, ...summaryOf(state.training), ...(line ? [line] : [])], bars: [] };
  if (!state.training) return { ...state, lines };
  const training = reduceTraining(state.training, event);
  // What the view shows as it changes leaves no line each time; summaryOf has the last of each.
  return { ...state, training, lines: LIVE.has(event.event) ? state.lines : lines };
}

const LIVE = new Set<Event['event']>(['metric', 'evaluation', 'checkpoint', 'sample_sheet']);

/** The lines that the training view leaves behind when it goes. */
function summaryOf(training: Training | undefined): Line[] {
  if (!training) return [];
  const { command, facts, step, total, evaluation, checkpoint, images } = training;
  const started: Event = { event: 'started', version: 1, command, facts };
  const last = Object.fromEntries([...curves(training), ...numbers(training)].map(({ name, value }) => [name, value]));
  const events = [started, evaluation, images, checkpoint].flatMap((event) => (event ? [lineOf(event)] : []));
  const metric: Line[] = step > 0 ? [{ kind: 'plain', text: metricLine(step, total, last) }] : [];
  return [...events.slice(0, 1), ...metric, ...events.slice(1)].filter((line) => line !== undefined);
}
