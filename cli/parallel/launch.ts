// `--nproc N`: the same command N times on this machine. The first process has the terminal; this one only waits, passes
// signals on, and sees to it that all end when one does.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { DrmError } from '../../binding/error.js';
import { onSignals } from '../common/signals.js';
import { stderr } from '../ui/streams.js';
import { LAUNCHED } from './rank.js';

/** How long the others have to notice that one is gone, say so and write what can be saved. */
const GRACE_MS = 25_000;
const TAIL = 4000;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new DrmError('INTERNAL', '[parallel] no free port');
  return address.port;
}

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

class Worker {
  ended: Ended | undefined;
  /** The end of what a process without the terminal said. */
  tail = '';
  readonly end: Promise<Ended>;

  constructor(
    readonly rank: number,
    readonly child: ChildProcess,
  ) {
    child.stderr?.on('data', (data: Buffer) => {
      this.tail = (this.tail + data.toString()).slice(-TAIL);
    });
    this.end = new Promise((done) => {
      const finish = (ended: Ended) => {
        this.ended ??= ended;
        done(this.ended);
      };
      child.once('error', (error) => {
        this.tail += error.message;
        finish({ code: 1, signal: null });
      });
      child.once('close', (code, signal) => finish({ code, signal }));
    });
  }
}

/** Runs this process's own command line `count` times to the end. Returns the exit code; throws what the user must hear. */
export async function launch(
  count: number,
  { threads, resume }: { threads: number | undefined; resume: string },
): Promise<number> {
  const port = await freePort();
  const share = Math.max(1, Math.floor(availableParallelism() / count));
  const workers = Array.from({ length: count }, (_, rank) => {
    const env = {
      TORCH_CPP_LOG_LEVEL: 'ERROR',
      ...(threads === undefined && { OMP_NUM_THREADS: String(share) }),
      ...process.env,
      ...{ RANK: String(rank), LOCAL_RANK: String(rank), WORLD_SIZE: String(count) },
      LOCAL_WORLD_SIZE: String(count),
      ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port), [LAUNCHED]: '1' },
    };
    const first = rank === 0;
    // The others leave the terminal's process group: Ctrl-C reaches the first one from there, them from here, each once.
    // The channel tells them all when this process is gone.
    const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      env,
      detached: !first,
      stdio: first ? ['inherit', 'inherit', 'inherit', 'ipc'] : ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    return new Worker(rank, child);
  });
  const living = () => workers.filter(({ ended }) => !ended);
  const killAll = () => {
    for (const { child } of living()) child.kill('SIGKILL');
  };
  let asked = false;
  const pass = (signal: NodeJS.Signals) => {
    asked = true;
    for (const { rank, child } of living()) if (rank > 0) child.kill(signal);
  };
  // Instead of this program's own way to stop: here there is nothing to finish but to wait.
  onSignals(pass, (signal) => {
    pass(signal);
    setTimeout(killAll, 500).unref();
  });
  process.on('exit', killAll);
  let culprit: Worker | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.all(
      workers.map(async (worker) => {
        const ended = await worker.end;
        if (culprit || !failed(ended)) return;
        culprit = worker;
        timer = setTimeout(killAll, GRACE_MS);
      }),
    );
    return verdict(workers, culprit, asked, resume);
  } finally {
    clearTimeout(timer);
    process.off('exit', killAll);
  }
}

const failed = ({ code, signal }: Ended) => code !== 0 || signal !== null;

function verdict(workers: Worker[], culprit: Worker | undefined, asked: boolean, resume: string): number {
  const first = workers[0]?.ended;
  if (!first || !culprit?.ended) return 0;
  const { rank, ended, tail } = culprit;
  const what =
    ended.signal !== null
      ? `was ended by ${ended.signal}${ended.signal === 'SIGKILL' ? ' (by the system, for lack of memory?)' : ''}`
      : `ended with exit code ${ended.code}`;
  // The first process has told what it knew, unless it is the one that was struck down.
  const told = first.code !== null && first.code !== 0;
  if (told) {
    if (rank > 0 && (ended.signal !== null || ended.code === 1)) {
      stderr.write(`drm: rank ${rank} ${what}\n`);
      if (tail.trim() !== '') stderr.write(`${tail.trimEnd().replaceAll(/^/gm, `rank ${rank} | `)}\n`);
    }
    return first.code as number;
  }
  if (asked) throw new DrmError('CANCELLED', 'stopped; the same command begins again');
  throw new DrmError(
    'PEER_LOST',
    `[parallel] rank ${rank} ${what}, and the others with it${rank > 0 && tail.trim() !== '' ? `; its last words:\n${tail.trimEnd()}` : ''}\ngo on with: ${resume}`,
    { rank: String(rank), signal: String(ended.signal), exit_code: String(ended.code) },
  );
}
