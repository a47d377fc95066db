import { Box, Text } from 'ink';
import { cutStart, widthOf } from '../text/columns.js';
import { type Bar, barFigures } from './bar.js';
import type { Style } from './style.js';

/** One line: label, bar, percent, figures. The bar takes what the figures leave, and goes when that is too little. */
export function BarView({ bar, style }: { bar: Bar; style: Style }) {
  const percent = bar.total > 0 ? ` ${String(Math.floor((100 * bar.step) / bar.total)).padStart(3)} %` : '';
  const figures = barFigures(bar);
  const longest = Math.max(8, style.width - percent.length - widthOf(figures) - 3);
  const label = cutStart(bar.label, longest); // the end tells files apart
  const room = style.width - widthOf(label) - percent.length - widthOf(figures) - 5;
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
