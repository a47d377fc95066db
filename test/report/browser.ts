// Headless Chromium over its debugging pipe: enough to open a page, listen to its console and look at it.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

/** The browser of this machine; undefined where there is none. CHROMIUM names another. */
export const chromium: string | undefined =
  process.env.CHROMIUM ||
  (process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name)))
    .find((file) => existsSync(file));

interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

export interface Look {
  width: number;
  scheme: 'light' | 'dark';
  script?: boolean;
}

export class Browser {
  /** What the page complained of: console errors, exceptions, requests that left the file. */
  readonly complaints: string[] = [];
  #next = 1;
  #waiting = new Map<number, { done: (result: Record<string, unknown>) => void; failed: (error: Error) => void }>();
  #events = new Map<string, () => void>();
  #session = '';

  private constructor(
    private readonly process: ChildProcess,
    private readonly profile: string,
  ) {
    let rest = '';
    (process.stdio[4] as Readable).on('data', (data: Buffer) => {
      const parts = (rest + data.toString()).split('\0');
      rest = parts.pop() ?? '';
      for (const part of parts) this.#take(JSON.parse(part) as Message);
    });
    process.on('close', () => {
      for (const { failed } of this.#waiting.values()) failed(new Error('the browser has ended'));
    });
  }

  static async start(): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), 'drm-browser-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe'];
    const child = spawn(chromium as string, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    const browser = new Browser(child, profile);
    const { targetInfos } = await browser.#send('Target.getTargets');
    const page = (targetInfos as { type: string; targetId: string }[]).find(({ type }) => type === 'page');
    const attached = await browser.#send('Target.attachToTarget', { targetId: page?.targetId, flatten: true });
    browser.#session = attached.sessionId as string;
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await browser.#send(`${domain}.enable`);
    return browser;
  }

  #send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const session = this.#session ? { sessionId: this.#session } : {};
    (this.process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((done, failed) => this.#waiting.set(id, { done, failed }));
  }

  #take({ id, method, params = {}, result = {}, error }: Message): void {
    if (id !== undefined) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.failed(new Error(error.message));
      else waiting?.done(result);
      return;
    }
    const text = JSON.stringify(params);
    if (method === 'Runtime.exceptionThrown' || method === 'Log.entryAdded') this.complaints.push(text);
    if (method === 'Runtime.consoleAPICalled' && params.type !== 'log') this.complaints.push(text);
    if (method === 'Network.requestWillBeSent') {
      const { url } = params.request as { url: string };
      if (!/^(file|data|about):/.test(url)) this.complaints.push(`the page asks for ${url}`);
    }
    if (method) this.#events.get(method)?.();
  }

  async open(file: string, { width, scheme, script = true }: Look): Promise<void> {
    const metrics = { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 };
    await this.#send('Emulation.setDeviceMetricsOverride', metrics);
    await this.#send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    await this.#send('Emulation.setScriptExecutionDisabled', { value: !script });
    const loaded = new Promise<void>((done) => this.#events.set('Page.loadEventFired', done));
    await this.#send('Page.navigate', { url: pathToFileURL(file).href });
    await loaded;
  }

  /** The value of an expression in the page. */
  async ask<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  async moveTo(x: number, y: number): Promise<void> {
    await this.#send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
  }

  /** A PNG of the whole page, or of what one sees first. */
  async image(whole = true): Promise<Buffer> {
    const { data } = await this.#send('Page.captureScreenshot', {
      captureBeyondViewport: whole,
      ...(whole && (await this.#all())),
    });
    return Buffer.from(data as string, 'base64');
  }

  async #all() {
    const { cssContentSize } = await this.#send('Page.getLayoutMetrics');
    const { width, height } = cssContentSize as { width: number; height: number };
    return { clip: { x: 0, y: 0, width, height, scale: 1 } };
  }

  async close(): Promise<void> {
    const ended = new Promise<void>((done) => this.process.on('close', () => done()));
    this.process.kill();
    await ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
