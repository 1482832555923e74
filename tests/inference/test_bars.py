"""Bars at the sides of pictures, and pictures without colour."""

import io

import numpy as np
import pytest
from PIL import Image

from neid_tf import models, pictures
from neid_tf.inference import bars, runtimes, tiles
from neid_tf.inference.enhance import Enhancement, enhance
from neid_tf.inference.network import FunctionNetwork
from neid_tf.models import pretrained
from neid_tf.video import Enhancer, Frame
from tests.conftest import darkened, picture, write


@pytest.fixture(scope="module")
def model(small_model):
    return models.inference_model(small_model)


def framed(image, level, rows, columns):
    """A picture with bars of a level of 255 above and below, left and right of it."""
    height, width = image.shape[:2]
    size = height + 2 * rows, width + 2 * columns, 3
    whole = np.full(size, level, image.dtype)
    whole[rows : rows + height, columns : columns + width] = image
    return whole, (slice(rows, rows + height), slice(columns, columns + width))


BARS = [(0, 12, 0), (0, 0, 40), (0, 9, 9), (255, 1, 1), (255, 7, 5), (255, 0, 30)]


@pytest.mark.parametrize(("level", "rows", "columns"), BARS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bars_are_found(level, rows, columns, dtype):
    image, place = framed(picture(90, 110) // 2 + 20, level, rows, columns)
    if dtype != np.uint8:
        image = (image.astype(float) * (257 if dtype == np.uint16 else 1 / 255)).astype(dtype)
    assert bars.inside(image) == (place, place)


@pytest.mark.parametrize("level", [0, 255])
def test_what_is_no_pair_of_bars_is_picture(level):
    image = picture(90, 110) // 2 + 20
    whole, _ = framed(image, level, 20, 0)
    assert bars.inside(image) is None
    assert level or bars.inside(whole[20:]) is None  # On one side alone: a night's sky, say.
    assert bars.inside(np.full_like(image, level)) is None
    assert bars.inside(framed(image, 128, 20, 20)[0]) is None
    assert bars.inside(framed(image, level, 300, 0)[0]) is None
    faded = np.repeat(np.abs(np.arange(-60, 60))[:, None, None], 80, 1).repeat(3, 2)
    assert bars.inside(faded.astype(np.uint8)) is None  # It gets dark slowly.


def captioned(image, bottom, frame=0):
    """A picture in a white frame, with two lines of text in a strip below it."""
    whole = np.pad(image, [(frame, bottom), (frame, frame), (0, 0)], constant_values=255)
    for top in (bottom - 4, bottom // 2):
        whole[-top : 2 - top, 20:50:2] = (20, 40, 60)
    return whole, (slice(frame, frame + len(image)), slice(frame, frame + image.shape[1]))


@pytest.mark.parametrize("frame", [0, 6])
@pytest.mark.parametrize("turns", range(4))
def test_a_strip_with_a_caption_is_a_bar(frame, turns):
    image = picture(90, 110) // 2 + 20
    mask, place = captioned(np.zeros_like(image), 24, frame)
    whole, _ = captioned(image, 24, frame)
    found, _ = bars.inside(np.rot90(whole, turns))
    expected = np.zeros(mask.shape[:2], bool)
    expected[place] = True
    made = np.zeros_like(np.rot90(expected, turns))
    made[found] = True
    np.testing.assert_array_equal(made, np.rot90(expected, turns))


def test_a_strip_below_a_picture_that_a_codec_stored_is_a_bar():
    image, place = captioned(picture(203, 310) // 2 + 20, 40)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    found, _ = bars.inside(np.asarray(Image.open(file)))
    assert found[1] == place[1]
    assert found[0].start == 0
    assert 203 <= found[0].stop <= 211


def test_a_white_sky_or_wall_is_picture():
    image = picture(120, 90) // 2 + 20
    image[:20] = 255
    for column in range(90):
        image[20 : 22 + column // 8, column] = 255  # A skyline, which is not straight.
    assert bars.inside(image) is None
    hazy = image.copy()
    for row, share in zip(range(20, 28), (0.9, 0.75, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05), strict=True):
        hazy[row, : round(share * 90)], hazy[row, round(share * 90) :] = 255, 200
    assert bars.inside(hazy) is None


def test_bars_of_a_televisions_black_are_found():
    image, place = framed(picture(90, 110) // 2 + 30, 16, 12, 0)
    assert bars.inside(image) == (place, place)


def test_a_sky_that_gets_dark_slowly_is_no_bar():
    image = picture(180, 110) // 2 + 20
    image[:80] = np.linspace(0.6, 2.4, 80)[:, None, None].round()
    image[-40:] = 0
    assert bars.inside(image) is None
    image[:80] = 1
    assert bars.inside(image)[0] == (slice(80, 140), slice(0, 110))


def test_what_a_codec_mixes_with_a_bar_is_not_read():
    image, place = framed(picture(90, 110) // 4 + 10, 255, 13, 13)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    found, core = bars.inside(np.asarray(Image.open(file)))
    for side, read, true in zip(found, core, place, strict=True):
        assert true.start - 8 <= side.start <= true.start <= read.start <= true.start + 8
        assert true.stop - 8 <= read.stop <= true.stop <= side.stop <= true.stop + 8


@pytest.mark.parametrize(("scale", "strength"), [(1, 1.0), (1, 0.5), (1, 2.0), (2, 1.0), (2, 0.5)])
def test_the_inside_is_enhanced_as_a_picture_and_bars_stay(model, scale, strength):
    image = darkened(picture(91, 70)) + 6
    whole, place = framed(image, 255, 5, 8)
    made = enhance(whole, model, scale=scale, strength=strength)
    rows, columns = (slice(scale * part.start, scale * part.stop) for part in place)
    expected = enhance(image, model, scale=scale, strength=strength)
    np.testing.assert_array_equal(made[rows, columns], expected)
    made[rows, columns] = 255
    assert (made == 255).all()
    tiled = Enhancement(tiles.Tiled(model, 32), scale, strength)
    np.testing.assert_allclose(tiled(whole)[rows, columns], expected, atol=4)


def test_a_function_that_reads_nothing_gets_all_of_a_picture():
    seen = []

    def double(batch):
        seen.append(batch.shape[1:3])
        return batch.repeat(2, axis=1).repeat(2, axis=2)

    enhance(framed(picture(60, 60) // 2 + 20, 255, 10, 10)[0], FunctionNetwork(double))
    assert seen == [(40, 40)]


def test_bars_by_the_command(neid, tmp_path, weights_file):
    image = darkened(picture(64, 90)) + 6
    whole, place = framed(image, 0, 16, 0)
    for name, pixels in (("plain", image), ("bars", whole)):
        write(tmp_path / f"{name}.png", pixels)
        options = [f"--output={tmp_path / 'out'}", f"--weights={weights_file}"]
        assert neid("enhance", tmp_path / f"{name}.png", *options)[0] == 0
    plain, barred = (pictures.read(tmp_path / "out" / f"{n}.png").pixels for n in ("plain", "bars"))
    np.testing.assert_array_equal(barred[place], plain)
    assert not barred[:16].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_gray_picture_stays_gray(model, scale, dtype):
    colours = darkened(picture(60, 50))
    gray = colours[..., :1].repeat(3, axis=-1)
    factor = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[np.dtype(dtype).name]
    made = enhance((gray.astype(float) * factor).astype(dtype), model, scale=scale)
    assert (made == made[..., :1]).all()
    assert made.dtype == dtype
    coloured = enhance((colours.astype(float) * factor).astype(dtype), model, scale=scale)
    assert not (coloured == coloured[..., :1]).all()


def test_a_function_may_colour_what_is_gray():
    def tint(batch):
        return batch.repeat(2, axis=1).repeat(2, axis=2) * np.float32([1.0, 0.8, 0.6])

    made = enhance(np.full((8, 8, 3), 100, np.uint8), FunctionNetwork(tint))
    assert made[0, 0].tolist() == [100, 80, 60]


def test_gray_frames_stay_gray(model):
    colours = darkened(picture(60, 50))
    for pixels, is_gray in ((colours[..., :1].repeat(3, axis=-1), True), (colours, False)):
        [made] = Enhancer(model)([Frame(pixels, 0, 1, 0.0)])
        assert (made == made[..., :1]).all() == is_gray


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("tiled", [False, True])
def test_bars_of_a_video_stay_and_are_not_read(model, scale, tiled, monkeypatch):
    if tiled:
        monkeypatch.setattr("neid_tf.video.frames._BATCH_PIXELS", 500)
    images = [darkened(picture(48, 64, seed=seed)) + 6 for seed in range(3)]
    rows = slice(16 * scale, 64 * scale)
    plain, barred = (
        Enhancer(model, scale=scale)([Frame(x, n, 1, n / 10) for n, x in enumerate(frames)])
        for frames in (images, [framed(image, 0, 16, 0)[0] for image in images])
    )
    for one, other in zip(plain, barred, strict=True):
        np.testing.assert_allclose(other[rows].astype(int), one, atol=1)
        assert not other[: rows.start].any()
        assert not other[rows.stop :].any()


def test_bars_stay_in_black_frames_and_below_text():
    image, place = framed(picture(90, 110) // 2 + 20, 0, 24, 0)
    steady = bars.Steady()
    assert steady(np.zeros_like(image)) is None
    assert steady(image) == place
    texted = image.copy()
    texted[-16:-8, 30:80:2] = 255
    for frame in (np.zeros_like(image), texted, image):
        assert steady(frame) == place
    assert steady(image[::2, ::2]) == (slice(12, 57), slice(0, 55))  # Of another size.
    dark = image.copy()
    dark[:60] = 0  # A night's sky, whose place is taken for a bar's until it is light.
    assert bars.Steady()(dark)[0].start == 60
    assert steady(dark) is not None
    assert steady(image) == place
    whole = np.resize(picture(90, 110) // 2 + 20, image.shape)
    assert steady(whole) is None


def test_frames_beside_each_other_have_their_bars():
    pytest.importorskip("onnxruntime")
    network = runtimes.load(pretrained.onnx_file("neid_s"), threads=2)
    frames = [Frame(framed(darkened(picture(48, 64)) + 6, 0, 0, 20)[0], n, 1, 0.0) for n in (0, 1)]
    frames.append(Frame(darkened(picture(48, 104)) + 6, 2, 1, 1.0))
    expected = Enhancer(network)(frames)
    made = list(Enhancer(network).each(frames, 2))
    assert [frame for frame, _ in made] == frames
    for (_, pixels), one in zip(made, expected, strict=True):
        np.testing.assert_array_equal(pixels, one)
    assert not made[1][1][:, :20].any()
    assert made[2][1][:, :20].any()
