// Pixels as the models see them: plain RGB as Pillow's RGB conversion gives it. Alpha is dropped without blending, colour
// profiles are not applied, nor is orientation but for TIFF, inks are multiplied out. All decoding and resizing of data
// is here; docs/preferences.md says where the pixels are not Pillow's.
import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { throwLack } from '../../common/errors.js';
import type { Image } from '../../image/write.js';
import { uprightAvif } from './avif.js';
import { Drop } from './drop.js';
import { fillAround, firstFrameOf } from './gif.js';
import { strayMarker } from './jpeg.js';

/** A small file may claim any size; 3 bytes a pixel are allocated for it. */
export const LARGEST_PIXELS = 1 << 26;

sharp.cache(false); // each image is decoded once; remembering operations only holds memory

/** Containers by their first bytes, as the extensions that other tools know. Vector formats are no images to us. */
const CONTAINERS: [extension: string, signature: RegExp][] = [
  ['jpg', /^\xff\xd8\xff/],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a PNG begins with them
  ['png', /^\x89PNG\r\n\x1a\n/],
  ['webp', /^RIFF....WEBP/s],
  ['gif', /^GIF8[79]a/],
  ['tif', /^(II\*\0|MM\0\*)/],
  ['avif', /^....ftyp(avif|avis|mif1)/s],
];

function extensionOf(bytes: Uint8Array): string | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(16, bytes.length)).toString('latin1');
  return CONTAINERS.find(([, signature]) => signature.test(start))?.[0];
}

export interface Decoded extends Image {
  /** File extension of the container found in the bytes, whatever the file was called. */
  extension: string;
}

/** Of JPEG and PNG, warnings tell of what Pillow decodes, too; that nothing is missing is seen to here. */
const FAIL_ON: Record<string, 'truncated' | undefined> = { jpg: 'truncated', png: 'truncated' };

const FAULTS: Record<string, ((bytes: Uint8Array) => string | undefined) | undefined> = {
  jpg: strayMarker,
  // With the level above, this checksum is not looked at.
  png: (bytes) =>
    bytes.length < 33 || crc32(bytes.subarray(12, 29)) !== Buffer.from(bytes.subarray(29, 33)).readUInt32BE()
      ? 'the PNG has a damaged header'
      : undefined,
};

/** Decodes all of an image. A Drop says why it cannot be used; rejects where this process lacks memory, threads, files. */
export async function decodeImage(bytes: Uint8Array): Promise<Decoded | Drop> {
  const extension = extensionOf(bytes);
  if (extension === undefined)
    return new Drop('undecodable_image', 'expected a JPEG, PNG, WebP, GIF, TIFF or AVIF, found other bytes');
  const fault = FAULTS[extension]?.(bytes);
  if (fault !== undefined) return new Drop('undecodable_image', fault);
  const frame = extension === 'gif' ? firstFrameOf(bytes) : undefined;
  const upright = extension === 'avif' ? uprightAvif(bytes) : undefined;
  const input = (): Sharp =>
    sharp(frame?.bytes ?? upright ?? bytes, {
      limitInputPixels: LARGEST_PIXELS,
      failOn: FAIL_ON[extension] ?? 'warning',
      ignoreIcc: true,
      sequentialRead: true,
      autoOrient: extension === 'tif', // as Pillow does of TIFF, and of TIFF alone
    });
  try {
    const { width = 0, height = 0, space, channels } = await input().metadata();
    const pixels = width * height;
    if (pixels > LARGEST_PIXELS) return tooMany(`${width}×${height}`);
    return await room.take(pixels, async () => {
      const decode = space === 'cmyk' ? inks : space === 'grey16' && channels === 1 ? deepGrey : colours;
      const { pixels, width, height } = await decode(input());
      if (frame) fillAround(frame, pixels, width);
      return { pixels, width, height, extension };
    });
  } catch (error) {
    throwLack(error);
    return undecodable(error);
  }
}

async function colours(input: Sharp): Promise<Image> {
  const { data, info } = await input.removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  return { pixels: channels === 3 ? data : repeatGrey(data, channels), width, height };
}

/** (255 - ink)(255 - black) / 255, rounded as Pillow does. */
async function inks(input: Sharp): Promise<Image> {
  const inked = input.pipelineColourspace('cmyk').toColourspace('cmyk').raw();
  const { data, info } = await inked.toBuffer({ resolveWithObject: true });
  const pixels = new Uint8Array((data.length / 4) * 3);
  for (let i = 0; i < data.length / 4; i++) {
    const light = 255 - (data[4 * i + 3] as number);
    for (let c = 0; c < 3; c++) {
      const product = (data[4 * i + c] as number) * light + 128;
      pixels[3 * i + c] = light - (((product >> 8) + product) >> 8);
    }
  }
  return { pixels, width: info.width, height: info.height };
}

/** Grey of 16 bits as Pillow reduces it, whatever one thinks of that: everything above 255 is white. */
async function deepGrey(input: Sharp): Promise<Image> {
  const deep = input.toColourspace('grey16').raw({ depth: 'ushort' });
  const { data, info } = await deep.toBuffer({ resolveWithObject: true });
  const grey = new Uint8ClampedArray(data.length / 2);
  for (let i = 0; i < grey.length; i++) grey[i] = data.readUInt16LE(2 * i);
  return { pixels: repeatGrey(grey, 1), width: info.width, height: info.height };
}

function repeatGrey(grey: Uint8Array | Uint8ClampedArray, channels: number): Uint8Array {
  const count = grey.length / channels;
  const pixels = new Uint8Array(count * 3);
  for (let i = 0; i < count; i++) pixels.fill(grey[i * channels] as number, 3 * i, 3 * i + 3);
  return pixels;
}

/** Few large images are decoded at a time, many small ones: so many pixels together. First come, first served. */
const room = {
  left: LARGEST_PIXELS,
  waiting: [] as { pixels: number; enter: () => void }[],

  async take<T>(pixels: number, work: () => Promise<T>): Promise<T> {
    if (this.waiting.length > 0 || pixels > this.left)
      await new Promise<void>((enter) => this.waiting.push({ pixels, enter }));
    else this.left -= pixels;
    try {
      return await work();
    } finally {
      this.left += pixels;
      for (let next = this.waiting[0]; next && next.pixels <= this.left; next = this.waiting[0]) {
        this.left -= next.pixels;
        this.waiting.shift();
        next.enter();
      }
    }
  },
};

const tooMany = (size: string): Drop => new Drop('too_many_pixels', `${size}, more than ${LARGEST_PIXELS} pixels`);

const undecodable = (error: unknown): Drop => {
  const text = error instanceof Error ? error.message : String(error);
  return /pixel limit/i.test(text) ? tooMany(text) : new Drop('undecodable_image', text.split('\n')[0] ?? '');
};

// Resizing is the core's, Pillow's bit for bit: sharp's enlarging is half a pixel off, its reducing 2 to 3 levels. The
// addon is loaded when there is something to resize.

/** A square of `size`: the shorter side reduced to it, the middle kept. Only reduces: undefined for smaller images. */
export async function squareImage(image: Image, size: number): Promise<Image | undefined> {
  const { width, height } = image;
  if (Math.min(width, height) < size) return undefined;
  if (width === size && height === size) return image;
  const { resizeImages } = await import('../../../binding/index.js');
  const [square] = await resizeImages({ images: [image], width: size, height: size, square: 'transformers' });
  return square as Image;
}

/** A square of `size`, whatever the image's shape: the whole image, squashed. */
export async function squashImage(image: Image, size: number): Promise<Image> {
  if (image.width === size && image.height === size) return image;
  const { resizeImages } = await import('../../../binding/index.js');
  const [square] = await resizeImages({ images: [image], width: size, height: size });
  return square as Image;
}

/** Every pixel as it is, in fewer bytes than PNG. More effort takes three times as long for 2 % fewer bytes (measured). */
export const encodeLossless = ({ pixels, width, height }: Image): Promise<Buffer> =>
  sharp(pixels, { raw: { width, height, channels: 3 } })
    .webp({ lossless: true, effort: 1 })
    .toBuffer();
