import { type AnyCommand, type Command, defineCommand, isGroup } from '../common/command.js';
import { describe, globalOptions } from './describe.js';
import { offeredValues } from './values.js';

/** What is asked of the registry's entries. */
interface Entry {
  name: string;
  summary: string;
  load(): Promise<AnyCommand>;
}

interface Flag {
  flag: string;
  description: string;
  takesValue: boolean;
  values: string[];
  /** The values are all there are: no files. */
  closed: boolean;
}

/** A command as it is typed: 'sample', 'eval images'. */
interface Described {
  path: string;
  flags: Flag[];
  /** Words allowed as first argument. */
  words: string[];
}

interface Top {
  name: string;
  summary: string;
  /** Of a group: its commands by their own names. */
  subcommands: { name: string; summary: string }[];
}

async function describeOne(path: string, command: Command): Promise<Described> {
  const options = describe(command).options.filter((o) => !o.hidden);
  const names = new Set(options.map((o) => o.long));
  options.push(...globalOptions().filter((o) => !names.has(o.long)));
  const flags: Flag[] = [];
  for (const { long, description, argChoices, required, optional } of options)
    if (long)
      flags.push({
        flag: long,
        description,
        takesValue: required || optional,
        values: argChoices ?? (required ? await offeredValues(long, command.tasks ?? []) : []),
        closed: argChoices !== undefined,
      });
  return { path, flags, words: [...(command.arguments?.[0]?.choices ?? [])] };
}

interface All {
  tops: Top[];
  commands: Described[];
}

async function describeAll(entries: readonly Entry[]): Promise<All> {
  const tops: Top[] = [];
  const commands: Described[] = [];
  for (const { name, summary, load } of entries) {
    const command = await load();
    const subcommands = isGroup(command) ? command.subcommands : [];
    tops.push({ name, summary, subcommands: subcommands.map((one) => ({ name: one.name, summary: one.summary })) });
    if (!isGroup(command)) commands.push(await describeOne(name, command));
    for (const one of subcommands) commands.push(await describeOne(`${name} ${one.name}`, one));
  }
  return { tops, commands };
}

const groupsOf = (tops: readonly Top[]): Top[] => tops.filter(({ subcommands }) => subcommands.length > 0);
const namesOf = (all: readonly { name: string }[]): string[] => all.map(({ name }) => name);

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Words as a list that bash reads once more. */
const bashWords = (words: readonly string[]) =>
  quote(words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : quote(word))).join(' '));

function bash({ tops, commands }: All): string {
  const offer = ({ flag, values, closed }: Flag) =>
    `      ${flag}) ${flag === '--set' ? 'compopt -o nospace 2>/dev/null; ' : ''}COMPREPLY=($(compgen ${closed ? '' : '-f '}-W ${bashWords(values)} -- "$word")); return;;`;
  const cases = commands.map(({ path, flags, words }) => {
    const values = flags.filter((f) => f.values.length > 0).map(offer);
    const files = flags.filter((f) => f.takesValue && f.values.length === 0).map((f) => f.flag);
    if (files.length > 0) values.push(`      ${files.join('|')}) COMPREPLY=($(compgen -f -- "$word")); return;;`);
    return `    ${quote(path)})
      case "$before" in
${values.join('\n')}
      esac
      words=${bashWords([...flags.map((f) => f.flag), ...words])};;`;
  });
  const groups = groupsOf(tops).map(
    ({ name, subcommands }) =>
      `    ${name}) [ "$COMP_CWORD" -gt 2 ] || { COMPREPLY=($(compgen -W ${bashWords(namesOf(subcommands))} -- "$word")); return; }
      command="$command \${COMP_WORDS[2]}";;`,
  );
  return `# drm completion for bash: eval "$(drm completion bash)"
_drm() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" command="\${COMP_WORDS[1]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${bashWords(namesOf(tops))} -- "$word")); return
  fi
  case "$command" in
${groups.join('\n')}
  esac
  case "$command" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _drm drm`;
}

function zsh({ tops, commands }: All): string {
  const clean = (text: string) => text.replace(/[[\]:'"]/g, ' ');
  const listed = (all: readonly { name: string; summary: string }[]) =>
    all.map(({ name, summary }) => quote(`${name}:${clean(summary)}`)).join(' ');
  const value = ({ flag, takesValue, values, closed }: Flag): string => {
    if (!takesValue) return '';
    if (values.length === 0) return ':value:_files';
    const words = values.map((word) => word.replace(/[^\w@%+=,./-]/g, '\\$&')).join(' ');
    if (closed) return `:value:(${words})`;
    return `:value:{ compadd ${flag === '--set' ? "-S '' " : ''}-- ${words}; _files }`;
  };
  const cases = commands.map(({ path, flags, words }) => {
    const all = flags.map((f) => `        ${quote(`${f.flag}[${clean(f.description)}]${value(f)}`)}`);
    return `    ${quote(path)}) _arguments \\\n${all.join(' \\\n')} \\\n        ${words.length > 0 ? `'1:word:(${words.join(' ')})' ` : ''}'*:file:_files';;`;
  });
  const groups = groupsOf(tops).map(
    ({ name, subcommands }) =>
      `    ${name})
      if (( CURRENT == 2 )); then
        commands=(${listed(subcommands)})
        _describe command commands; return
      fi
      command="$command $words[2]"; shift words; (( CURRENT-- ));;`,
  );
  return `#compdef drm
# drm completion for zsh: eval "$(drm completion zsh)"
_drm() {
  local -a commands
  if (( CURRENT == 2 )); then
    commands=(${listed(tops)})
    _describe command commands; return
  fi
  local command=$words[2]
  shift words; (( CURRENT-- ))
  case $command in
${groups.join('\n')}
  esac
  case $command in
${cases.join('\n')}
  esac
}
compdef _drm drm`;
}

/** fish reads what -a says once more, so that its words are quoted twice. */
const fishQuote = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`;
const fishWords = (words: readonly string[]) =>
  fishQuote(words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : fishQuote(word))).join(' '));

function fish({ tops, commands }: All): string {
  const lines = ['# drm completion for fish: drm completion fish | source', 'complete -c drm -e', 'complete -c drm -f'];
  const groups = groupsOf(tops);
  const within = (path: string) => path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
  for (const { name, summary } of tops)
    lines.push(`complete -c drm -n __fish_use_subcommand -a ${name} -d ${fishQuote(summary)}`);
  for (const { name, subcommands } of groups)
    for (const one of subcommands) {
      const none = `not __fish_seen_subcommand_from ${namesOf(subcommands).join(' ')}`;
      const here = fishQuote(`${within(name)[0]}; and ${none}`);
      lines.push(`complete -c drm -n ${here} -a ${one.name} -d ${fishQuote(one.summary)}`);
    }
  for (const { path, flags, words } of commands) {
    const here = `-n ${fishQuote(within(path).join('; and '))}`;
    lines.push(`complete -c drm ${here} -F${words.length > 0 ? ` -a ${fishWords(words)}` : ''}`);
    for (const { flag, description, takesValue, values, closed } of flags) {
      const offered = values.length > 0 ? ` -a ${fishWords(values)}` : '';
      const value = takesValue ? ` -r${closed ? ' -f' : ' -F'}${offered}` : '';
      lines.push(`complete -c drm ${here} -l ${flag.slice(2)} -d ${fishQuote(description)}${value}`);
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
