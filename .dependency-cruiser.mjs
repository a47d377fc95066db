// The rooms of cli, bottom first: a room imports from those above it in this list, and from itself. `npm run lint` checks it,
// types included. A new folder gets its line here.
const ROOMS = [
  'common', // errors, events, JSON and its shapes, files, locks, what a command is
  'random', // Philox, draws and orders
  'config', // schemas and their resolution
  'image', // PNG: writing, labels, texts inside
  'text', // tokenizers, prompt files, what a terminal shows
  'hub', // pull, cache, model resolution
  'ui', // renderers of the event stream, tables, figures in words
  'runs', // run folders
  'parallel', // several processes that train one model
  'data/io', // formats and streams
  'data/io/parquet',
  'data/prepared', // from a source's records to shards, and back
  'data/sets', // published sets and the user's own
  'data/emoji', // the embedded set and its preferences
  'data/load', // what training reads
  'data/inspect', // figures and contact sheets of prepared sets
  'lora',
  'rewards', // reward models and scorers
  'sample',
  'train', // the loop of every training
  'train/tasks', // what is trained
  'grpo/algorithms', // what tells one policy-gradient algorithm from another
  'grpo',
  'eval',
  'report',
  'commands/[^/]+', // the handlers of one command
  'commands',
];

const inRooms = (rooms) => rooms.map((room) => `^cli/${room}/[^/]+$`);

/** A room knows nothing of those after it, nor of what starts the program. */
const directions = ROOMS.map((room, at) => ({
  name: `${room} is below`,
  severity: 'error',
  comment: `cli/${room} imports from a room after it in .dependency-cruiser.mjs: what both need belongs further down, or the importer further up.`,
  from: { path: inRooms([room]) },
  to: { path: ['^cli/[^/]+$', ...inRooms(ROOMS.slice(at + 1))], pathNot: inRooms([room]) },
}));

export default {
  forbidden: [
    ...directions,
    {
      name: 'every folder is a room',
      severity: 'error',
      comment: 'This folder has no line in .dependency-cruiser.mjs.',
      from: { path: '^cli/', pathNot: ['^cli/[^/]+$', ...inRooms(ROOMS)] },
      to: {},
    },
    {
      name: 'commands know nothing of each other',
      severity: 'error',
      comment: 'What the handlers of two commands need belongs into a room below them.',
      from: { path: '^cli/commands/([^/]+)/' },
      to: { path: '^cli/commands/[^/]+/', pathNot: '^cli/commands/$1/' },
    },
    {
      name: 'no cycle',
      severity: 'error',
      comment: 'Files import each other in a circle, types included.',
      from: { path: '^cli/' },
      to: { circular: true },
    },
    {
      name: 'no cycle of folders',
      severity: 'error',
      comment: 'Folders import each other in a circle.',
      scope: 'folder',
      from: { path: '^cli/' },
      to: { circular: true },
    },
    {
      name: 'binding is below',
      severity: 'error',
      comment: 'cli imports from binding, never the other way.',
      from: { path: '^binding/' },
      to: { path: '^cli/' },
    },
    {
      name: 'one door',
      severity: 'error',
      comment: 'Of binding only index.ts, error.ts and types.ts are for others.',
      from: { path: '^cli/' },
      to: { path: '^binding/', pathNot: '^binding/(index|error|types)\\.ts$' },
    },
    {
      name: 'no test in the product',
      severity: 'error',
      comment: 'cli and binding import nothing from test.',
      from: { path: '^(cli|binding)/' },
      to: { path: '^test/' },
    },
    {
      name: 'resolvable',
      severity: 'error',
      comment: 'An import that leads nowhere.',
      from: { path: '^(cli|binding)/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['^(dist|build)/', 'node_modules'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.tsx', '.js', '.mjs', '.json'],
    },
  },
};
