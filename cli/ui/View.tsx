import { Box, Static, Text } from 'ink';
import { type Bar, barFigures, type Line, type State } from './state.js';
import { TrainingView } from './TrainingView.js';

export interface Style {
  color: boolean;
  /** Columns of the terminal. */
  width: number;
  /** Its lines. */
  height: number;
}

const COLOR: Record<Line['kind'], string | undefined> = {
  plain: undefined,
  faint: undefined,
  warning: 'yellow',
  error: 'red',
  good: 'green',
};

export function LineView({ line, style }: { line: Line; style: Style }) {
  const color = style.color ? COLOR[line.kind] : undefined;
  return (
    <Text {...(color !== undefined && { color })} dimColor={style.color && line.kind === 'faint'}>
      {line.text}
    </Text>
  );
}

/** One line: label, bar, percent, figures. The bar takes what the figures leave, and goes when that is too little. */
export function BarView({ bar, style }: { bar: Bar; style: Style }) {
  const percent = bar.total > 0 ? ` ${String(Math.floor((100 * bar.step) / bar.total)).padStart(3)} %` : '';
  const figures = barFigures(bar);
  const longest = Math.max(8, style.width - percent.length - figures.length - 3);
  const label = bar.label.length > longest ? `…${bar.label.slice(1 - longest)}` : bar.label; // the end tells files apart
  const room = style.width - label.length - percent.length - figures.length - 5;
  const length = bar.total > 0 && room >= 8 ? Math.min(30, room) : 0;
  const full = length ? Math.round((length * bar.step) / bar.total) : 0;
  const color = style.color ? { color: 'cyan' } : {};
  return (
    <Box>
      <Text wrap="truncate-end">
        {label} {length > 0 && <Text {...color}>{'█'.repeat(full)}</Text>}
        {length > 0 && '░'.repeat(length - full)}
        {percent} {figures}
      </Text>
    </Box>
  );
}

export function View({ state, style }: { state: State; style: Style }) {
  return (
    <>
      <Static items={state.lines}>{(line, i) => <LineView key={i} line={line} style={style} />}</Static>
      {state.bars.slice(-8).map((bar) => (
        <BarView key={bar.id} bar={bar} style={style} />
      ))}
      {state.training && <TrainingView training={state.training} style={style} />}
    </>
  );
}
