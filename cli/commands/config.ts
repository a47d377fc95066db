import { DrmError } from '../../binding/error.js';
import { defineCommand } from '../common/command.js';
import { loadSchema, resolveConfig, taskNames, taskOf } from '../config/resolve.js';
import type { Task } from '../config/types.js';
import { recommendedSettingsFile } from '../hub/resolve.js';

export const command = defineCommand({
  name: 'config',
  summary: 'show resolved settings and where each comes from, or check a file',
  examples: [
    { command: 'drm config show sample', does: 'every setting of `drm sample` with its default' },
    { command: 'drm config show configs/sample/tiny.json --set steps=4', does: 'what a run with this file would use' },
    { command: 'drm config check my.json', does: 'only says whether the file is right' },
  ],
  arguments: [
    { name: '<action>', description: 'show or check', choices: ['show', 'check'] },
    { name: '[file]', description: "a config file, one of drm's own (sample/tiny), or for show a task (sample)" },
  ],
  options: [{ flags: '--model <model>', description: 'show: with the settings that this model recommends' }],
  async run({ args, options, global, events }) {
    const [action, named = global.config] = args;
    if (named === undefined && action === 'check')
      throw new DrmError('USAGE', 'config check: expected a file, found none; such as drm config check my.json');
    const file = named ?? 'sample';
    const tasks = taskNames();
    const isTask = tasks.includes(file) && action === 'show';
    const task = (isTask ? file : taskOf(file)) as Task;
    if (!tasks.includes(task))
      throw new DrmError('BAD_CONFIG', `[config] task in ${file}: expected ${tasks.join(', ')}, found ${task}`, {
        file,
      });
    const flags = {
      model: options.model,
      dtype: global.dtype,
      device: global.device === 'auto' ? undefined : global.device,
    };
    const { values, origin } = resolveConfig(task, {
      ...(!isTask && { file }),
      set: global.set,
      flags,
      ...(action === 'show' && { recommended: recommendedSettingsFile }),
    });
    if (action === 'check') {
      events.emit({ event: 'result', text: `${file}: ok`, data: { file, ok: true } });
      return;
    }
    const { properties } = loadSchema(task);
    const rows = Object.entries(values).map(([key, value]) => [key, JSON.stringify(value)] as const);
    const width = (column: 0 | 1) => Math.min(30, Math.max(...rows.map((row) => row[column].length)));
    const lines = rows.map(
      ([key, value]) =>
        `${key.padEnd(width(0))}  ${value.padEnd(width(1))}  ${origin[key] === 'default' ? `default: ${properties[key]?.description}` : `from ${origin[key]}`}`,
    );
    events.emit({ event: 'result', text: lines.join('\n'), data: { task, values, origin } });
  },
});
