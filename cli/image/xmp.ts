// Texts inside WebP and JPEG files, which have no chunks for them: as properties of an XMP packet.

const NAMESPACE = 'urn:drm:image';

/** All but plain letters by number: exact whatever they are, and nothing that XML would obey. */
const escaped = (text: string): string => text.replace(/[^\w .,:;+-]/gu, (letter) => `&#${letter.codePointAt(0)};`);

const unescaped = (text: string): string =>
  text.replace(/&#(x?)([\da-f]+);/gi, (whole, hex, number) => {
    const code = Number.parseInt(number, hex ? 16 : 10);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });

/** Keywords are letters alone. */
export function xmpOf(texts: Readonly<Record<string, string>>): string {
  const properties = Object.entries(texts).map(([keyword, text]) => ` drm:${keyword}="${escaped(text)}"`);
  return `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:drm="${NAMESPACE}"${properties.join('')}/></rdf:RDF></x:xmpmeta>`;
}

export const textsOfXmp = (xmp: string): Record<string, string> =>
  Object.fromEntries(
    [...xmp.matchAll(/ drm:(\w+)="([^"]*)"/g)].map(([, keyword, text]) => [keyword, unescaped(text ?? '')]),
  );
