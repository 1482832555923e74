"""What people have as a picture: paths, Pillow's, gray, alpha, floats."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image, PngImagePlugin

from neid_tf import enhance
from neid_tf.pictures import pillow
from neid_tf.pictures.packing import Packing, packet
from neid_tf.pictures.quiet import library_warnings_silenced
from neid_tf.pixels.curve import Curve
from tests.conftest import darkened, picture, write
from tests.pictures.test_metadata import PINK, SRGB

ORIENTATION, MAKER = 0x0112, 0x010F
KEPT = ("L", "LA", "RGB", "RGBA", "I;16")


def double(batch):
    """A model that repeats each pixel, a little brighter."""
    return np.sqrt(np.asarray(batch)).repeat(2, axis=1).repeat(2, axis=2)


def rgb(height=14, width=18):
    return darkened(picture(height, width))


def gray():
    return np.ascontiguousarray(rgb()[..., 0])


@pytest.mark.parametrize("scale", [1, 2])
def test_paths(tmp_path, scale):
    path = write(tmp_path / "a.png", rgb())
    expected = enhance(rgb(), double, scale=scale)
    for given in (path, str(path)):
        np.testing.assert_array_equal(enhance(given, double, scale=scale), expected)
    with pytest.raises(ValueError, match=r"b\.png"):
        enhance(Path(tmp_path / "b.png"), double)


def test_a_gray_file_comes_back_gray_in_three_channels(tmp_path):
    def reddish(batch):
        return double(batch) * np.float32([1.0, 0.8, 0.6])

    path = tmp_path / "a.png"
    for mode in ("L", "LA"):
        Image.fromarray(gray()).convert(mode).save(path)
        expected = np.asarray(enhance(Image.open(path), reddish).convert("RGB"))
        made = enhance(path, reddish)
        np.testing.assert_array_equal(made[..., :3], expected)
        assert made.shape[2] == 2 + len(mode)


def test_an_empty_pillow_picture_is_refused():
    with pytest.raises(ValueError, match="0×5 has no pixels"):
        enhance(Image.new("RGB", (0, 5)), double)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("mode", pillow.TAKEN)
def test_pillow_pictures(mode, scale):
    if mode.startswith("I;16"):
        levels = gray().astype(">u2" if mode == "I;16B" else "<u2") * 257
        image = Image.frombytes(mode, (18, 14), levels.tobytes())
    else:
        # A profile of inks is applied; nothing is lost that would be warned of.
        before = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, "RGB")
        image = Image.fromarray(rgb()).convert(before).convert(mode)
        image.info |= {"icc_profile": PINK} if mode == "CMYK" else {}
    made = enhance(image, double, scale=scale)
    assert isinstance(made, Image.Image)
    assert made.size == (18 * scale, 14 * scale)
    kept = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"} | dict.fromkeys(KEPT, mode)
    assert made.mode == kept.get(mode, "I;16" if mode.startswith("I;16") else "RGB")
    if mode == "RGB":
        np.testing.assert_array_equal(np.asarray(made), enhance(rgb(), double, scale=scale))
    if made.mode == "I;16":
        np.testing.assert_allclose(made, enhance(gray(), double, scale=scale) * 257.0, atol=257)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16", "I;16B"])
def test_a_transparent_value_of_a_pillow_picture_is_kept(mode):
    image, value = Image.fromarray(rgb()), 7
    if mode.startswith("I;16"):
        levels = np.arange(14 * 18).astype(">u2" if mode == "I;16B" else "<u2")
        image = Image.frombytes(mode, (18, 14), levels.tobytes())
    elif mode == "RGB":
        value = image.getpixel((3, 2))
    else:
        image = image.convert(mode)
        value = image.getpixel((3, 2))
    image.info["transparency"] = value
    hidden = np.asarray(image) == value
    hidden = hidden.all(-1) if mode == "RGB" else hidden
    if mode.startswith("I;16"):
        with pytest.warns(UserWarning, match="transparent value is left out"):
            made = enhance(image, double, scale=1)
        assert made.mode == "I;16"
    else:
        made = enhance(image, double, scale=1)
        assert made.mode == {"1": "LA", "L": "LA"}.get(mode, "RGBA")
        np.testing.assert_array_equal(np.asarray(made)[..., -1] == 0, hidden)


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pillow_pictures_of_unknown_white_are_refused(mode):
    with pytest.raises(ValueError, match=f"mode .* is one of .*RGB.*, not {mode}: .*an array"):
        enhance(Image.new(mode, (6, 5)), double)


@pytest.mark.parametrize("packed", [b"", packet(Packing(Curve(3.0, 1.5), 27, 36))])
def test_a_pillow_picture_gives_what_its_file_does(tmp_path, packed):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "Maker"
    Image.fromarray(rgb()).save(path, exif=exif, icc_profile=SRGB, xmp=packed, quality=95)
    with Image.open(path) as image:
        made = enhance(image, double)
    np.testing.assert_array_equal(made, enhance(path, double))
    assert made.size == ((27, 36) if packed else (14, 18))
    assert dict(made.getexif()) == {ORIENTATION: 1, MAKER: "Maker"}
    assert made.info["icc_profile"] == SRGB


def test_the_size_that_a_packed_pillow_picture_tells_of_is_bounded():
    image = Image.new("RGB", (1000, 1000))
    image.info["xmp"] = packet(Packing(Curve(3.0, 1.5), 64_000, 64_000, 6))
    with pytest.raises(ValueError, match=r"64000x64000 is .* over the limit"):
        enhance(image, double)


@pytest.mark.parametrize("sound", [True, False])
def test_a_pillow_picture_is_turned_as_imagemagick_says(tmp_path, sound):
    path, exif, text = tmp_path / "a.png", Image.Exif(), PngImagePlugin.PngInfo()
    exif[ORIENTATION], exif[315] = 6, "M\u00fcller".encode()
    block = exif.tobytes().hex() if sound else "zzzz"
    text.add_text("Raw profile type exif", f"\nexif\n{len(block) // 2:8d}\n{block}\n")
    Image.fromarray(rgb()).save(path, pnginfo=text)
    with Image.open(path) as image:
        made = enhance(image, double)
    assert made.size == ((14, 18) if sound else (18, 14))
    assert ("M\u00fcller".encode() in made.info.get("exif", b"")) == sound
    np.testing.assert_array_equal(made, enhance(path, double))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "float16"])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_arrays_of_any_channels_and_type(channels, dtype):
    white = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    colours = rgb() if channels in (3, 4) else gray()[..., None]
    alpha = np.full((14, 18, 1), 255, np.uint8) if channels in (2, 4) else colours[..., :0]
    samples = np.concatenate([colours, alpha], -1) / 255
    samples = (np.rint(samples * white) if white > 1 else samples).astype(dtype)
    samples = samples[..., 0] if channels == 0 else samples
    made = enhance(samples, double, scale=2)
    assert made.dtype == dtype
    assert made.shape == (28, 36, *samples.shape[2:])
    reference = enhance(np.repeat(gray()[..., None], 3, -1) if channels < 3 else rgb(), double, 2)
    light = made[..., None] if channels == 0 else made[..., : 1 if channels < 3 else 3]
    reference = reference[..., :1] if channels < 3 else reference
    np.testing.assert_allclose(light / white, reference / 255, atol=1.5 / 255)
    if channels in (2, 4):
        assert (made[..., -1] == white).all()


def test_what_is_left_out_of_a_file_is_warned_of(tmp_path):
    pages = [Image.fromarray(rgb()), Image.fromarray(255 - rgb())]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match=r"a\.tif: 1 of its pages are left out: neid enh") as told:
        made = enhance(path, double)
    assert told[0].filename == __file__
    np.testing.assert_array_equal(made, enhance(rgb(), double))
    with Image.open(path) as image:
        with pytest.warns(UserWarning, match=r"the picture: 1 of its frames are left out"):
            enhance(image, double)
        enhance(image.copy(), double)
        image.seek(1)
        np.testing.assert_array_equal(enhance(image, double), enhance(255 - rgb(), double))
    bands = np.concatenate([rgb(), rgb()[..., :2]], -1)
    tifffile.imwrite(path, bands, photometric="rgb", extrasamples=[0, 0])
    with pytest.warns(UserWarning, match=r"a\.tif: 2 further bands are left out"):
        enhance(path, double)
    inks = Image.fromarray(rgb()).convert("CMYK")
    inks.save(path.with_suffix(".jpg"))
    with pytest.warns(UserWarning, match=r"a\.jpg: its inks \(CMYK\) become sRGB"):
        enhance(path.with_suffix(".jpg"), double)
    pages[0].info["icc_profile"] = b"none"
    with pytest.warns(UserWarning, match=r"the picture: its colour profile.* is left out"):
        enhance(pages[0], double)


def test_warnings_come_through_while_another_thread_reads(tmp_path):
    path, shown = tmp_path / "a.tif", []
    bands = np.concatenate([rgb(), rgb()[..., :2]], -1)
    tifffile.imwrite(path, bands, photometric="rgb", extrasamples=[0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: shown.append(str(message))
        with library_warnings_silenced:  # As while that thread is inside.
            enhance(path, double)
            warnings.warn_explicit("of a library", UserWarning, "a.py", 1, module="PIL.Image")
    assert [text.partition(": ")[2] for text in shown] == ["2 further bands are left out"]


def test_what_is_under_alpha_0_decides_nothing():
    samples = np.concatenate([rgb(), np.full((14, 18, 1), 255, np.uint8)], -1)
    samples[:, :9, 3] = 0
    other = samples.copy()
    other[:, :9, :3] = 255
    made = [enhance(array, lambda b: double(b) * b.mean() * 5) for array in (samples, other)]
    np.testing.assert_array_equal(made[0][:, 9:], made[1][:, 9:])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("colours", [1, 3])
def test_the_given_array_stays_as_it_is(dtype, colours):
    samples = np.concatenate([rgb()[..., :colours], gray()[..., None]], -1)
    samples[:, :9, -1] = 0
    samples = samples if dtype == np.uint8 else (samples / 255).astype(dtype)
    before = samples.copy()
    enhance(samples, double)
    np.testing.assert_array_equal(samples, before)
    assert samples.flags.writeable


def test_tensors_are_arrays():
    np.testing.assert_array_equal(enhance(tf.constant(rgb()), double), enhance(rgb(), double))


@pytest.mark.parametrize(
    "image",
    [
        None,
        7,
        b"bytes",
        [[0, 1], [2, 3]],
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 3), bool),
        np.zeros(3, np.uint8),
    ],
)
def test_anything_else_is_told_what_is_taken(image):
    with pytest.raises(
        ValueError, match=r"a picture is a path, a Pillow picture, or an array .*not"
    ):
        enhance(image, double)


@pytest.mark.parametrize("top", [255.0, 1.01, np.nan])
def test_floats_beyond_white_are_refused(top):
    pixels = np.full((4, 5, 3), 0.5)
    pixels[0, 0, 0] = top
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        enhance(pixels, double)
