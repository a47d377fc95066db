import { DrmError } from '../../binding/error.js';
import { defineCommand } from '../common/command.js';
import { nearest } from '../common/nearest.js';
import { loadSchema, resolveConfig, taskNames, taskOf } from '../config/resolve.js';
import type { Task } from '../config/types.js';
import { recommendedSettingsFile } from '../hub/resolve.js';
import { configsTable } from './configs_table.js';

export const command = defineCommand({
  name: 'config',
  summary: 'show resolved settings and where each comes from, list configs, or check a file',
  examples: [
    { command: 'drm config show sample', does: 'every setting of `drm sample` with its default' },
    { command: 'drm config show pretrain flow', does: 'those of `drm pretrain flow`; `drm config list` has all tasks' },
    { command: 'drm config show configs/sample/tiny.json --set steps=4', does: 'what a run with this file would use' },
    { command: 'drm config check my.json', does: 'only says whether the file is right' },
  ],
  arguments: [
    { name: '<action>', description: 'what to do', choices: ['show', 'list', 'check'] },
    { name: '[file...]', description: "a config file, one of drm's own (sample/tiny), or for show a task (sample)" },
  ],
  options: [{ flags: '--model <model>', description: 'show: with the settings that this model recommends' }],
  tasks: taskNames(),
  async run({ args, options, global, events }) {
    const [action, words] = args;
    if (action === 'list') {
      events.emit({ event: 'result', ...configsTable() });
      return;
    }
    const { file, task } = whatIsNamed(action, words.length > 0 ? words : global.config ? [global.config] : []);
    const flags = {
      model: options.model,
      dtype: global.dtype,
      device: global.device === 'auto' ? undefined : global.device,
    };
    const { values, origin } = resolveConfig(task, {
      ...(file !== undefined && { file }),
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

/** A file, or a task in one or two words. Throws DrmError USAGE, BAD_FILE, BAD_CONFIG. */
function whatIsNamed(action: 'show' | 'check', words: readonly string[]): { file?: string; task: Task } {
  const tasks = taskNames();
  const [file = 'sample', ...more] = words;
  if (words.length === 0 && action === 'check')
    throw new DrmError('USAGE', 'config check: expected a file, found none; such as drm config check my.json');
  const name = words.length > 0 ? words.join('_') : file;
  if (action === 'show' && tasks.includes(name)) return { task: name as Task };
  const parts = tasks.filter((task) => task.startsWith(`${file}_`));
  if (action === 'show' && parts.length > 0)
    throw new DrmError(
      'USAGE',
      `config show ${words.join(' ')}: expected one of ${parts.map((part) => part.replace('_', ' ')).join(', ')}; name the part, too`,
    );
  if (more.length > 0)
    throw new DrmError('USAGE', `config ${action}: expected one file, found ${words.length}; name each by itself`);
  const guess =
    !/[./]/.test(file) && nearest(file, [...tasks, ...tasks.map((task) => task.split('_', 1)[0] as string)]);
  if (action === 'show' && guess)
    throw new DrmError(
      'USAGE',
      `config show ${file}: expected a file or a task, found neither; did you mean ${guess}?`,
    );
  const task = taskOf(file);
  if (tasks.includes(task)) return { file, task: task as Task };
  throw new DrmError('BAD_CONFIG', `[config] task in ${file}: expected ${tasks.join(', ')}, found ${task}`, { file });
}
