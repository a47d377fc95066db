import { type Command, defineCommand } from '../common/command.js';
import { describe, globalOptions } from './describe.js';

/** What is asked of the registry's entries. */
interface Entry {
  name: string;
  summary: string;
  load(): Promise<Command>;
}

interface Described {
  name: string;
  summary: string;
  /** Long flags, with the values allowed where they are few. */
  flags: { flag: string; description: string; values: string[]; takesValue: boolean }[];
  /** Words allowed as first argument. */
  words: string[];
}

async function describeAll(entries: readonly Entry[]): Promise<Described[]> {
  return Promise.all(
    entries.map(async (entry) => {
      const command = await entry.load();
      const options = describe(command).options.filter((o) => !o.hidden);
      const names = new Set(options.map((o) => o.long));
      options.push(...globalOptions().filter((o) => !names.has(o.long)));
      return {
        name: entry.name,
        summary: entry.summary,
        flags: options.flatMap((o) =>
          o.long
            ? [
                {
                  flag: o.long,
                  description: o.description,
                  values: o.argChoices ?? [],
                  takesValue: o.required || o.optional,
                },
              ]
            : [],
        ),
        words: [...(command.arguments?.[0]?.choices ?? [])],
      };
    }),
  );
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

function bash(commands: Described[]): string {
  const cases = commands.map((c) => {
    const values = c.flags
      .filter((f) => f.values.length > 0)
      .map((f) => `      ${f.flag}) COMPREPLY=($(compgen -W ${quote(f.values.join(' '))} -- "$word")); return;;`);
    const files = c.flags.filter((f) => f.takesValue && f.values.length === 0).map((f) => f.flag);
    if (files.length > 0) values.push(`      ${files.join('|')}) COMPREPLY=($(compgen -f -- "$word")); return;;`);
    return `    ${c.name})
      case "$before" in
${values.join('\n')}
      esac
      words=${quote([...c.flags.map((f) => f.flag), ...c.words].join(' '))};;`;
  });
  return `# drm completion for bash: eval "$(drm completion bash)"
_drm() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quote(commands.map((c) => c.name).join(' '))} -- "$word")); return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _drm drm`;
}

function zsh(commands: Described[]): string {
  const clean = (text: string) => text.replace(/[[\]:'"]/g, ' ');
  const cases = commands.map((c) => {
    const flags = c.flags.map(
      (f) =>
        `        '${f.flag}[${clean(f.description)}]${f.takesValue ? (f.values.length > 0 ? `:value:(${f.values.join(' ')})` : ':value:_files') : ''}'`,
    );
    return `      ${c.name}) _arguments \\\n${flags.join(' \\\n')} \\\n        ${c.words.length > 0 ? `'1:word:(${c.words.join(' ')})' ` : ''}'*:file:_files';;`;
  });
  return `#compdef drm
# drm completion for zsh: eval "$(drm completion zsh)"
_drm() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map((c) => quote(`${c.name}:${clean(c.summary)}`)).join(' ')})
    _describe command commands
  else
    local command=$words[2]
    shift words; (( CURRENT-- ))
    case $command in
${cases.join('\n')}
    esac
  fi
}
compdef _drm drm`;
}

function fish(commands: Described[]): string {
  const lines = ['# drm completion for fish: drm completion fish | source', 'complete -c drm -f'];
  for (const c of commands) {
    lines.push(`complete -c drm -n __fish_use_subcommand -a ${c.name} -d ${quote(c.summary)}`);
    const here = `-n '__fish_seen_subcommand_from ${c.name}'`;
    if (c.words.length > 0) lines.push(`complete -c drm ${here} -a ${quote(c.words.join(' '))}`);
    for (const f of c.flags) {
      const value = f.takesValue ? (f.values.length > 0 ? ` -x -a ${quote(f.values.join(' '))}` : ' -r -F') : '';
      lines.push(`complete -c drm ${here} -l ${f.flag.slice(2)} -d ${quote(f.description)}${value}`);
    }
  }
  return lines.join('\n');
}

const SHELLS = { bash, zsh, fish };

/** The entries are given, since this command is one of them. */
export const completionOf = (entries: readonly Entry[]) =>
  defineCommand({
    name: 'completion',
    summary: 'print shell completion for bash, zsh or fish',
    examples: [
      {
        command: 'eval "$(drm completion bash)"',
        does: 'completes drm in this shell; put it into ~/.bashrc to keep it',
      },
      { command: 'drm completion fish | source', does: 'the same in fish' },
    ],
    arguments: [{ name: '<shell>', description: 'bash, zsh or fish', choices: ['bash', 'zsh', 'fish'] }],
    async run({ args, events }) {
      const [shell] = args;
      const text = SHELLS[shell](await describeAll(entries));
      events.emit({ event: 'result', text, data: { shell, script: text } });
    },
  });
