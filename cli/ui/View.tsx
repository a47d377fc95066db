import { Static, Text } from 'ink';
import { BarView } from './BarView.js';
import type { Line, State } from './state.js';
import type { Style } from './style.js';
import { TrainingView } from './TrainingView.js';

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
