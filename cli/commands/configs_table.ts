// The tasks that settings are for, each with the configs that come with drm: for people and for programs.
import { commandOf, configNames, taskNames, taskOf } from '../config/resolve.js';
import { table } from '../ui/table.js';

export function configsTable(): { text: string; data: { config: string; task: string }[] } {
  const data = configNames().map((config) => ({ config, task: taskOf(config) }));
  const rows = taskNames().flatMap((task) => {
    const own = data.filter((one) => one.task === task);
    return own.length > 0 ? own.map(({ config }) => [config, task, commandOf(task)]) : [['', task, commandOf(task)]];
  });
  return { text: table(['config', 'task', 'for drm'], rows, 3), data };
}
