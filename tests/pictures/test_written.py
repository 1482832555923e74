"""AVIF, HEIC, JPEG XL, JPEG 2000 and PNM: written and read again, with what belongs to them."""

import io
import struct

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from neid_tf.inference.inputs import enhanced_alike
from neid_tf.pictures import (
    Picture,
    PictureError,
    decode,
    encode,
    jpeg2000,
    jpegxl,
    left_out,
    marks,
    png,
)
from neid_tf.pictures.raster import Extras
from tests.pictures.picture_files import noise, saved, smooth
from tests.pictures.test_kept import XMP

LOSSY = ("jpg", "webp", "avif", "heic", "jxl", "jp2")
LOSSLESS = ("webp", "jxl", "jp2", "ppm", "pam")
LIBRARIES = {"heic": "pillow_heif", "jxl": "pillow_jxl"}


@pytest.fixture(autouse=True)
def _has_library(request):
    suffix = getattr(request.node, "callspec", None) and request.node.callspec.params.get("suffix")
    if suffix in LIBRARIES:
        pytest.importorskip(LIBRARIES[suffix])


def profile():
    """A sound RGB profile that is not sRGB."""
    from PIL import ImageCms

    lab = ImageCms.createProfile("sRGB")
    data = bytearray(ImageCms.ImageCmsProfile(lab).tobytes())
    at = data.find(b"sRGB")
    if at >= 0:
        data[at : at + 4] = b"mine"
    return bytes(data)


def deep(height=48, width=64):
    """The smooth picture in 16 bits, with levels between those of 8."""
    return (
        smooth(height, width).astype(np.uint16) * 257 + np.arange(width, dtype=np.uint16)[:, None]
    )


@pytest.mark.parametrize("suffix", LOSSY)
def test_quality_decides_size_and_likeness(suffix):
    grainy = np.clip(smooth() + np.random.default_rng(0).normal(0, 9, (48, 64, 3)), 0, 255)
    picture = Picture(grainy.astype(np.uint8))
    files = [encode(f"a.{suffix}", picture, "keep", quality) for quality in (20, 60, 100)]
    assert len(files[0]) < len(files[1]) < len(files[2])
    errors = [np.abs(decode("a", data).pixels - grainy).mean() for data in files]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < (6 if suffix == "webp" else 2)  # Its colours are of half the size.
    usual = encode(f"a.{suffix}", Picture(picture.pixels, lossless=False))
    assert usual == encode(f"a.{suffix}", picture, "keep", 95)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_without_loss_where_the_source_had_none(suffix):
    picture = Picture(noise(21, 34, 3))
    back = decode("a", encode(f"a.{suffix}", picture))
    np.testing.assert_array_equal(back.pixels, picture.pixels)


@pytest.mark.parametrize("suffix", ["jp2", "ppm", "pgm", "pam"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_and_alpha(suffix, channels):
    samples = noise(21, 34, channels, np.uint16)
    samples[..., -1] |= 1  # No alpha of 0.
    gray = channels < 3
    pixels = np.repeat(samples[..., :1], 3, -1) if gray else samples[..., :3]
    alpha = samples[..., -1] if channels in (2, 4) else None
    picture = Picture(pixels, alpha, gray)
    data = encode(f"a.{suffix}", picture)
    back = decode("a", data)
    assert back.pixels.dtype == np.uint16
    assert back.gray == gray
    if suffix in ("ppm", "pgm") and alpha is not None:
        assert back.alpha is None
        assert "transparency is laid on white" in left_out(f"a.{suffix}", picture)[0]
        return
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)


@pytest.mark.parametrize(("suffix", "bits"), [("heic", 12), ("avif", 8), ("jxl", 8)])
def test_bits_that_are_lost_are_told(suffix, bits):
    picture = Picture(deep())
    back = decode("a", encode(f"a.{suffix}", picture, "keep", 100))
    assert back.pixels.dtype == (np.uint16 if bits > 8 else np.uint8)
    top = np.iinfo(back.pixels.dtype).max
    np.testing.assert_allclose(back.pixels / top, picture.pixels / 65535, atol=0.02)
    assert len(np.unique(back.pixels)) > (300 if bits > 8 else 100)
    (line,) = left_out(f"a.{suffix}", picture)
    assert ("12 bits are kept" if bits == 12 else "uint16 samples become uint8") in line
    (line,) = left_out(f"a.{suffix}", Picture((picture.pixels / 65535).astype(np.float32)))
    assert f"float32 samples become {'12 bits' if bits == 12 else 'uint8'}" in line
    if bits == 12:  # A HEIC comes back as one without a word.
        assert left_out("a.heic", back) == ()


@pytest.mark.parametrize("suffix", ["avif", "heic", "jxl", "pam", "jp2"])
def test_transparency(suffix):
    alpha = np.repeat(np.where(np.arange(64) < 30, 255, 90).astype(np.uint8)[None], 48, 0)
    back = decode("a", encode(f"a.{suffix}", Picture(smooth(), alpha)))
    assert np.abs(back.alpha.astype(int) - alpha).mean() < 2


@pytest.mark.parametrize("suffix", ["avif", "heic", "jp2"])
def test_profiles(suffix):
    icc = profile()
    assert decode("a", encode(f"a.{suffix}", Picture(smooth(), icc=icc))).icc == icc


def test_a_profile_that_says_srgb_is_none():
    pytest.importorskip("pillow_jxl")
    for samples in (smooth(), smooth()[..., :1]):
        image = Image.fromarray(samples if samples.shape[-1] == 3 else samples[..., 0])
        assert decode("a", saved(image, "JXL")).icc is None
    (line,) = left_out("a.jxl", Picture(smooth(), icc=profile()))
    assert line == "ICC left out: JPEG XL holds none"


def test_jpeg_xl_of_16_bits_and_packed_metadata():
    pytest.importorskip("pillow_jxl")
    samples = noise(20, 31, 3, np.uint16)
    back = decode("a", imagecodecs.jpegxl_encode(samples, lossless=True))
    np.testing.assert_array_equal(back.pixels, samples)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    block = exif.tobytes()
    image = Image.fromarray(smooth())
    for packed in (True, False):
        data = saved(image, "JXL", exif=block, xmp=XMP, compress_metadata=packed)
        picture = decode("a", data)
        assert b"Maker" in picture.exif
        assert b"GPano" in picture.extras.xmp
    # As others write it: the block lies behind a length.
    body = struct.pack(">I", 4) + b"zzzz" + block.removeprefix(b"Exif\0\0")
    assert jpegxl._exif_block(body) == block.removeprefix(b"Exif\0\0")
    bomb = imagecodecs.brotli_encode(bytes(2**25))
    boxed = marks.JPEG_XL + struct.pack(">I", len(bomb) + 12) + b"brobxml " + bomb
    assert b"xml " not in jpegxl._metadata(boxed)
    further = [struct.pack(">I4s", 12, name) + b"jumb" for name in (b"jhgm", b"brob")]
    picture = decode("a", saved(image, "JXL", exif=block) + b"".join(further))
    assert picture.notes == ("boxes left out: 'jhgm', 'jumb'",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_jpeg_xl_is_turned_as_its_pixels_say(dtype):
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    samples, block = noise(20, 31, 3, dtype), exif.tobytes().removeprefix(b"Exif\0\0")
    data = imagecodecs.jpegxl_encode(samples, lossless=True, usecontainer=True)
    at = data.index(b"jxlc") - 4
    data = data[:at] + struct.pack(">I4s4x", len(block) + 12, b"Exif") + block + data[at:]
    picture = decode("a", data)
    np.testing.assert_array_equal(picture.pixels, samples)
    assert b"Maker" in picture.exif
    if dtype == np.uint8:
        opened = enhanced_alike(Image.open(io.BytesIO(data)), lambda pixels: pixels)
        np.testing.assert_array_equal(opened, samples)


def test_a_jpeg_packed_as_jpeg_xl_is_turned_as_its_exif_says():
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = saved(Image.fromarray(smooth()), "JPEG", exif=exif)
    packed = decode("a", imagecodecs.jpegxl_encode_jpeg(plain))
    np.testing.assert_array_equal(packed.pixels, decode("a", plain).pixels)


@pytest.mark.parametrize("bits", [2, 7, 9, 10, 12, 14])
@pytest.mark.parametrize("extended", [False, True])
def test_white_is_white_whatever_the_bits_of_a_jpeg_xl(bits, extended):
    pytest.importorskip("pillow_jxl")
    levels = noise(20, 31, 3, np.uint16) >> (16 - bits)
    levels[:3] = 2**bits - 1
    levels = levels.astype(np.uint8) if bits <= 8 else levels
    frames = [levels, levels[::-1]] if extended else levels  # An animation says more before it.
    data = imagecodecs.jpegxl_encode(np.stack(frames), bitspersample=bits, lossless=True)
    found = decode("a", data).pixels
    assert found.dtype == ("uint8" if bits <= 8 else "uint16")
    np.testing.assert_allclose(
        found / np.iinfo(found.dtype).max,
        levels / (2**bits - 1),
        atol=0.6 / np.iinfo(found.dtype).max,
    )


def test_white_is_white_in_a_jpeg_2000_of_few_bits():
    levels = noise(20, 31, 3) >> 4
    data = imagecodecs.jpeg2k_encode(levels, level=0, bitspersample=4)
    np.testing.assert_array_equal(decode("a", data).pixels, levels * 17)


@pytest.mark.parametrize("suffix", ["webp", "avif", "heic", "jxl", "jpg"])
@pytest.mark.parametrize("transparent", [False, True])
def test_gray_stays_gray_where_there_is_no_kind_for_it(suffix, transparent):
    alpha = np.full((48, 64), 120, np.uint8) if transparent else None
    tinted = np.clip(smooth() * [1.0, 0.9, 0.8], 0, 255).astype(np.uint8)
    found = decode("a", encode(f"a.{suffix}", Picture(tinted, alpha, gray=True))).pixels
    spread = found.max(axis=-1).astype(int) - found.min(axis=-1)
    assert spread.mean() < 1.0


def test_what_is_left_out_of_sequences_and_what_lies_beside_is_told():
    pytest.importorskip("pillow_jxl")
    pillow_heif = pytest.importorskip("pillow_heif")
    frames = [noise(20, 30, 3, seed=seed) for seed in range(3)]
    picture = decode("a", imagecodecs.jpegxl_encode(np.stack(frames), lossless=True))
    assert picture.notes == ("its frames but the first are left out",)
    np.testing.assert_array_equal(picture.pixels, frames[0])
    images = [Image.fromarray(frame) for frame in frames]
    pillow_heif.register_heif_opener()
    for kind in ("AVIF", "HEIF"):
        data = saved(images[0], kind, save_all=True, append_images=images[1:])
        assert decode("a", data).notes == ("2 further pictures of it are left out",)


@pytest.mark.parametrize(
    ("primaries", "transfer", "told"),
    [
        (9, 16, "its levels are those of HDR (PQ)"),
        (9, 18, "its levels are those of HDR (HLG)"),
        (12, 13, "its colours are those of Display P3"),
        (1, 13, ""),
    ],
)
def test_other_colours_without_a_profile_are_told(primaries, transfer, told):
    pillow_heif = pytest.importorskip("pillow_heif")
    file, made = io.BytesIO(), pillow_heif.from_bytes("RGB", (64, 48), smooth().tobytes())
    said = {"color_primaries": primaries, "transfer_characteristics": transfer}
    made.save(file, quality=90, full_range_flag=1, **said)
    notes = decode("a", file.getvalue()).notes
    assert " ".join(notes).startswith(told)
    assert bool(notes) == bool(told)


def test_a_png_of_hdr_is_told():
    lines = "its levels are those of HDR (HLG) and taken for sRGB's"
    for transfer, told in ((18, (lines,)), (13, ())):
        chunk = png.png_file([(b"cICP", bytes([9, transfer, 0, 1]))])[8:]
        data = encode("a.png", Picture(smooth()))
        assert decode("a", data[:33] + chunk + data[33:]).notes == told


def test_jpeg_2000_of_others():
    for name, options in {"JPEG2000": {}, "rest": {"no_jp2": True}}.items():
        data = saved(Image.fromarray(smooth()), "JPEG2000", **options)
        back = decode("a", data)
        np.testing.assert_array_equal(back.pixels, smooth())
        assert back.lossless
        assert back.format == ("JPEG 2000" if name == "JPEG2000" else "JPEG 2000 codestream")
    lossy = saved(Image.fromarray(smooth()), "JPEG2000", irreversible=True, quality_layers=[9])
    assert not decode("a", lossy).lossless
    levels = np.linspace(0, 4095, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint16)
    data = imagecodecs.jpeg2k_encode(levels, 0, codecformat="j2k", bitspersample=12)
    np.testing.assert_allclose(decode("a", data).pixels / 65535, levels / 4095, atol=1e-4)


def test_what_we_write_as_jpeg_2000_others_read():
    alpha = noise(48, 64, 1)[..., 0]
    data = encode("a.jp2", Picture(smooth(), alpha, extras=Extras(density=(300, 150, True))))
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image)[..., :3], smooth())
        assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)


def test_boxes_of_a_jpeg_2000():
    data = encode("a.jp2", Picture(smooth()))
    unknown = struct.pack(">I4s", 24, b"uuid") + bytes(16) + struct.pack(">I4s", 8, b"jp9 ")
    at = data.index(b"jp2c") - 4
    picture = decode("a", data[:at] + unknown + data[at:])
    assert picture.notes == ("boxes left out: 'jp9', 'uuid'",)
    assert list(jpeg2000.boxes(struct.pack(">I4sQ", 1, b"long", 18) + b"xy")) == [(b"long", b"xy")]
    assert list(jpeg2000.boxes(struct.pack(">I4s", 99, b"cut "))) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
def test_the_last_channel_of_a_jpeg_2000_is_what_its_header_says(colours, dtype):
    samples = noise(48, 64, colours + 1, dtype)
    half = np.iinfo(dtype).max // 2
    samples[..., -1] = half + samples[..., -1] // 4
    coded = imagecodecs.jpeg2k_encode(samples, 0, codecformat="jp2", reversible=True)
    found = dict(jpeg2000.boxes(coded))
    kept = {n: b for n, b in jpeg2000.boxes(found[b"jp2h"]) if n != b"cdef"}

    def meaning(code):
        channels = [(n, 0, n + 1) for n in range(colours)] + [(colours, code, 0)]
        body = b"".join(struct.pack(">3H", *channel) for channel in channels)
        cdef = struct.pack(">H", len(channels)) + body
        head = b"".join(jpeg2000._box(*box) for box in [*kept.items(), (b"cdef", cdef)])
        parts = [(n, head if n == b"jp2h" else body) for n, body in found.items()]
        return decode("a", b"".join(jpeg2000._box(*part) for part in parts))

    opaque, associated, other = (meaning(code) for code in (1, 2, 65535))
    for picture in (opaque, associated):
        np.testing.assert_array_equal(picture.alpha, samples[..., -1])
        assert picture.bands is None
    np.testing.assert_array_equal(opaque.pixels, np.broadcast_to(samples[..., :-1], (48, 64, 3)))
    shares = samples[..., -1:] / np.iinfo(dtype).max
    expected = np.minimum(samples[..., :-1] / shares, np.iinfo(dtype).max)
    assert np.abs(associated.pixels - expected).max() <= 1
    assert other.alpha is None
    np.testing.assert_array_equal(other.bands, samples[..., -1:])
    assert left_out("a.png", other) == ("1 further bands are left out: PNG holds none",)


PNM = {
    "ascii bits": (b"P1 # ink\n3 2\n101\n01 0", [[0, 255, 0], [255, 0, 255]]),
    "bits": (b"P4\n3 2\n\xa0\x40", [[0, 255, 0], [255, 0, 255]]),
    "ascii gray": (b"P2\n#c\n3 1 # c\n100\n0 50 #c\n100\n", [[0, 127, 255]]),
    "gray": (b"P5\n3 1\n255\n\0\x80\xff", [[0, 128, 255]]),
    "gray of few levels": (b"P5 3 1 4 \0\2\4", [[0, 128, 255]]),
    "gray of 12 bits": (b"P5\n2 1\n4095\n\0\0\x0f\xff", [[0, 65535]]),
    "colours": (b"P6\n1 1\n255\n\1\2\3", [[[1, 2, 3]]]),
    "ascii colours": (b"P3\n1 1\n255\n1 2\n3\n", [[[1, 2, 3]]]),
    "any": (b"P7\n#c\nDEPTH 1\nWIDTH 2\nHEIGHT 1\nMAXVAL 255\nENDHDR\n\1\2", [[1, 2]]),
}


@pytest.mark.parametrize("name", PNM)
def test_pnm_of_every_kind(name):
    data, expected = PNM[name]
    pixels = decode("a", data).pixels
    expected = np.array(expected)
    expected = np.repeat(expected[..., None], 3, -1) if expected.ndim == 2 else expected
    np.testing.assert_array_equal(pixels, expected)
    is_text = name.startswith("ascii")
    with pytest.raises(PictureError, match="truncated"):
        decode("a", data.rstrip().rpartition(data.split()[-1])[0] if is_text else data[:-1])
    further = () if is_text else ("the pictures behind its first are left out",)
    assert decode("a", data + b"P5 another").notes == further


@pytest.mark.parametrize("suffix", ["ppm", "pam", "png", "jpg"])
def test_comments_of_a_pnm_are_kept(suffix):
    size = {"ppm": b"%s2 1 #second \n255\n", "pam": b"%sWIDTH 2\n#second\nHEIGHT 1\nDEPTH 3\n"}
    end = {"ppm": b"", "pam": b"MAXVAL 255\nENDHDR\n"}
    for kind in ("ppm", "pam"):
        start = {"ppm": b"P6\n", "pam": b"P7\n"}[kind]
        picture = decode("a", start + size[kind] % b"# first\n" + end[kind] + b"#bytes")
        assert picture.extras.comments == (b"first\nsecond",)
        assert left_out(f"a.{suffix}", picture) == ()
        back = decode("a", encode(f"a.{suffix}", picture))
        assert back.extras.comments == (b"first\nsecond",)
        np.testing.assert_allclose(back.pixels, [[[35, 98, 121], [116, 101, 115]]], atol=30)
    long = Picture(smooth(), extras=Extras(comments=(b"x" * 65_000,) * 40))
    assert len(decode("a", encode("a.ppm", long)).extras.comments[0]) == 65_001 * 40 - 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pnm_as_opencv_has_it(dtype, tmp_path):
    samples = noise(13, 17, 3, dtype)
    assert cv2.imwrite(str(tmp_path / "a.ppm"), samples[..., ::-1])
    np.testing.assert_array_equal(decode("a", (tmp_path / "a.ppm").read_bytes()).pixels, samples)
    data = np.frombuffer(encode("a.ppm", Picture(samples)), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[..., ::-1], samples)


@pytest.mark.parametrize(
    "data",
    [
        b"P5\n3 1\n",
        b"P5\n0 1\n255\n",
        b"P5\n3 1\n0\n\0\0\0",
        b"P5\n3 1\n70000\n\0\0\0",
        b"P5\n3 1\n4\n\0\5\0",
        b"P2\n2 1\n9\n1 x\n",
        b"P2\n2 1\n9\n1 -3\n",
        b"P1\n2 1\n1x\n",
        b"P7\n" + b"\n" * 60 + b"X",
        b"P7\n" + b"#" * 90,
        b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n\1\2\3\4",
        b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 9\nMAXVAL 255\nENDHDR\n\1\2",
        b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nENDHDR\n\1\2",
    ],
)
def test_broken_pnm_is_refused(data):
    with pytest.raises(PictureError):
        decode("a", data)
