// Stands in for drm where the chain around it is tested: `MODE … --out FOLDER --json`.
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const argv = process.argv.slice(2);
const [mode] = argv;
const at = argv.indexOf('--out');
const out = at < 0 ? '' : argv[at + 1];
const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
appendFileSync(process.env.FAKE_CALLS, `${JSON.stringify(argv)}\n`);
if (out !== '') mkdirSync(out, { recursive: true });
const finish = () => {
  if (out !== '') writeFileSync(join(out, 'result.json'), JSON.stringify(argv));
  say({ event: 'result', text: 'a table', data: { seconds: 12 } });
  say({ event: 'done', seconds: 1, facts: {} });
};

say({ event: 'started', version: 1, command: mode, facts: { device: 'cpu' } });
say({ event: 'progress', id: 'work', label: 'working', step: 1, total: 2, unit: 'pair', seconds: 0.1 });
if (mode === 'good') finish();
if (mode === 'leaves-nothing') say({ event: 'done', seconds: 1, facts: {} });
if (mode === 'dies') process.kill(process.pid, 'SIGKILL');
if (mode === 'fails-once') {
  const tried = join(out, 'tried');
  if (existsSync(tried)) finish();
  else {
    writeFileSync(tried, '');
    process.stderr.write('drm: [fake] a.json: expected a file, found none; write one\n');
    say({
      event: 'error',
      code: 'BAD_FILE',
      message: '[fake] a.json: expected a file, found none; write one',
      exit_code: 3,
    });
    process.exitCode = 3;
  }
}
if (mode === 'long') {
  writeFileSync(join(out, 'config.json'), '{}');
  if (argv.includes('--resume')) finish();
  else {
    // Once means well: what came twice would have lost the checkpoint.
    let asked = 0;
    process.on('SIGINT', () => {
      asked += 1;
    });
    const started = Date.now();
    const timer = setInterval(() => {
      if (asked === 0 && Date.now() - started < 30_000) return;
      clearInterval(timer);
      setTimeout(() => {
        writeFileSync(join(out, 'asked'), String(asked));
        process.exit(130);
      }, 100);
    }, 20);
  }
}
