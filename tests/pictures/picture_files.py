"""Samples and pieces of files that the tests of picture files make."""

import io
import struct
import zlib

import numpy as np

PNG_START = b"\x89PNG\r\n\x1a\n"


def noise(height, width, channels, dtype=np.uint8, seed=0):
    """Samples that use the whole range, so that no rounding or swap goes unseen."""
    rng = np.random.default_rng(seed)
    top = int(np.iinfo(dtype).max)
    samples = rng.integers(0, top + 1, (height, width, channels), dtype=dtype)
    samples[0, 0], samples[0, 1] = 0, top
    return samples


def shown(pixels, alpha):
    """The pixels, black where the alpha hides them: what lies there is not the file's."""
    return pixels * (np.asarray(alpha)[..., None] > 0).astype(pixels.dtype)


def smooth(height=48, width=64):
    """A colour picture that lossy formats keep well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3, y * 4, 255 - x * 2 - y], axis=-1).clip(0, 255).astype(np.uint8)


def saved(image, name, **options):
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def chunk(name, body, checksum=None):
    """A PNG chunk, written independently of the library's."""
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


IEND = chunk(b"IEND", b"")


def png(rows, depth, kind, width, extra=b"", packed=None, height=None, end=IEND):
    """A PNG file from its raw rows; `packed` replaces the compressed data."""
    size = (width, len(rows) if height is None else height)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows)) if packed is None else packed
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
    return PNG_START + header + extra + chunk(b"IDAT", packed) + end
