// Retouched copies: an image as someone leaves it who turned, cropped, mirrored, coloured or sharpened it a little, for
// better or worse. The base's own images of a caption differ little; copies differ in all that raters look at and by more,
// so that what is learned from votes on them is what raters see, and not which image is which.
import { blur, perValue, resample } from '../../image/filters.js';
import type { Image } from '../../image/write.js';
import type { PhiloxStream } from '../../random/philox_stream.js';

/** Standard deviations: of an angle in degrees, of the logarithms of a zoom, of colour and of contrast, of a shift as a
 * share of a side, and mean and deviation of how much of the detail is added once more. */
const TURN = 2;
const ZOOM = 0.03;
const SHIFT = 0.012;
const COLOUR = 0.1;
const CONTRAST = 0.06;
const SHARPENED = { mean: 0.6, deviation: 0.4 };

/** Share of the copies that are blended with their mirror image, and at most how far. */
const MIRRORED = 0.3;
const BLEND = 0.3;

/** Detail: what a Gaussian of this share of a side takes away. */
const DETAIL = 1 / 64;

/** The same draws give the same image. */
export function retouch(image: Image, draws: PhiloxStream): Image {
  const moved = mirrored(turned(image, draws), draws);
  return sharpened(coloured(moved, draws), draws);
}

function turned(image: Image, draws: PhiloxStream): Image {
  const { width, height } = image;
  const angle = (TURN * draws.normal() * Math.PI) / 180;
  const zoom = Math.exp(ZOOM * draws.normal());
  const [cos, sin] = [Math.cos(angle) / zoom, Math.sin(angle) / zoom];
  const [shiftX, shiftY] = [SHIFT * width * draws.normal(), SHIFT * height * draws.normal()];
  const [midX, midY] = [(width - 1) / 2, (height - 1) / 2];
  return resample(image, (x, y) => [
    midX + cos * (x - midX) + sin * (y - midY) + shiftX,
    midY - sin * (x - midX) + cos * (y - midY) + shiftY,
  ]);
}

function mirrored(image: Image, draws: PhiloxStream): Image {
  const [one, share] = [draws.uniform(), BLEND * draws.uniform()];
  if (one >= MIRRORED) return image;
  const mirror = resample(image, (x, y) => [image.width - 1 - x, y]);
  return perValue(image, (value, at) => value + share * ((mirror.pixels[at] as number) - value));
}

/** Away from each pixel's grey, and from the image's. */
function coloured(image: Image, draws: PhiloxStream): Image {
  const { pixels } = image;
  const colour = Math.exp(COLOUR * draws.normal());
  const contrast = Math.exp(CONTRAST * draws.normal());
  const middle = pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
  const greyAt = (at: number) => {
    const first = at - (at % 3);
    return ((pixels[first] as number) + (pixels[first + 1] as number) + (pixels[first + 2] as number)) / 3;
  };
  return perValue(image, (value, at) => {
    const grey = greyAt(at);
    return middle + contrast * (grey + colour * (value - grey) - middle);
  });
}

function sharpened(image: Image, draws: PhiloxStream): Image {
  const amount = SHARPENED.mean + SHARPENED.deviation * draws.normal();
  const soft = blur(image, DETAIL * Math.max(image.width, image.height));
  return perValue(image, (value, at) => value + amount * (value - (soft.pixels[at] as number)));
}
