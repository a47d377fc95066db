/** The escape sequence that shows a PNG in kitty or iTerm2 (and those that speak their protocols); undefined elsewhere. */
export function inlineImage(png: Uint8Array, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const data = Buffer.from(png).toString('base64');
  if (environment.TMUX) return undefined; // tmux would print it as text
  if (environment.KITTY_WINDOW_ID || environment.TERM === 'xterm-kitty') {
    const parts = data.match(/.{1,4096}/g) ?? [];
    return parts
      .map((part, i) => `\u001b_G${i === 0 ? 'f=100,a=T,' : ''}m=${i + 1 < parts.length ? 1 : 0};${part}\u001b\\`)
      .join('');
  }
  if (environment.TERM_PROGRAM === 'iTerm.app' || environment.TERM_PROGRAM === 'WezTerm')
    return `\u001b]1337;File=inline=1;size=${png.length}:${data}\u0007`;
  return undefined;
}
