// What MPS is asked to judge: the words of its authors' "overall" condition, which it was published with.

const WORDS = [
  ...['light', 'color', 'clarity', 'tone', 'style', 'ambiance', 'artistry'],
  ...['shape', 'face', 'hair', 'hands', 'limbs', 'structure', 'instance', 'texture'],
  ...['quantity', 'attributes', 'position', 'number', 'location'],
  ...['word', 'things'],
];

/** The condition as one text, to be tokenized like a prompt and padded with the end token. */
export const MPS_CONDITION = `${WORDS.join(', ')}.`;

/** Of its UTF-8. */
export const MPS_CONDITION_SHA256 = 'b9d60155529e0ad36251c9401ad1f1c313d621b7eceebdff3888d964eb26d1cf';
