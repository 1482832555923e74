"""JPEG, PNG, BMP and WebP files of every kind are read as what they show."""

import io
import struct
from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image, ImageCms

from neid_tf.jobs import found
from neid_tf.pictures import Picture, bmp, left_out, read, write
from neid_tf.pictures.raster import Raster
from tests.pictures.picture_files import chunk, noise, png, saved, shown, smooth


def read_bytes(tmp_path, data, name="picture.bin"):
    """Read a file of these bytes."""
    (tmp_path / name).write_bytes(data)
    return read(tmp_path / name)


def test_webp_follows_its_source(tmp_path):
    for lossless in (True, False):
        write(tmp_path / "a.webp", Picture(smooth(), lossless=lossless))
        back = read(tmp_path / "a.webp")
        assert back.lossless is lossless
        assert np.array_equal(back.pixels, smooth()) is lossless
        assert np.abs(back.pixels.astype(int) - smooth()).mean() < 3
    clip = [Image.fromarray(noise(9, 9, 3, seed=seed)) for seed in range(3)]
    for lossless in (True, False):
        data = saved(clip[0], "WEBP", save_all=True, append_images=clip[1:], lossless=lossless)
        assert read_bytes(tmp_path, data).lossless is lossless


def test_the_profile_of_a_bmp_is_kept_or_named(tmp_path):
    picture = Picture(smooth(), alpha=np.full((48, 64), 9, np.uint8))
    plain = bytearray(bmp.encode_bmp(Raster(np.dstack([smooth(), picture.alpha]))))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    header = plain[14 : 14 + 108] + bytes(16)
    header[:4], header[56:60] = struct.pack("<I", 124), b"DEBM"
    pixels = bytes(plain[14 + 108 :])
    header[112:120] = struct.pack("<II", 124 + len(pixels), len(profile))
    start = struct.pack("<2sIII", b"BM", 14 + 124 + len(pixels) + len(profile), 0, 14 + 124)
    back = read_bytes(tmp_path, start + bytes(header) + pixels + profile)
    np.testing.assert_array_equal(back.pixels, smooth())
    assert back.icc == profile
    assert left_out("a.bmp", back) == ("ICC left out: BMP holds none",)
    assert left_out("a.png", back) == ()
    header[56:60] = b"KNIL"
    back = read_bytes(tmp_path, start + bytes(header) + pixels + profile)
    assert back.notes == ("its colour profile, which is a file of its own, is left out",)


def test_xmp_of_a_gif_is_kept(tmp_path):
    data = saved(Image.fromarray(smooth()).quantize(9), "GIF")
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    block = b"\x21\xff\x0bXMP DataXMP" + packet + trailer
    at = data.index(b"\x21\xf9") if b"\x21\xf9" in data else data.index(b"\x2c", 13 + 3 * 16)
    back = read_bytes(tmp_path, data[:at] + block + data[at:])
    assert back.extras.xmp == packet
    assert left_out("a.webp", back) == ()
    np.testing.assert_array_equal(back.pixels, read_bytes(tmp_path, data).pixels)


def gif_with(*extensions, behind=b""):
    """A GIF with extensions (label, blocks) before its frame."""
    data = saved(Image.fromarray(smooth()).quantize(9), "GIF")
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    body = b""
    for label, blocks in extensions:
        parts = [blocks[0], *(blocks[1][i : i + 255] for i in range(0, len(blocks[1]), 255))]
        body += bytes([0x21, label]) + b"".join(bytes([len(p)]) + p for p in parts) + b"\0"
    return data[:at] + body + data[at:] + behind


def test_the_profile_of_a_gif_is_kept_and_its_other_extensions_are_told(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = gif_with(
        (0xFF, (b"NETSCAPE2.0", b"\1\0\0")),
        (0xFF, (b"ICCRGBG1012", profile)),
        (0xFF, (b"VENDOR1 ABC", bytes(300))),
        (0xFE, (b"dark;", b"room" * 99)),
        (0x01, (bytes(12), b"words")),
        (0x42, (b"odd", b"kind")),
        behind=b"tail",
    )
    back = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(back.pixels, read_bytes(tmp_path, gif_with()).pixels)
    assert back.icc == profile
    assert back.extras.comments == (b"dark;" + b"room" * 99,)
    assert back.notes == (
        "extensions left out: '0x42', 'VENDOR1 ABC', 'plain text'",
        "4 bytes behind the picture are left out",
    )
    many = gif_with(*((0xFF, (f"VENDOR{n:05}".encode(), b"x")) for n in range(90)))
    assert read_bytes(tmp_path, many).notes[0].endswith("'VENDOR00019', 70 more")


@pytest.mark.parametrize(("suffix", "kind"), [(".MPO", "JPEG"), (".hif", "HEIC")])
def test_cameras_have_further_names(suffix, kind, tmp_path):
    if kind == "HEIC":
        pytest.importorskip("pillow_heif")
    write(tmp_path / f"a{suffix}", Picture(smooth()))
    assert read(tmp_path / f"a{suffix}").format == kind
    assert found.has_known_suffix(PurePath(f"a{suffix}"))


RGB16_ROWS = [row.astype(">u2").tobytes() for row in noise(20, 9, 3, np.uint16)]
BMP = saved(Image.fromarray(noise(30, 40, 3)), "BMP")
PALETTE_BMP = saved(Image.fromarray(smooth()).quantize(9), "BMP")
SMALL_PNGS = {
    "1 bit": (png([b"\xa0"], 1, 0, 4), [255, 0, 255, 0], None),
    "2 bits": (png([b"\x1b"], 2, 0, 4), [0, 85, 170, 255], None),
    "4 bits": (png([b"\x0f\xf0"], 4, 0, 4), [0, 255, 255, 0], None),
    "gray with a transparent level": (
        png([b"\1\2\3\4"], 8, 0, 4, chunk(b"tRNS", b"\0\2")),
        [1, 1, 3, 4],
        [255, 0, 255, 255],
    ),
    "16-bit gray with a transparent level": (
        png([b"\1\2\3\4"], 16, 0, 2, chunk(b"tRNS", b"\1\2")),
        [0x304, 0x304],
        [0, 65535],
    ),
    "16-bit gray and alpha": (png([bytes(range(8))], 16, 4, 2), [1, 0x405], [0x203, 0x607]),
    "text that is damaged": (png([b"\1\2"], 8, 0, 2, chunk(b"tEXt", b"a\0b", 7)), [1, 2], None),
    "gamma": (png([b"\1\2"], 8, 0, 2, chunk(b"gAMA", b"\0\1\x86\xa0")), [1, 2], None),
}


@pytest.mark.parametrize("name", SMALL_PNGS)
def test_gray_pngs(name, tmp_path, capfd):
    data, levels, alpha = SMALL_PNGS[name]
    back = read_bytes(tmp_path, data)
    assert back.gray
    assert back.pixels.dtype == (np.uint16 if "16-bit" in name else np.uint8)
    for channel in range(3):
        assert back.pixels[0, :, channel].tolist() == levels
    assert (None if back.alpha is None else back.alpha[0].tolist()) == alpha
    assert capfd.readouterr() == ("", "")


def test_colour_pngs(tmp_path):
    palette = chunk(b"PLTE", bytes(range(6)))
    plain = read_bytes(tmp_path, png([b"\0\1\1"], 8, 3, 3, palette))
    assert plain.pixels[0].tolist() == [[0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert (plain.alpha, plain.gray) == (None, False)
    seen = read_bytes(tmp_path, png([b"\0\1\1"], 8, 3, 3, palette + chunk(b"tRNS", b"\x09")))
    assert seen.alpha[0].tolist() == [9, 255, 255]
    key = chunk(b"tRNS", RGB16_ROWS[3][:6])
    keyed = read_bytes(tmp_path, png(RGB16_ROWS, 16, 2, 9, key))
    assert keyed.alpha[3, 0] == 0
    assert keyed.alpha.sum() == 65535 * (20 * 9 - 1)
    expected = shown(noise(20, 9, 3, np.uint16), keyed.alpha)
    np.testing.assert_array_equal(shown(keyed.pixels, keyed.alpha), expected)


def test_interlaced_png_as_another_library_writes_it(tmp_path):
    cv2 = pytest.importorskip("cv2")
    samples = noise(13, 11, 4, np.uint16)
    data = cv2.imencode(".png", samples[..., [2, 1, 0, 3]])[1].tobytes()
    back = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(back.alpha, samples[..., 3])
    expected = shown(samples[..., :3], back.alpha)
    np.testing.assert_array_equal(shown(back.pixels, back.alpha), expected)


def test_bmp_kinds(tmp_path):
    one = Image.fromarray(smooth()).convert("1")
    back = read_bytes(tmp_path, saved(one, "BMP"))
    np.testing.assert_array_equal(back.pixels[..., 0], np.asarray(one) * np.uint8(255))
    assert back.gray
    back = read_bytes(tmp_path, PALETTE_BMP)
    np.testing.assert_array_equal(
        back.pixels, np.asarray(Image.open(io.BytesIO(PALETTE_BMP)).convert("RGB"))
    )
    top_down = BMP[:22] + struct.pack("<i", -30) + BMP[26:]
    np.testing.assert_array_equal(read_bytes(tmp_path, top_down).pixels, noise(30, 40, 3)[::-1])
    with Image.open(io.BytesIO(bmp.encode_bmp(Raster(noise(5, 6, 4))))) as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), noise(5, 6, 4))


def test_first_picture_of_several(tmp_path):
    frames = [Image.fromarray(noise(9, 12, 3, seed=seed)) for seed in range(3)]
    several = {"save_all": True, "append_images": frames[1:]}
    for name, options in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "MPO": {}}.items():
        back = read_bytes(tmp_path, saved(frames[0], name, **several, **options))
        expected = np.asarray(frames[0])
        if name == "MPO":
            expected = np.asarray(Image.open(io.BytesIO(saved(frames[0], "JPEG"))))
            assert back.format == "JPEG"
        np.testing.assert_array_equal(back.pixels, expected)
