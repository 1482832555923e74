"""Small sound files of every kind that the reader knows, to be mutated."""

import importlib.util
import io
import struct
import tempfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from neid_tf.models import weights_file
from neid_tf.pictures import Picture, encode
from neid_tf.pictures.raster import Extras
from tests.pictures import raw_files
from tests.pictures.picture_files import PNG_START, chunk, noise, saved, smooth

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description GPano:FullPanoWidthPixels="64"/>'
    b"</x:xmpmeta>"
)
IPTC = b"\x1c\x02\x78\x00\x05hello"
FRAMES = [Image.fromarray(noise(12, 16, 3, seed=seed)) for seed in range(3)]
SEVERAL = {"save_all": True, "append_images": FRAMES[1:], "duration": 100}


def exif() -> bytes:
    """An EXIF block of a picture that is to be turned."""
    block = Image.Exif()
    block[0x0112], block[0x010F] = 6, "Maker"
    block[0x8769] = {0xA002: 64, 0xA003: 48, 0x927C: bytes(range(40))}
    block[0x8825] = {1: "N", 2: (52.0, 31.0, 12.5)}
    return block.tobytes()


def tiff(samples: np.ndarray, **options: object) -> bytes:
    """A TIFF that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def pages() -> bytes:
    """A TIFF of a thumbnail, two pages with a mask of the last, and a page with one below it."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for size, kind in ((6, 1), (20, 0), (24, 0)):
            samples = noise(size, size + 3, 3)
            writer.write(
                samples, photometric="rgb", subfiletype=kind, contiguous=False, metadata=None
            )
        seen = noise(24, 27, 1)[..., 0] > 99
        writer.write(seen, photometric="mask", subfiletype=4, compression="zlib", metadata=None)
        writer.write(noise(8, 9, 3), photometric="rgb", subifds=1, metadata=None)
        writer.write(noise(4, 5, 3), photometric="rgb", subfiletype=1, metadata=None)
    return file.getvalue()


def geotiff() -> bytes:
    """A tiled TIFF of five bands with a place and a value for no data."""
    samples = noise(40, 50, 5, np.uint16)
    samples[:5] = 0
    tags = [
        (33550, 12, 3, (10.0, 10.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4e6, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 1025, 0, 1, 2), True),
        (42113, 2, 0, "0", True),
        (700, 1, len(XMP), XMP, True),
    ]
    options = {"photometric": "minisblack", "planarconfig": "contig", "tile": (16, 16)}
    return tiff(samples, compression="zlib", predictor=True, extratags=tags, **options)


def palette_png() -> bytes:
    """A PNG with a palette, a transparent colour, and all kinds of chunks."""
    rows = b"".join(b"\0" + bytes([n % 4] * 9) for n in range(7))
    texts = [
        (b"gAMA", b"\0\1\x86\xa0"),
        (b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
        (b"tEXt", b"Comment\0hello"),
        (
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 6\n" + exif().hex().encode()),
        ),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ]
    header = struct.pack(">IIBBBBB", 9, 7, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", header), *texts, (b"PLTE", bytes(range(12))), (b"tRNS", b"\0\x80")]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return PNG_START + b"".join(chunk(*part) for part in parts)


def runs() -> bytes:
    """A BMP of runs."""
    data = b"\5\7\0\4abcd\0\0\0\2\1\1\4\1\0\0\6\3\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 9, 5, 1, 8, 1, len(data), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 1078) + header + bytes(range(256)) * 4 + data


def full(suffix: str, *fields: object) -> bytes:
    """A picture with all the metadata that a format holds."""
    extras = Extras(XMP, IPTC, (300, 300, True), (b"a comment",))
    return encode(f"a{suffix}", Picture(smooth(), *fields, exif=exif(), extras=extras))


def weights() -> bytes:
    """A weights file of two small arrays."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        header = {"name": "le", "part": "whole", "config": {"filters": 4, "depth": 2}, "card": {}}
        weights_file.write(path, {name: np.ones(s) for name, s in WEIGHTS.items()}, header)
        return path.read_bytes()


WEIGHTS = {"conv/kernel": (3, 3, 16, 16), "conv/bias": (4,)}
"""The names and shapes of the arrays in the weights file."""
NAMES = ("1", "2", "a picture", "ü")
"""The pictures that the list of names may name."""
OTHERS = {
    "weights": weights(),
    "list of names": "1.png  # the first\na picture\n2 1\n\nü\n".encode(),
}
"""Files that are no pictures."""
SOUND = {
    "jpeg": full(".jpg"),
    "progressive jpeg": saved(Image.fromarray(smooth()), "JPEG", progressive=True, exif=exif()),
    "cmyk jpeg": saved(Image.fromarray(smooth()).convert("CMYK"), "JPEG"),
    "multi-picture jpeg": saved(FRAMES[0], "MPO", **SEVERAL),
    "png": full(".png", noise(48, 64, 1)[..., 0]),
    "16-bit png": encode("a.png", Picture(noise(20, 9, 3, np.uint16))),
    "palette png": palette_png(),
    "animated png": saved(FRAMES[0], "PNG", **SEVERAL),
    "bmp": full(".bmp"),
    "alpha bmp": encode("a.bmp", Picture(smooth(), noise(48, 64, 1)[..., 0])),
    "bmp of runs": runs(),
    "tiff": full(".tif"),
    "pages": pages(),
    "geotiff": geotiff(),
    "float tiff": tiff(
        np.float32(smooth() / 255), photometric="rgb", compression="lzw", predictor=3
    ),
    "lzw tiff": tiff(noise(30, 40, 4), photometric="rgb", extrasamples=[1], compression="lzw"),
    "jpeg in tiff": tiff(smooth(), photometric="rgb", compression="jpeg", tile=(32, 32)),
    "bigtiff": tiff(noise(30, 40, 1)[..., 0], bigtiff=True, compression="zstd"),
    "webp": full(".webp"),
    "lossy webp": saved(Image.fromarray(smooth()), "WEBP", exif=exif()),
    "animated webp": saved(FRAMES[0], "WEBP", **SEVERAL),
    "gif": saved(FRAMES[0], "GIF", **SEVERAL),
    "avif": saved(Image.fromarray(smooth()), "AVIF", exif=exif()),
    "deep avif": imagecodecs.avif_encode(noise(20, 30, 3, np.uint16) >> 6, bitspersample=10),
    "jpeg 2000": full(".jp2", noise(48, 64, 1)[..., 0]),
    "deep jpeg 2000": encode("a.jp2", Picture(noise(20, 9, 3, np.uint16))),
    "codestream": imagecodecs.jpeg2k_encode(smooth(), 40, codecformat="j2k"),
    "pgm": b"P2 # text\n3 2\n100\n0 50 100 1\n2 3\n",
    "ppm": encode("a.ppm", Picture(noise(9, 12, 3, np.uint16))),
    "pbm": b"P4\n13 4\n" + bytes(range(8)),
    "pam": encode("a.pam", Picture(noise(9, 12, 3), noise(9, 12, 1)[..., 0])),
}
if importlib.util.find_spec("pillow_heif"):
    SOUND["heic"] = full(".heic")
    SOUND["deep heic"] = encode("a.heic", Picture(noise(64, 64, 3, np.uint16)))
if importlib.util.find_spec("rawpy"):
    SOUND["dng"] = raw_files.dng(raw_files.scene(32, 48), entries={0x927C: b"notes"}, xmp=XMP)
    SOUND["bare dng"] = raw_files.dng(raw_files.scene(32, 48), thumbnail=False)
if importlib.util.find_spec("pillow_jxl") and imagecodecs.JPEGXL.available:
    SOUND["jpeg xl"] = full(".jxl")
    SOUND["deep jpeg xl"] = imagecodecs.jpegxl_encode(noise(20, 30, 3, np.uint16), lossless=True)
"""Files by their names."""
