// JSON files that are not what they should be, and that they are refused by name.
import { writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { exitCode } from '../../cli/common/errors.js';

/** Not what was meant, in many ways. */
export const ODD = ['null', '[]', '{}', '"text"', '5', 'true', '{"a": [[[1]]]}', '', '{', '\ufeff', '[null]'];

export async function outcome(read: () => unknown): Promise<{ code: number; message: string } | undefined> {
  try {
    await read();
    return undefined;
  } catch (error) {
    return { code: exitCode(error), message: (error as Error).message };
  }
}

/** Each odd text, and each field of the right value gone or odd, is refused with code 3 and the file's name, or `mayPass`. */
export async function refused(
  file: string,
  right: object | undefined,
  read: () => unknown,
  mayPass: string[] = [],
): Promise<void> {
  const texts = ODD.map((text) => ['as a whole', text] as [string, string]);
  for (const key of Object.keys(right ?? {}))
    for (const odd of [undefined, null, 5, -1, 'x', {}, [], [null], { a: null }, [{}]])
      texts.push([key, JSON.stringify({ ...right, [key]: odd })]);
  for (const [what, text] of texts) {
    writeFileSync(file, text);
    const found = await outcome(read);
    if (found === undefined) {
      const fits = right && JSON.stringify(JSON.parse(text)) === JSON.stringify(right);
      if (!fits && !mayPass.includes(what)) throw new Error(`${what}: ${text} passed`);
      continue;
    }
    expect(found.code, `${text}: ${found.message}`).toBe(3);
    expect(found.message).toContain(file);
  }
}
