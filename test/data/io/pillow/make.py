"""Writes the pictures here and what Pillow makes of each (EXPECTED.json): the sha256 of its RGB bytes, or null where it
refuses. Needs Pillow 13 and numpy. Files named field_* came from elsewhere and stay.   python make.py"""

import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

here = pathlib.Path(__file__).parent
W, H = 24, 36
y, x = np.mgrid[0:H, 0:W]
rng = np.random.default_rng(1)
pixels = np.stack([x * 10 % 256, y * 7 % 256, (x + y) * 4 % 256], -1).astype(np.uint8)
pixels[10:16, 6:18] = rng.integers(0, 256, (6, 12, 3))
rgb = Image.fromarray(pixels)
rgba = Image.fromarray(np.dstack([pixels, (x * 10 % 256).astype(np.uint8)]))
made = {}


def save(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def changed(data, at, *values):
    return data[:at] + bytes(values) + data[at + len(values):]


def turned(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


# JPEG
plain = save(rgb, 'JPEG', quality=85)
progressive = save(rgb, 'JPEG', quality=85, progressive=True)
restarts = save(rgb, 'JPEG', quality=85, restart_marker_rows=1, subsampling=0)
cmyk = save(rgb.convert('CMYK'), 'JPEG', quality=90)
scan = plain.find(b'\xff\xda')
data = scan + 14  # of the scan: its header has 12 bytes after the marker
rst = [i for i in range(len(restarts) - 1) if restarts[i] == 255 and 0xd0 <= restarts[i + 1] <= 0xd7]
adobe = cmyk.find(b'\xff\xee')
made |= {
    'plain.jpg': plain,
    'progressive.jpg': progressive,
    'grey.jpg': save(rgb.convert('L'), 'JPEG'),
    'cmyk.jpg': cmyk,
    'cmyk_no_adobe.jpg': cmyk[:adobe] + cmyk[adobe + 16:],
    'ycck.jpg': changed(cmyk, adobe + 15, 2),
    'rgb.jpg': save(rgb, 'JPEG', keep_rgb=True),
    'exif6.jpg': save(rgb, 'JPEG', exif=turned(6)),
    'icc.jpg': save(rgb, 'JPEG', icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()),
    'icc_bad.jpg': save(rgb, 'JPEG', icc_profile=b'not a profile'),
    'mpo.jpg': save(rgb, 'MPO', save_all=True, append_images=[rgb.rotate(180)]),
    # what libjpeg warns of
    'sos_params.jpg': changed(plain, data - 3, 3, 5, 16),
    'bytes_before_marker.jpg': plain[:scan] + b'\x00\x11\x22' + plain[scan:],
    'fill_before_marker.jpg': plain[:scan] + b'\xff\xff\xff' + plain[scan:],
    'bytes_before_end.jpg': plain[:-2] + b'\x12\x34\x56\x78' * 9 + plain[-2:],
    'bytes_after_end.jpg': plain + b'garbage' * 40,
    'jfif_revision.jpg': changed(plain, 11, 9, 9),
    'restart_wrong.jpg': changed(restarts, rst[1] + 1, 0xd5),
    'restart_missing.jpg': restarts[:rst[1]] + restarts[rst[1] + 2:],
    'restart_extra.jpg': restarts[:rst[2]] + b'\xff\xd2' + restarts[rst[2]:],
    'data_corrupt.jpg': changed(plain, data + 60, plain[data + 60] ^ 0x24),
    'end_inside.jpg': changed(plain, data + 60, 255, 0xd9),
    'cut_and_ended.jpg': plain[:-40] + b'\xff\xd9',
    'progressive_cut_and_ended.jpg': progressive[:-40] + b'\xff\xd9',
    # what it does not decode to the end
    'marker_inside.jpg': changed(plain, data + 60, 255, 0x23),
    'frame_twice.jpg': plain[:-2] + plain[plain.find(b'\xff\xc0'):],
    'cut_scan.jpg': plain[:data + 60],
    'cut_3.jpg': plain[:-3],
    'cut_end.jpg': plain[:-2],
    'cut_header.jpg': plain[:scan - 30],
    'progressive_cut.jpg': progressive[:-40],
    'progressive_cut_scan.jpg': progressive[:progressive.rfind(b'\xff\xc4')],
    'restart_cut.jpg': restarts[:rst[1]],
}


# PNG
def chunk(name, body, crc=None):
    crc = zlib.crc32(name + body) if crc is None else crc
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', crc)


def header(depth, colour, interlaced=0):
    return (b'IHDR', struct.pack('>IIBBBBB', W, H, depth, colour, 0, 0, interlaced))


def png(*chunks):
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in chunks)


def lines(array):
    return b''.join(b'\0' + line.tobytes() for line in array)


def adam7(array):
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return b''.join(lines(array[top::dy, left::dx]) for left, top, dx, dy in passes)


END = (b'IEND', b'')
raw = lines(pixels)
packed = zlib.compress(raw)
IDAT = (b'IDAT', packed)
deep = (pixels.astype(np.uint32) * 257 % 65536).astype('>u2')
grey16 = ((x * 2600 + y * 37) % 65536).astype('>u2')
palette = rgb.quantize(17)
bits = np.packbits(((x + y) % 4 > 1).astype(np.uint8), axis=1)
whole = png(header(8, 2), IDAT, END)
made |= {
    'plain.png': whole,
    'palette.png': save(palette, 'PNG'),
    'palette_trns.png': save(palette, 'PNG', transparency=bytes([0, 128] + [255] * 10)),
    'rgb_trns.png': save(rgb, 'PNG', transparency=tuple(int(v) for v in pixels[0, 0])),
    'rgba.png': save(rgba, 'PNG'),
    'grey.png': save(rgb.convert('L'), 'PNG'),
    'grey_alpha.png': save(rgba.convert('LA'), 'PNG'),
    'grey_1_bit.png': png(header(1, 0), (b'IDAT', zlib.compress(lines(bits))), END),
    'grey_16.png': png(header(16, 0), (b'IDAT', zlib.compress(lines(grey16))), END),
    'grey_alpha_16.png': png(header(16, 4), (b'IDAT', zlib.compress(lines(np.dstack([grey16, grey16])))), END),
    'rgb_16.png': png(header(16, 2), (b'IDAT', zlib.compress(lines(deep))), END),
    'interlaced.png': png(header(8, 2, 1), (b'IDAT', zlib.compress(adam7(pixels))), END),
    'exif6.png': save(rgb, 'PNG', exif=turned(6)),
    'gamma.png': png(header(8, 2), (b'gAMA', struct.pack('>I', 100000)), IDAT, END),
    'icc_bad.png': png(header(8, 2), (b'iCCP', b'x\0\0garbage'), IDAT, END),
    'text_crc_after.png': png(header(8, 2), IDAT, (b'tEXt', b'a\0b', 1), END),
    'bytes_after_end.png': whole + b'garbage' * 40,
    'data_crc.png': png(header(8, 2), (b'IDAT', packed, 1), END),
    'animated.png': save(rgb, 'PNG', save_all=True, append_images=[rgb.rotate(180)]),
    'header_crc.png': png((*header(8, 2), 1), IDAT, END),
    'data_cut.png': png(header(8, 2), (b'IDAT', packed[:-9]), END),
    'last_byte_missing.png': png(header(8, 2), (b'IDAT', zlib.compress(raw[:-1])), END),
    'adler.png': png(header(8, 2), (b'IDAT', packed[:-1] + bytes([packed[-1] ^ 1])), END),
    'interlaced_cut.png': png(header(8, 2, 1), (b'IDAT', zlib.compress(adam7(pixels))[:-90]), END),
    'cut_half.png': whole[:len(whole) // 2],
    'cut_30.png': whole[:-30],
}

# WebP
lossy, lossless = save(rgb, 'WEBP', quality=80), save(rgb, 'WEBP', lossless=True)
made |= {
    'lossy.webp': lossy,
    'alpha.webp': save(rgba, 'WEBP', lossless=True, exact=True),
    'animated.webp': save(rgba, 'WEBP', save_all=True, append_images=[rgba.rotate(180)], lossless=True, exact=True),
    'exif6.webp': save(rgb, 'WEBP', lossless=True, exif=turned(6)),
    'bytes_after_end.webp': lossy + b'garbage' * 9,
    'lossy_cut.webp': lossy[:-1],
    'lossless_cut.webp': lossless[:-50],
}


# GIF
def gif(screen, frame, indices, colours=None, local=None, transparent=None):
    def table(values):
        return bytes(values) + bytes(768 - len(values))

    out = b'GIF89a' + struct.pack('<HH', *screen) + bytes([0xf7 if colours else 0x70, 7, 0])
    out += table(colours) if colours else b''
    if transparent is not None:
        out += b'\x21\xf9\x04' + bytes([1, 0, 0, transparent, 0])
    out += b'\x2c' + struct.pack('<HHHH', *frame) + (b'\x87' + table(local) if local else b'\0') + b'\x08'
    codes = []
    for i, index in enumerate(indices):
        codes += ([256] if i % 200 == 0 else []) + [index]  # the table never grows beyond nine bits
    value = sum(code << (9 * i) for i, code in enumerate([*codes, 257]))
    packed = value.to_bytes((9 * (len(codes) + 1) + 7) // 8, 'little')
    blocks = [packed[i:i + 255] for i in range(0, len(packed), 255)]
    return out + b''.join(bytes([len(block)]) + block for block in blocks) + b'\0;'


some, other = ([int(v) for v in rng.integers(0, 256, 768)] for _ in range(2))
indices = [int(v) for v in rng.integers(0, 256, 200)]
frames = dict(save_all=True, append_images=[palette.rotate(180)], duration=100, loop=0)
made |= {
    'plain.gif': save(palette, 'GIF'),
    'transparent.gif': save(palette, 'GIF', transparency=5),
    'animated.gif': save(palette, 'GIF', transparency=5, disposal=2, **frames),
    'grey.gif': save(rgb.convert('L'), 'GIF'),
    'small_frame.gif': gif((30, 20), (5, 5, 20, 10), indices, some),
    'small_frame_transparent.gif': gif((30, 20), (5, 5, 20, 10), indices, some, transparent=9),
    'small_frame_local.gif': gif((30, 20), (5, 5, 20, 10), indices, some, other, 9),
    'local_only.gif': gif((20, 10), (0, 0, 20, 10), indices, None, other),
    'no_palette.gif': gif((20, 10), (0, 0, 20, 10), indices),
    'frame_outside.gif': gif((20, 10), (5, 5, 20, 10), indices, some),
}
made['cut.gif'] = made['plain.gif'][:-60]

# TIFF
made |= {f'orientation_{i}.tif': save(rgb, 'TIFF', tiffinfo={274: i}, compression='tiff_lzw') for i in range(1, 9)}
made |= {
    'cmyk_6.tif': save(rgb.convert('CMYK'), 'TIFF', tiffinfo={274: 6}, compression='tiff_lzw'),
    'palette.tif': save(palette, 'TIFF', compression='tiff_lzw'),
    'grey_16.tif': save(Image.fromarray(grey16.astype(np.uint16)), 'TIFF', compression='tiff_lzw'),
    'jpeg.tif': save(rgb, 'TIFF', compression='jpeg'),
    'cut.tif': save(rgb, 'TIFF')[:-100],
}

# AVIF: not to the bit. The pixels are here for a comparison within a level.
close = {f'orientation_{i}.avif': save(rgb, 'AVIF', subsampling='4:4:4', quality=100, exif=turned(i)) for i in (1, 2, 5, 6)}

for name, contents in (made | close).items():
    (here / name).write_bytes(contents)
expected = {}
for file in sorted(here.iterdir()):
    if file.suffix in ('.py', '.json'):
        continue
    try:
        found = Image.open(file).convert('RGB')
        expected[file.name] = {'size': found.size, 'sha256': hashlib.sha256(found.tobytes()).hexdigest()}
        if file.suffix == '.avif':
            expected[file.name]['pixels'] = zlib.compress(found.tobytes(), 9).hex()
    except (OSError, SyntaxError):
        expected[file.name] = None
(here / 'EXPECTED.json').write_text(json.dumps(expected, indent=1) + '\n')
