// The help of the program and of every command that some help names.
import type { Outcome } from './run.js';

/** Names under "Commands:". */
export function commandsIn(help: string): string[] {
  const section = /^Commands:\n((?: .*\n|\n(?= ))*)/m.exec(help)?.[1] ?? '';
  const names = [...section.matchAll(/^ {2}([a-z][\w-]*)/gm)].map(([, name]) => name as string);
  return names.filter((name) => name !== 'help');
}

/** Texts by command, from the top down. */
export async function helpTexts(run: (argv: string[]) => Promise<Outcome>): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  const visit = async (command: string[]): Promise<void> => {
    const { code, stdout, stderr } = await run([...command, '--help']);
    if (code !== 0) throw new Error(`drm ${command.join(' ')} --help: ended with ${code}: ${stderr}`);
    texts[['drm', ...command].join(' ')] = stdout;
    for (const name of commandsIn(stdout)) await visit([...command, name]);
  };
  await visit([]);
  return texts;
}
