// Text inside SVG and HTML.
import { visible } from './visible.js';

/** Letters that would be obeyed are shown, those that XML forbids replaced, its own escaped in elements and attributes alike. */
export const escapeXml = (text: string): string =>
  visible(text.toWellFormed())
    .replace(/[\ufffe\uffff]/g, '\ufffd')
    .replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
