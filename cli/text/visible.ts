// Text from elsewhere (file names, prompts, what a server said) as it may be shown: a terminal or a page would obey some
// letters instead of showing them.

/** C0 but tab and line feed, DEL, C1; line and paragraph separators; bidirectional embeddings, overrides and isolates. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const escaped = (letter: string) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** With such letters as JSON escapes them (\u001b), which also leaves JSON what it is. */
export const visible = (text: string): string => text.replace(OBEYED, escaped);

/** Likewise what has its place on one line: a name cannot begin another. */
export const visibleLine = (text: string): string => visible(text).replace(/[\t\n]/g, escaped);
