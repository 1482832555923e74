"""No bad file gets in: each is refused in one line that names it, and none is half a picture."""

import errno
import io
import os
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf.pictures import PictureError, read
from tests.pictures.picture_files import IEND, PNG_START, chunk, noise, png, saved, smooth


def saved_tiff(samples, **options):
    """The bytes of a file that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def replaced(data, old, new):
    """The data with the one occurrence of `old` replaced."""
    assert data.count(old) == 1
    return data.replace(old, new)


RGB16_ROWS = [row.astype(">u2").tobytes() for row in noise(20, 9, 3, np.uint16)]
JPEG = saved(Image.fromarray(smooth()), "JPEG", quality=90)
PROGRESSIVE = saved(Image.fromarray(smooth()), "JPEG", quality=90, progressive=True)
PNG8 = saved(Image.fromarray(noise(30, 40, 4)), "PNG")
PNG16 = png(RGB16_ROWS, 16, 2, 9)
BMP = saved(Image.fromarray(noise(30, 40, 3)), "BMP")
PALETTE_BMP = saved(Image.fromarray(smooth()).quantize(9), "BMP")
TIFF = saved_tiff(noise(30, 40, 3), photometric="rgb", rowsperstrip=8)
LZW16 = saved_tiff(noise(30, 40, 3, np.uint16), photometric="rgb", compression="lzw")
JPEG_TIFF = saved(Image.fromarray(smooth()), "TIFF", compression="jpeg")
WEBP = saved(Image.fromarray(smooth()), "WEBP", quality=90)
LOSSLESS_WEBP = saved(Image.fromarray(noise(30, 40, 4)), "WEBP", lossless=True, exact=True)
SOUND = {
    "jpeg": JPEG,
    "progressive jpeg": PROGRESSIVE,
    "8-bit png": PNG8,
    "16-bit png": PNG16,
    "bmp": BMP,
    "palette bmp": PALETTE_BMP,
    "tiff": TIFF,
    "16-bit lzw tiff": LZW16,
    "tiled deflate tiff": saved_tiff(noise(64, 70, 1)[..., 0], tile=(32, 32), compression="zlib"),
    "jpeg in tiff": JPEG_TIFF,
    "webp": WEBP,
    "lossless webp": LOSSLESS_WEBP,
}


def bomb(name):
    """A small file whose header announces 60000x50000 pixels (16000x16000 for WebP)."""
    if name == "png":
        return png([], 8, 2, 60000, height=50000)
    if name == "jpeg":
        return replaced(JPEG, struct.pack(">HH", 48, 64), struct.pack(">HH", 50000, 60000))
    if name == "bmp":
        return BMP[:18] + struct.pack("<ii", 60000, 50000) + BMP[26:]
    if name == "tiff":
        file = io.BytesIO(TIFF)
        with tifffile.TiffFile(file, mode="r+") as tiff:
            tiff.pages[0].tags[256].overwrite(60000)
            tiff.pages[0].tags[257].overwrite(50000)
        return file.getvalue()
    size = struct.pack("<I", 15999)[:3] * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + WEBP[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


DEFLATED = zlib.compress(b"".join(b"\0" + row for row in RGB16_ROWS))
BAD = {
    "zero bytes": (b"", "empty"),
    "one byte": (b"\x89", "not a picture"),
    "text": (b"hello, this is no picture at all", "not a picture"),
    "tga": (saved(Image.fromarray(smooth()), "TGA"), "not a picture"),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt ", "not a picture"),
    "bomb png": (bomb("png"), "60000x50000 is 3000000000 pixels, over the limit of 178956970"),
    "bomb jpeg": (bomb("jpeg"), "60000x50000 is 3000000000 pixels"),
    "bomb bmp": (bomb("bmp"), "60000x50000 is 3000000000 pixels"),
    "bomb tiff": (bomb("tiff"), "60000x50000 is 3000000000 pixels"),
    "bomb webp": (bomb("webp"), "16000x16000 is 256000000 pixels, over the limit of 178956970"),
    "png signature": (PNG_START, "no header"),
    "png of 0 width": (png([b""], 8, 0, 0), "0x1 pixels: it is empty"),
    "png of 0 height": (png([], 8, 0, 4), "4x0 pixels: it is empty"),
    "png of 7 bits": (png([b"abcd"], 7, 0, 4), "damaged or unsupported PNG"),
    "png without palette": (png([b"\0\1"], 8, 3, 2), "PNG"),
    "png without data": (replaced(PNG16, chunk(b"IDAT", DEFLATED), b""), "no picture data"),
    "png cut inside its data": (PNG16[:400], "ends inside chunk 'IDAT'"),
    "png without end": (png(RGB16_ROWS, 16, 2, 9, end=b""), "truncated PNG"),
    "png of few rows": (png(RGB16_ROWS[:9], 16, 2, 9, height=20), "Not enough image data"),
    "8-bit png of few rows": (png([b"abc"], 8, 0, 3, height=9), "Not enough image data"),
    "png with half its stream": (png(RGB16_ROWS, 16, 2, 9, packed=DEFLATED[:500]), "PNG"),
    "png with junk for data": (png(RGB16_ROWS, 16, 2, 9, packed=b"junk" * 99), "PNG"),
    "png with a bad filter": (png([], 8, 0, 3, packed=zlib.compress(b"\x09abc"), height=1), "PNG"),
    "png with a bad checksum": (
        PNG_START + PNG16[8:33] + chunk(b"IDAT", DEFLATED, checksum=1) + IEND,
        "IDAT.* does not match its checksum",
    ),
    "png with a flipped bit": (PNG16[:600] + bytes([PNG16[600] ^ 4]) + PNG16[601:], "checksum"),
    "png with a bad header": (PNG16[:24] + b"\x08" + PNG16[25:], "IHDR.* checksum"),
    "jpeg marker": (b"\xff\xd8\xff", "header"),
    "jpeg and then text": (b"\xff\xd8\xff\xe0" + b"text " * 99, "JPEG"),
    "jpeg header only": (JPEG[: JPEG.index(b"\xff\xda")], "JPEG|header"),
    "jpeg without end": (JPEG[:-2], "truncated"),
    "jpeg ending in zeros": (JPEG[:800] + bytes(len(JPEG) - 800), "truncated"),
    "jpeg of 12 bits": (replaced(JPEG, b"\x08\0\x30\0\x40", b"\x0c\0\x30\0\x40"), "12-bit"),
    "jpeg of 0 height": (replaced(JPEG, b"\0\x30\0\x40", b"\0\0\0\x40"), "header"),
    "bmp of 0 width": (BMP[:18] + bytes(4) + BMP[22:], "header"),
    "bmp of 3 bits": (BMP[:28] + b"\3" + BMP[29:], "BMP"),
    "bmp of unknown packing": (BMP[:30] + b"\x63" + BMP[31:], "BMP"),
    "bmp header only": (BMP[:54], "BMP"),
    "webp header only": (WEBP[:12], "WebP: it has no header"),
    "webp of junk": (WEBP[:20] + b"junk" * 99, "WEBP"),
    "tiff header only": (b"II*\0", "TIFF"),
    "tiff without pages": (b"II*\0\0\0\0\0", "it holds no page"),
    "tiff without its picture": (TIFF[:8] + TIFF[8:300], "TIFF"),
    "tiff directory out of the file": (b"II*\0" + struct.pack("<I", 10**9), "TIFF"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_in_one_line(name, tmp_path, capfd, caplog):
    data, reason = BAD[name]
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=reason) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert (caught.value.path, f"{path}: {caught.value.reason}") == (path, message)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize("name", SOUND)
def test_truncated_file_is_never_half_a_picture(name, tmp_path, capfd):
    data, path = SOUND[name], tmp_path / "picture"
    path.write_bytes(data)
    whole = read(path).pixels
    refused = 0
    cuts = [*range(1, 60, 7), *range(60, len(data), max(1, len(data) // 25)), len(data) - 1]
    for cut in cuts:
        path.write_bytes(data[:cut])
        try:
            # The last bytes of some formats are only padding.
            np.testing.assert_array_equal(read(path).pixels, whole)
        except PictureError:
            refused += 1
    assert refused >= len(cuts) - 1
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_folder_and_devices(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    cases = {
        tmp_path / "none.jpg": "no such file or directory",
        tmp_path / "folder.jpg": "is a directory",
        tmp_path / "pipe.png": "not a regular file",
        "/dev/zero": "not a regular file",
        "nul\0.png": "embedded null byte",
    }
    for path, reason in cases.items():
        with pytest.raises(PictureError, match=reason):
            read(path)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_unreadable_file(error, reason, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise error

    path = tmp_path / "a.png"
    path.write_bytes(PNG8)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PictureError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: {reason}"


@pytest.mark.parametrize("name", SOUND)
def test_limit_of_pixels_is_exact_and_comes_before_decoding(name, tmp_path, monkeypatch):
    path = tmp_path / "picture"
    path.write_bytes(SOUND[name])
    height, width = read(path).pixels.shape[:2]
    assert read(path, max_pixels=height * width).pixels.shape == (height, width, 3)
    for decoder in ("PIL.ImageFile.ImageFile.load", "imagecodecs.png_decode"):
        monkeypatch.setattr(decoder, lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr("tifffile.TiffPage.asarray", lambda *_: pytest.fail("decoded"))
    limit = height * width - 1
    with pytest.raises(PictureError, match=f"{width}x{height} is .* over the limit of {limit}$"):
        read(path, max_pixels=limit)


def test_jpeg_xr_is_refused_in_one_line(tmp_path):
    """Its library speaks on stderr where it is called; no file of it gets that far."""
    coded = imagecodecs.jpegxr_encode(smooth(24, 36))
    tiff = saved_tiff(smooth(24, 36), compression="jpegxr", photometric="rgb")
    kinds = {
        "a.jxr": (coded, "not a picture of a known format"),
        "named.png": (coded, "not a picture of a known format"),
        "cut.jxr": (coded[:200], "not a picture of a known format"),
        "a.tif": (tiff, "damaged or unsupported TIFF: compression JPEGXR"),
    }
    for name, (content, _) in kinds.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-m", "neid_tf.commands.main", "enhance", "--method=msr"]
    paths = [str(tmp_path / name) for name in kinds]
    done = subprocess.run([*command, *paths, "--output=out"], capture_output=True, cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(kinds)
    for line, path, (_, reason) in zip(lines, paths, kinds.values(), strict=True):
        assert line.startswith(f"neid: {path}: {reason}")
