// Prompts as OpenAI's CLIP and open_clip clean them before their tokenizers see them: HPS v1 and HPSv2 were trained and published
// with it, CLIP-H, PickScore and MPS with transformers' tokenizer, which cleans for itself.
import { decodeHTMLStrict } from 'entities/decode';

/** What Python splits at, which is not JavaScript's \s: the four separators of ASCII, too, and no U+FEFF. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is split at
const BLANKS = /[\p{White_Space}\u001c-\u001f]+/u;

/** What Python's html.unescape takes for a reference: a number, or anything that may begin with a name. */
const REFERENCE = /&(?:#(\d+);?|#[xX]([\da-fA-F]+);?|[^\t\n\f <&#;]{1,32};?)/g;

/** HTML's names that also count without their semicolon. */
const LENIENT = new Set(
  `AElig AMP Aacute Acirc Agrave Aring Atilde Auml COPY Ccedil ETH Eacute Ecirc Egrave Euml GT Iacute Icirc Igrave Iuml
  LT Ntilde Oacute Ocirc Ograve Oslash Otilde Ouml QUOT REG THORN Uacute Ucirc Ugrave Uuml Yacute aacute acirc acute
  aelig agrave amp aring atilde auml brvbar ccedil cedil cent copy curren deg divide eacute ecirc egrave eth euml frac12
  frac14 frac34 gt iacute icirc iexcl igrave iquest iuml laquo lt macr micro middot nbsp not ntilde oacute ocirc ograve
  ordf ordm oslash otilde ouml para plusmn pound quot raquo reg sect shy sup1 sup2 sup3 szlig thorn times uacute ucirc
  ugrave uml uuml yacute yen yuml`.split(/\s+/),
);

/** Numbers that browsers read as Windows-1252, and NUL and CR. */
const REPLACED = new Map(
  Array.from('€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ', (letter, i): [number, string] => [0x80 + i, letter]),
)
  .set(0, '\ufffd')
  .set(0x0d, '\r');

function ofNumber(code: number): string {
  const replaced = REPLACED.get(code);
  if (replaced !== undefined) return replaced;
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return '\ufffd';
  const control = code < 0x20 ? code !== 0x09 && code !== 0x0a && code !== 0x0c : code === 0x7f;
  const noCharacter = (code & 0xfffe) === 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);
  return control || noCharacter ? '' : String.fromCodePoint(code);
}

/** What a name, with or without its semicolon, and what follows it stand for: entities' own lenient reading knows `&eta=`. */
function ofName(found: string): string {
  if (found.endsWith(';')) {
    const whole = decodeHTMLStrict(found);
    if (whole !== found) return whole;
  }
  for (let length = found.length; length > 2; length--) {
    const name = found.slice(1, length);
    if (LENIENT.has(name)) return decodeHTMLStrict(`&${name};`) + found.slice(length);
  }
  return found;
}

/** Python's html.unescape: HTML 5's names, the longest one that fits, and numbers, those of no character left out. */
export function unescapeHtml(text: string): string {
  return text.replace(REFERENCE, (found, decimal?: string, hexadecimal?: string) => {
    if (decimal !== undefined) return ofNumber(Number.parseInt(decimal, 10));
    if (hexadecimal !== undefined) return ofNumber(Number.parseInt(hexadecimal, 16));
    return ofName(found);
  });
}

/** References resolved twice, blanks collapsed and trimmed, lower case. ftfy's repairs, which come first there, are not made. */
export function cleanForOpenClip(prompt: string): string {
  const text = unescapeHtml(unescapeHtml(prompt));
  return text
    .split(BLANKS)
    .filter((word) => word !== '')
    .join(' ')
    .toLowerCase();
}

/**
 * Single characters that ftfy rewrites or removes whatever stands beside them: control characters, ligatures and digraphs, curly
 * quotes, letters of another width.
 */
const REWRITTEN =
  /(?![\t\n\f\r\x85])\p{Cc}|[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\u02bc\u2018-\u201f\u206a-\u206f\ud800-\udfff\ufb00-\ufb06\ufeff\uff01-\uffee\ufff9-\ufffc]/u;
/** Two or more characters that UTF-8 read as Latin-1 or Windows-1252 leaves: a leading byte of 0xc2 to 0xf4 and one that continues. */
const MOJIBAKE = /[\xc2-\xf4][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]/u;

/** The first part of a prompt that ftfy might have repaired before open_clip's tokenizer saw it; undefined where there is none. */
export function whatFtfyMayAlter(prompt: string): string | undefined {
  return (MOJIBAKE.exec(prompt) ?? REWRITTEN.exec(prompt))?.[0];
}
