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
  'reproduce', // the steps of the paper's experiments, run as one chain
  'reproduce/tables', // what each table and figure consists of
  'commands/[^/]+', // the handlers of one command
  'commands',
];

const inRooms = (rooms) => rooms.map((room) => `^cli/${room}/[^/]+$`);

/** [name, what to say, from, to, more]; all are errors. */
const RULES = [
  // A room knows nothing of those after it, nor of what starts the program.
  ...ROOMS.map((room, at) => [
    `${room} is below`,
    `cli/${room} imports from a room after it in .dependency-cruiser.mjs: what both need belongs further down, or the importer further up.`,
    { path: inRooms([room]) },
    { path: ['^cli/[^/]+$', ...inRooms(ROOMS.slice(at + 1))], pathNot: inRooms([room]) },
  ]),
  [
    'every folder is a room',
    'This folder has no line in .dependency-cruiser.mjs.',
    { path: '^cli/', pathNot: ['^cli/[^/]+$', ...inRooms(ROOMS)] },
    {},
  ],
  [
    'commands know nothing of each other',
    'What the handlers of two commands need belongs into a room below them.',
    { path: '^cli/commands/([^/]+)/' },
    { path: '^cli/commands/[^/]+/', pathNot: '^cli/commands/$1/' },
  ],
  ['no cycle', 'Files import each other in a circle, types included.', { path: '^cli/' }, { circular: true }],
  [
    'no cycle of folders',
    'Folders import each other in a circle.',
    { path: '^cli/' },
    { circular: true },
    { scope: 'folder' },
  ],
  ['binding is below', 'cli imports from binding, never the other way.', { path: '^binding/' }, { path: '^cli/' }],
  [
    'one door',
    'Of binding only index.ts, error.ts and types.ts are for others.',
    { path: '^cli/' },
    { path: '^binding/', pathNot: '^binding/(index|error|types)\\.ts$' },
  ],
  [
    'no test in the product',
    'cli and binding import nothing from test.',
    { path: '^(cli|binding)/' },
    { path: '^test/' },
  ],
  ['resolvable', 'An import that leads nowhere.', { path: '^(cli|binding)/' }, { couldNotResolve: true }],
];

export default {
  forbidden: RULES.map(([name, comment, from, to, more]) => ({ name, severity: 'error', comment, from, to, ...more })),
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
