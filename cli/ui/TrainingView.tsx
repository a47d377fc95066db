// The live view of training: at most `height - 1` lines of `width` columns, since a taller one would make the terminal
// scroll at every frame.
import { Box, Text } from 'ink';
import { firstColumns, padEnd, padStart, widthOf } from '../text/columns.js';
import { BarView } from './BarView.js';
import { duration, figure, figures, label, quantity } from './figures.js';
import { resample, sparkline } from './sparkline.js';
import type { Style } from './style.js';
import { curves, numbers, type Series, span, type Training } from './training.js';

/** Facts that say themselves. */
const BARE = ['model', 'data', 'device', 'dtype', 'config'];
/** Lines besides curves, numbers and phase: title, progress, evaluation, checkpoint, images, warnings, the span. */
const OTHER_LINES = 7;

export function Title({ training, style }: { training: Training; style: Style }) {
  const { command, facts } = training;
  const bare = BARE.filter((key) => key in facts).map((key) => String(facts[key]));
  const rest = Object.entries(facts).filter(([key]) => !BARE.includes(key) && key !== 'run');
  const words = [...bare, ...rest.map(([key, value]) => `${key.replaceAll('_', ' ')} ${value}`)];
  return (
    <Text wrap="truncate-end">
      <Text bold={style.color}>{`drm ${command}`}</Text>
      {words.map((word) => ` · ${word}`).join('')}
    </Text>
  );
}

export function Progress({ training, style }: { training: Training; style: Style }) {
  const { step, total, secondsLeft } = training;
  const pace = secondsLeft / Math.max(1, total - step);
  const figures = [
    `step ${step}/${total || '?'}`,
    ...(pace > 0 ? [pace < 1 ? `${(1 / pace).toPrecision(2)} steps/s` : `${pace.toPrecision(2)} s/step`] : []),
    ...(Number.isFinite(secondsLeft) && step < total ? [`${duration(secondsLeft)} left`] : []),
  ].join(' · ');
  const done = total > 0 ? Math.min(1, step / total) : 0;
  const percent = `${String(Math.floor(100 * done)).padStart(3)} %`;
  const room = Math.min(40, style.width - widthOf(figures) - percent.length - 5);
  const length = room >= 8 ? room : 0;
  const full = Math.round(length * done);
  return (
    <Text wrap="truncate-end">
      {length > 0 && <Text {...(style.color && { color: 'cyan' })}>{'█'.repeat(full)}</Text>}
      {length > 0 && `${'░'.repeat(length - full)} `}
      {`${percent}  ${figures}`}
    </Text>
  );
}

export interface CurveProps {
  series: Series;
  /** Columns of the names, the same in all rows. */
  nameWidth: number;
  style: Style;
}

/** Name, value now, curve, and the lowest and highest value of the curve as far as there is room. */
export function Curve({ series, nameWidth, style }: CurveProps) {
  const { name, value, values } = series;
  const head = `${padEnd(firstColumns(label(name), nameWidth), nameWidth)} ${padStart(quantity(name, value), 8)}  `;
  const finite = values.filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const range = high > low ? `${quantity(name, low)} – ${quantity(name, high)}` : '';
  const rangeWidth = style.width >= 72 ? 20 : 0;
  const room = Math.min(60, style.width - widthOf(head) - rangeWidth - 1);
  const length = room >= 8 ? room : 0;
  const line = sparkline(resample(values, length)).padEnd(rangeWidth > 0 ? length : 0);
  return (
    <Text wrap="truncate-end">
      {head}
      {length > 0 && <Text {...(style.color && { color: 'cyan' })}>{line}</Text>}
      {rangeWidth > 0 && <Text dimColor={style.color}>{`  ${range}`}</Text>}
    </Text>
  );
}

/** Words parted by dots, onto as many lines as they need. */
function linesOf(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 3 + widthOf(word) < width) lines[lines.length - 1] = `${last} · ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function TrainingView({ training, style }: { training: Training; style: Style }) {
  const { phase, evaluation, checkpoint, images, warnings } = training;
  const facts = linesOf(
    numbers(training).map(({ name, value }) => figure(name, value)),
    style.width,
  );
  const all = curves(training);
  const shown = all.slice(
    0,
    Math.max(1, Math.min(10, style.height - 1 - OTHER_LINES - facts.length - (phase ? 1 : 0))),
  );
  const nameWidth = Math.min(18, Math.max(8, ...shown.map((series) => widthOf(label(series.name)))));
  const hidden = all.length - shown.length;
  return (
    <Box flexDirection="column" width={style.width}>
      <Title training={training} style={style} />
      <Progress training={training} style={style} />
      {phase && <BarView bar={{ ...phase, label: padEnd(phase.label, 8) }} style={style} />}
      {shown.map((series) => (
        <Curve key={series.name} series={series} nameWidth={nameWidth} style={style} />
      ))}
      {shown.length > 0 && (
        <Text dimColor={style.color} wrap="truncate-end">
          {`curves of the last ${duration(span(training))}${hidden > 0 ? `; ${hidden} more in metrics.jsonl` : ''}`}
        </Text>
      )}
      {facts.map((line) => (
        <Text key={line} wrap="truncate-end">
          {line}
        </Text>
      ))}
      {evaluation && (
        <Text wrap="truncate-end">{`evaluation ${evaluation.step}: ${figures(evaluation.values).join(' · ')}`}</Text>
      )}
      {checkpoint && <Text wrap="truncate-start">{`checkpoint ${checkpoint.path}`}</Text>}
      {images?.paths[0] !== undefined && <Text wrap="truncate-start">{`images ${images.paths[0]}`}</Text>}
      {warnings.count > 0 && (
        <Text wrap="truncate-end" {...(style.color && { color: 'yellow' })}>
          {`${warnings.count} warning${warnings.count > 1 ? 's' : ''}, the last: ${warnings.last.split('\n')[0]}`}
        </Text>
      )}
    </Box>
  );
}
