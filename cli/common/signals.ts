// Being asked to end: Ctrl-C, SIGTERM, a closed terminal. Once means well, twice means now.

/** The same signal within this time is one: `timeout` sends SIGTERM to the process and to its group. */
const ONE_SIGNAL_MS = 500;

type Handler = (signal: NodeJS.Signals) => void;

/** Calls `first`, and at a second Ctrl-C or SIGTERM `again`, in place of whoever was called before. Returns how to stop it. */
export function onSignals(first: Handler, again: Handler): () => void {
  let heard: { signal: NodeJS.Signals; at: number } | undefined;
  const ask = (signal: NodeJS.Signals) => {
    const now = performance.now();
    if (!heard) {
      heard = { signal, at: now };
      return first(signal);
    }
    const isEcho = signal === 'SIGTERM' && signal === heard.signal && now - heard.at < ONE_SIGNAL_MS;
    // That a terminal is closed both the kernel and the shell say, and nobody sits there who would not wait.
    if (!isEcho && signal !== 'SIGHUP') again(signal);
  };
  // Node undoes what nohup has done; shells leave its name in `_`.
  const isImmune = /(^|\/)nohup$/.test(process.env._ ?? '');
  const handlers: [NodeJS.Signals, Handler][] = [
    ['SIGINT', ask],
    ['SIGTERM', ask],
    ['SIGHUP', isImmune ? () => {} : ask],
  ];
  for (const [signal, handler] of handlers) {
    process.removeAllListeners(signal);
    process.on(signal, handler);
  }
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}
