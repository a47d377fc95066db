// Processes that cannot find each other: all of them end, soon, and say why. Mostly waiting, so all at once.
import { createServer, type Socket } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { dist, type Ended, runScript } from './process.js';

const strangers: { close(): void }[] = [];
afterAll(() => {
  for (const stranger of strangers) stranger.close();
});

/** A program that is no store, and what it does with who connects. */
async function stranger(greet: (socket: Socket) => void = () => {}): Promise<number> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    greet(socket);
  }).listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  strangers.push({ close: () => [server.close(), ...sockets.map((socket) => socket.destroy())] });
  return (server.address() as { port: number }).port;
}

async function freePort(): Promise<number> {
  const port = await stranger();
  strangers.pop()?.close();
  return port;
}

interface Join {
  rank: number;
  size: number;
  port: number;
  /** Seconds. */
  patience?: number;
  /** Before it joins. */
  after?: number;
  /** Done in the process once it has begun to join, such as to be killed. */
  meanwhile?: string;
}

/** A process that joins, and prints `joined` or what it was told. */
const join = ({ rank, size, port, patience = 600, after = 0, meanwhile = '' }: Join): Promise<Ended> =>
  runScript(
    `const { ProcessGroup } = await import('${dist('binding/index.js')}');
     await sleep(${1000 * after});
     const place = { rank: ${rank}, size: ${size}, address: '127.0.0.1', port: ${port}, storeIsThere: false, attempt: '0', patience: ${patience} };
     ${meanwhile}
     await ProcessGroup.join(place).then(async (group) => { console.log('joined'); await group.leave(); }, (error) => console.log(error.code + ' ' + error.message));`,
    { env: { TORCH_CPP_LOG_LEVEL: 'FATAL' }, limit: 100_000 },
  );

const told = async (joins: Join[]): Promise<string[]> => {
  const ended = await Promise.all(joins.map(join));
  for (const { code, signal, stderr } of ended)
    expect([code, signal], stderr).toEqual(signal ? [null, 'SIGKILL'] : [0, null]);
  return ended.map(({ stdout }) => stdout);
};

describe.concurrent('no meeting', { timeout: 120_000 }, () => {
  test.each([
    ['says nothing', () => {}, 'found silence'],
    [
      'speaks otherwise',
      (socket: Socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'found another program',
    ],
    ['hangs up', (socket: Socket) => void socket.destroy(), 'found another program'],
  ])('where a stranger %s', async (_, greet, found) => {
    const port = await stranger(greet);
    const [first, second] = await told([
      { rank: 0, size: 2, port },
      { rank: 1, size: 2, port },
    ]);
    expect(first).toMatch(`DEVICE [parallel] rank 0: MASTER_ADDR:MASTER_PORT 127.0.0.1:${port}: expected an address`);
    expect(second).toMatch(`PEER_LOST [parallel] rank 1: MASTER_ADDR:MASTER_PORT 127.0.0.1:${port}: expected rank 0`);
    expect(second).toMatch(found);
  });

  test.each([0, 1])('of two processes of rank %i', async (rank) => {
    const port = await freePort();
    const joins = [
      { rank, size: 3, port },
      { rank, size: 3, port, after: 2 },
    ];
    for (const text of await told(rank === 0 ? joins : [{ rank: 0, size: 3, port }, ...joins]))
      expect(text).toMatch(`RANK ${rank} at 127.0.0.1:${port}: expected one process of that rank, found process`);
  });

  test('where one does not come', async () => {
    const port = await freePort();
    for (const text of await told([
      { rank: 0, size: 3, port, patience: 5 },
      { rank: 2, size: 3, port, patience: 60 },
    ]))
      expect(text).toMatch(/found 2 after \d+ s; missing: rank 1;/);
    const [alone] = await told([{ rank: 1, size: 2, port: await freePort(), patience: 2 }]);
    expect(alone).toMatch(/expected rank 0 there within 2 s, found nobody there; was it started/);
  });

  test('where they are told of other numbers', async () => {
    const port = await freePort();
    for (const text of await told([
      { rank: 0, size: 2, port },
      { rank: 1, size: 3, port, after: 1 },
    ]))
      expect(text).toMatch(/WORLD_SIZE at .*: expected the same of all processes, found [23], and [23] of rank [01]/);
  });

  /** Kills the process a second after two have made both of their connections to the first one's store. */
  const killed = (port: number) => `
    const { readFileSync } = await import('node:fs');
    const isThere = (line) => /:${port.toString(16).toUpperCase().padStart(4, '0')} 01 /.test(line);
    const look = setInterval(() => {
      const lines = ['tcp', 'tcp6'].flatMap((name) => readFileSync('/proc/net/' + name, 'utf8').split('\\n'));
      if (lines.filter(isThere).length < 4) return;
      clearInterval(look);
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1000);
    }, 50);`;
  test('where one dies before the last has come', async () => {
    const port = await freePort();
    const [first] = await told([
      { rank: 0, size: 3, port },
      { rank: 1, size: 3, port, meanwhile: killed(port) },
    ]);
    expect(first).toMatch(/rank 1 \(process \d+ on .*\) is gone: it came to .* and then gave no sign of life for 15 s/);
  });

  test('where the first one dies', async () => {
    const port = await freePort();
    const [, second] = await told([
      { rank: 0, size: 3, port, meanwhile: killed(port) },
      { rank: 1, size: 3, port },
    ]);
    expect(second).toMatch(/rank 1: .*expected rank 0 to stay until all have come/);
  });
});

test('a late one is waited for', async () => {
  const port = await freePort();
  expect(
    await told([
      { rank: 0, size: 2, port, after: 2 },
      { rank: 1, size: 2, port },
    ]),
  ).toEqual(['joined\n', 'joined\n']);
});
