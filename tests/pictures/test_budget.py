"""A small file takes little memory and time, or is refused: whatever it announces or unfolds to."""

import contextlib
import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf.pictures import PictureError, bmp, budget, decode
from tests.pictures.picture_files import PNG_START, chunk, noise, saved, smooth

LIMIT = 1_000_000


def bmp_of_runs(width, height, runs, bits=8, compression=1):
    """A BMP whose run-length encoded pixels are these bytes."""
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(runs), 0, 0, 0, 0
    )
    palette = b"".join(bytes([n, n, n, 0]) for n in range(256 if bits == 8 else 16))
    start = 14 + 40 + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + header + palette + runs


def tiff_of(samples, changes=(), **options):
    """A TIFF, some of whose tags were changed afterwards."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for tag, value in changes:
            tiff.pages[0].tags[tag].overwrite(value)
    return file.getvalue()


def shared_strips():
    """A TIFF of 16 float64 channels whose strips are all the same few bytes."""
    strip = zlib.compress(bytes(50 * 1000 * 16 * 8))
    return (
        tiff_of(
            np.zeros((1000, 1000, 16), np.float64)[:50],
            [(257, 1000)],
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
            rowsperstrip=50,
        )
        + strip
    )


def jpeg_of_many_scans():
    """A progressive JPEG whose last scan is there again and again."""
    data = saved(Image.new("L", (1000, 900)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 2000 + data[-2:]


def jpeg_bomb_in_tiff():
    """A TIFF whose strip is a JPEG that announces 65000×65000 pixels."""
    data = bytearray(
        tiff_of(smooth(), photometric="rgb", compression="jpeg", compressionargs={"level": 90})
    )
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, 65000, 65000)
    return bytes(data)


def png_of_much():
    """A PNG whose data unfolds to more than its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0))
    packed = zlib.compress(bytes(3 * 10**8))
    return PNG_START + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def webp_canvas(width, height):
    """A small animated frame on a canvas of that size."""
    image = saved(Image.fromarray(smooth()), "WEBP")[12:]
    sizes = [struct.pack("<I", n - 1)[:3] for n in (width, height)]
    frame = bytes(6) + b"".join(struct.pack("<I", n - 1)[:3] for n in (64, 48)) + bytes(4) + image
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + sizes[0] + sizes[1]
    body += (
        b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_of_many_pages():
    """A TIFF of 2,000 pages."""
    file, page = io.BytesIO(), np.zeros((8, 8), np.uint8)
    with tifffile.TiffWriter(file) as writer:
        for _ in range(2000):
            writer.write(page, metadata=None, contiguous=False)
    return file.getvalue()


def jpeg_of_many_segments():
    """A JPEG with 300,000 empty segments before its picture and as many behind."""
    plain = saved(Image.fromarray(smooth()), "JPEG")
    empty = 300_000 * b"\xff\xee\0\2"
    return plain[:2] + empty + plain[2:-2] + empty + plain[-2:]


def png_of_open_xmp():
    """A PNG with a packet of XMP in which a million elements are opened and none is closed."""
    plain = saved(Image.fromarray(smooth()), "PNG")
    text = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(900_000 * b"<xmp:Thumbnails>")
    return plain[:33] + chunk(b"iTXt", text) + plain[33:]


COSTLY = {
    "tiff of many pages": (tiff_of_many_pages(), None),
    "jpeg of many segments": (jpeg_of_many_segments(), "10,000 segments"),
    "png of open xmp": (png_of_open_xmp(), None),
    "bmp jumps": (bmp_of_runs(900_000, 1, b"\0\2\xff\0" * 200 + b"\0\1"), None),
    "bmp jumps far up": (bmp_of_runs(9000, 100, b"\0\2\xff\xff" * 200 + b"\0\1"), None),
    "bmp ends of lines": (bmp_of_runs(1, 900_000, b"\0\0" * 400_000 + b"\0\1"), None),
    "bmp wide ends of lines": (bmp_of_runs(900_000, 1, b"\0\0" * 400_000 + b"\0\1"), None),
    "bmp too long": (bmp_of_runs(1_000_001, 1, b"\0\1"), "over the limit"),
    "tiff of 16 float64": (shared_strips(), "TIFF|over the limit"),
    "jpeg of many scans": (jpeg_of_many_scans(), "2.* scans"),
    "jpeg bomb in a tiff": (jpeg_bomb_in_tiff(), "65000x65000"),
    "png of much data": (png_of_much(), None),
    "webp canvas": (webp_canvas(16000, 62), None),
    "wide webp canvas": (webp_canvas(1_048_000, 1), "over the limit"),
    "tiles on a line": (
        tiff_of(
            noise(1, 900, 1)[..., 0], [(322, 2048), (323, 2048), (256, 900_000)], tile=(16, 16)
        ),
        "TIFF|over the limit",
    ),
    "jpeg 2000 in a tiff": (
        tiff_of(smooth(), photometric="rgb", compression="jpeg2000"),
        "compression JPEG2000|compression JPEG_2000|compression",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_small_files_take_little(name, capfd):
    data, reason = COSTLY[name]
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(PictureError, match=reason) if reason else contextlib.nullcontext():
        decode("a", data, LIMIT)
    seconds = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 20.0  # While what memory is taken is traced.
    assert peak < 6 * budget.BYTES_PER_PIXEL * LIMIT + 3 * len(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("bits", [8, 4])
def test_runs_are_decoded_as_pillow_does(bits):
    rng = np.random.default_rng(bits)
    runs = b""
    for _ in range(12):
        left = 40
        while left > 0:
            count = int(rng.integers(3, min(left, 20) + 1)) if left > 3 else left
            if rng.random() < 0.5 or count < 4:
                runs += bytes([count, int(rng.integers(256))])
            else:
                count -= count % 2 if bits == 4 else 0  # Pillow counts odd ones wrongly.
                length = count // 2 if bits == 4 else count
                runs += bytes([0, count]) + rng.bytes(length) + bytes(length % 2)
            left -= count
        runs += b"\0\0"
    data = bmp_of_runs(40, 12, runs + b"\0\1", bits, 1 if bits == 8 else 2)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(bmp.decode_bmp(data, LIMIT).samples, expected)


@pytest.mark.parametrize("cut", [b"\x05", b"\0\2\1", b"\0\x05ab", b""])
def test_runs_that_end_too_soon_are_damage(cut):
    with pytest.raises(PictureError, match="truncated BMP"):
        decode("a", bmp_of_runs(40, 12, b"\x05\7" + cut), LIMIT)


def test_a_run_beyond_its_line_is_cut():
    samples = bmp.decode_bmp(bmp_of_runs(4, 2, b"\xff\7\0\0\4\x09\0\1"), LIMIT).samples
    assert samples[:, :, 0].tolist() == [[9] * 4, [7] * 4]


def test_bytes_are_bounded_by_the_pixels_allowed():
    deep = tiff_of(
        np.zeros((800, 900, 8), np.float64), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(PictureError, match=r"take 46080000 bytes, over the limit of 33554432"):
        decode("a", deep, LIMIT)
    with pytest.raises(PictureError, match=r"float samples must lie in"):
        decode("a", tiff_of(np.full((8, 9, 8), 7.0), photometric="minisblack"), LIMIT)


def test_complaints_of_a_decoder_are_damage():
    """A tag whose value lies beyond the file is left out by the library, with a line in its log."""
    data = tiff_of(
        smooth(), photometric="rgb", compression="lzw", extratags=[(65000, "s", 0, "x" * 99, True)]
    )
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tag = tiff.pages[0].tags[258]
    damaged = bytearray(data)
    struct.pack_into("<I", damaged, tag.offset + 8, len(data) + 10)
    with pytest.raises(PictureError, match=r"truncated or damaged TIFF: .*invalid value offset"):
        decode("a", bytes(damaged), LIMIT)
    assert decode("a", data, LIMIT).pixels.shape == smooth().shape
