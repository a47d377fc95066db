// Writes types.ts from the schemas: `node dist/cli/config/generate_types.js` after a change to configs/schema.
import { realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../common/root.js';
import { commandOf, loadSchema, type Property, taskNames } from './resolve.js';

const PRIMITIVE: Record<string, string> = { string: 'string', integer: 'number', number: 'number', boolean: 'boolean' };

interface ObjectRules {
  properties?: Record<string, Property>;
  required?: readonly string[];
  additionalProperties?: unknown;
}

function typeOf(property: { type: string; [rule: string]: unknown }): string {
  const literal = (value: unknown) => (typeof value === 'string' ? `'${value}'` : JSON.stringify(value));
  if (property.const !== undefined) return literal(property.const);
  if (Array.isArray(property.enum)) return property.enum.map(literal).join(' | ');
  if (property.type === 'array') {
    const items = typeOf(property.items as Property);
    if (!items.includes('|')) return `${items}[]`;
    // As the formatter has it.
    return items.length <= 100
      ? `(${items})[]`
      : `(\n${items
          .split(' | ')
          .map((item) => `    | ${item}\n`)
          .join('')}  )[]`;
  }
  if (property.type === 'object') return objectType(property as ObjectRules);
  const primitive = PRIMITIVE[property.type];
  if (!primitive) throw new Error(`no TypeScript type for a property of type ${property.type}`);
  return primitive;
}

/** An object of any keys, or of those that it names. */
function objectType({ properties, required = [], additionalProperties: any }: ObjectRules): string {
  if (!properties) return `Record<string, ${typeOf(any as Property)}>`;
  const fields = Object.entries(properties).map(
    ([key, property]) => `${key}${required.includes(key) ? '' : '?'}: ${typeOf(property)}`,
  );
  return `{ ${fields.join('; ')} }`;
}

const interfaceName = (task: string) =>
  `${task
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')}Settings`;

/** The text of types.ts for the schemas as they are now. */
export function generateTypes(): string {
  const tasks = taskNames();
  const interfaces = tasks.map((task) => {
    const lines = Object.entries(loadSchema(task).properties).map(
      ([key, property]) => `  /** ${property.description} */\n  ${key}: ${typeOf(property)};`,
    );
    return `/** Settings of \`drm ${commandOf(task)}\`, every one with a value. */\nexport interface ${interfaceName(task)} {\n${lines.join('\n')}\n}`;
  });
  return `// Generated from configs/schema by generate_types.ts: edit the schemas.

${interfaces.join('\n\n')}

/** By task. */
export interface Settings {
${tasks.map((task) => `  ${task}: ${interfaceName(task)};`).join('\n')}
}

export type Task = keyof Settings;
`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  writeFileSync(join(packageRoot, 'cli/config/types.ts'), generateTypes());
