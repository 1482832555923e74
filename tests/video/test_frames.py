"""Frames of a video: enhanced as pictures are, but steady over time."""

import threading

import keras
import numpy as np
import pytest

from neid_tf import models
from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.tiles import Tiled
from neid_tf.models import pretrained
from neid_tf.video import coding, frames
from neid_tf.video import frames as module
from neid_tf.video.frames import Enhancer, Frame, TimeAverage


def double(batch):
    """A model that gives back what it is given, at twice the size."""
    return np.repeat(np.repeat(batch, 2, axis=1), 2, axis=2)


def grays(levels, height=48, width=64):
    return [np.full((height, width, 3), level, np.uint8) for level in levels]


def sensitive_model(seed=7):
    """Return a small NEID whose tone trembles with the noise of a frame."""
    keras.utils.set_random_seed(seed)
    model = models.inference_model(models.build("neid_tone", filters=8, depth=2))
    layer = model.get_layer("tone_head")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * 30.0, bias])
    return model


@pytest.fixture(scope="module")
def sensitive():
    return sensitive_model()


def noisy(count, level, seed=0, height=48, width=64):
    """A still, dark scene under noise."""
    rng = np.random.default_rng(seed)
    waves = np.add.outer(np.sin(np.arange(height) / 9), np.cos(np.arange(width) / 7))
    scene = level * (1.0 + waves)
    noise = rng.normal(0, 12, (count, height, width, 3))
    return list(np.clip(scene[None, ..., None] + noise, 0, 255).astype(np.uint8))


def as_frames(pictures, rate=30.0):
    return [Frame(pixels, i, 1, i / rate) for i, pixels in enumerate(pictures)]


def enhanced(enhancer, frames, batch=4):
    groups = (frames[i : i + batch] for i in range(0, len(frames), batch))
    return np.stack([pixels for group in groups for pixels in enhancer(group)]).astype(float)


def test_a_scene_cut_begins_the_average_anew(sensitive):
    dark, bright = noisy(8, 10), noisy(8, 70, seed=1)
    smooth = Enhancer(sensitive)
    result = enhanced(smooth, as_frames(dark + bright))
    alone = enhanced(Enhancer(sensitive), as_frames(bright))
    assert smooth.cuts == 1
    np.testing.assert_allclose(result[8:], alone, atol=1)


def test_frames_and_batches_of_an_unsmoothed_model_are_those_of_enhance(sensitive):
    from neid_tf import enhance

    frames = as_frames(noisy(5, 40, height=31, width=45))
    for scale, strength in ((1, 1.0), (1, 0.5), (2, 1.7), (2, 0.3)):
        expected = [enhance(f.pixels, sensitive, scale, strength) for f in frames]
        results = enhanced(Enhancer(sensitive, scale, strength, smoothing=0), frames)
        assert results.shape == (5, 31 * scale, 45 * scale, 3)
        assert np.abs(results - np.stack(expected)).max() <= 1  # other kernels for a batch


def test_frames_far_apart_are_not_averaged(sensitive):
    frames = as_frames(noisy(4, 25), rate=0.001)
    smooth, alone = Enhancer(sensitive), Enhancer(sensitive, smoothing=0)
    np.testing.assert_allclose(enhanced(smooth, frames), enhanced(alone, frames), atol=1)


def test_models_without_context_take_each_frame_by_itself():
    model = models.inference_model(models.build("le", filters=4, depth=1))
    frames = as_frames(noisy(6, 40))
    enhancer = Enhancer(model)
    assert enhancer.average is None
    one_by_one = enhanced(enhancer, frames, batch=1)
    np.testing.assert_allclose(enhanced(enhancer, frames), one_by_one, atol=1)


def test_the_average_follows_time_whatever_the_frame_rate():
    small = np.full((16, 16, 3), 0.2)
    for rate in (5, 50):
        average = TimeAverage(2.0)
        average({"a": np.zeros(3)}, small, 0.0)
        for i in range(2 * rate):
            latest = average({"a": np.ones(3)}, small, (i + 1) / rate)
        np.testing.assert_allclose(latest["a"], 1.0 - np.exp(-1.0), rtol=1e-9)


def test_scene_change_is_blind_to_noise_and_sees_another_scene():
    still = noisy(2, 12, height=240, width=320)
    pictures = [np.float32(pixels) / 255 for pixels in (*still, still[0][:, ::-1])]
    first, second, third = map(frames.thumbnail, pictures)
    assert frames.scene_change(first, first) == 0.0
    assert frames.scene_change(first, second) < 0.1
    assert frames.scene_change(first, third) > frames.SCENE_CUT
    assert frames.scene_change(first, 3 * first) > frames.SCENE_CUT  # a lamp


def test_the_end_of_a_fade_to_black_is_no_other_scene():
    first = frames.thumbnail(np.float32(noisy(1, 40, height=240, width=320)[0]) / 255)
    for share in (0.5, 0.2, 0.01, 0.0):
        assert frames.scene_change(first, share * first) < 0.1
        assert share < 0.1 or frames.scene_change(first, share * first[::-1]) > frames.SCENE_CUT
    assert frames.scene_change(0 * first, first) > frames.SCENE_CUT  # What comes out of black is.


def test_bad_values_are_named(tmp_path):
    for fields in ({"scale": 3}, {"strength": -1.0}, {"smoothing": float("nan")}):
        with pytest.raises(ValueError, match=str(next(iter(fields.values())))):
            Enhancer(double, **fields)
    with pytest.raises(ValueError, match="smoothing must be a number of at least 0, not 'a'"):
        Enhancer(double, smoothing="a")
    with pytest.raises(ValueError, match="scale 2 needs another"):
        Enhancer(models.inference_model(models.build("unet", filters=4, depth=1)), scale=2)
    with pytest.raises(ValueError, match="shape"):
        Enhancer(lambda batch: batch)(as_frames(grays([50])))
    enhancer, [pixels] = Enhancer(double), grays([50])
    assert enhancer([]) == []
    for wrong, reason in (
        ([pixels.astype(np.float32)], "uint8 or uint16, not float32"),
        ([pixels[..., 0]], "has the shape"),
        ([pixels[..., [0, 1, 2, 0]]], "has the shape"),
        ([pixels[:0]], "has the shape"),
        ([pixels, pixels[1:]], "frames of several sizes"),
    ):
        with pytest.raises(ValueError, match=reason):
            enhancer(as_frames(wrong))
    with pytest.raises(ValueError, match="not float64"):
        list(enhancer.each(as_frames([pixels / 255]), 1))


TURNS = {
    "quarter": ([0, 65536, 0, -65536, 0], lambda shown: np.rot90(shown, 1), 0.5),
    "half": ([-65536, 0, 0, 0, -65536], lambda shown: np.rot90(shown, 2), 0.0),
    "three quarters": ([0, -65536, 0, 65536, 0], lambda shown: np.rot90(shown, 3), 0.0),
    "mirrored": ([-65536, 0, 0, 0, 65536], lambda shown: shown[:, ::-1], 0.5),
}


@pytest.mark.parametrize(("matrix", "stored", "smoothing"), TURNS.values(), ids=TURNS)
def test_turned_frames_get_the_exposure_of_upright_ones(
    matrix, stored, smoothing, sensitive, monkeypatch
):
    monkeypatch.setattr(coding, "display_matrix", lambda _: [*matrix, 0, 0, 0, 1 << 30])
    shown = np.zeros((48, 64, 3), np.uint8)
    shown[:20, :30], shown[5:9, 40:60] = 90, (200, 40, 10)
    frames = [stored(shown)]
    turned = Enhancer(sensitive, smoothing=smoothing, upright=coding.upright(None))
    np.testing.assert_array_equal(turned._upright(np.stack(frames))[0], shown)
    [result] = turned(as_frames([np.ascontiguousarray(stored(shown))]))
    [expected] = Enhancer(sensitive, smoothing=smoothing)(as_frames([shown]))
    # The picture as it is shown is enhanced, and stored as the frame was.
    np.testing.assert_array_equal(result, stored(expected))


def test_large_frames_are_done_in_tiles_under_one_context(sensitive, monkeypatch):
    # Square: others are read off a squeezed square where they are tiled.
    pictures = noisy(3, 40, height=200, width=200)
    whole = enhanced(Enhancer(sensitive), as_frames(pictures), batch=1)
    monkeypatch.setattr(module, "_BATCH_PIXELS", 5000)
    enhancer = Enhancer(sensitive)
    enhancer._large = Enhancement(Tiled(sensitive, 64))
    sizes = []
    network = enhancer._large.model.network
    run = type(network)._run.__get__(network)
    monkeypatch.setattr(
        network, "_run", lambda batch, *given: sizes.append(batch.shape) or run(batch, *given)
    )
    assert enhancer.batch_size(200, 200) == 1
    tiled = enhanced(enhancer, as_frames(pictures), batch=1)
    assert len(sizes) == 3 * 4
    assert max(height * width for _, height, width, _ in sizes) < 100 * 100
    np.testing.assert_allclose(tiled, whole, atol=3)
    # As the frames of an animation are done, whose network is in tiles already.
    given = Enhancer(Tiled(sensitive, 64))
    np.testing.assert_array_equal(enhanced(given, as_frames(pictures), batch=1), tiled)


def test_whole_frames_are_read_five_times_a_second_and_at_cuts(sensitive, monkeypatch):
    enhancer, read = Enhancer(sensitive), []
    original = type(enhancer.network).read_context

    def noting(network, batch):
        read.append(round(float(np.mean(batch)), 2))
        return original(network, batch)

    monkeypatch.setattr(type(enhancer.network), "read_context", noting)
    enhanced(enhancer, as_frames(grays([60] * 20 + [120] * 6)))
    # At 30 frames a second: 0, 6, 12, 18, and 20, where the scene is another.
    assert read == [0.24] * 4 + [0.47]
    read.clear()
    enhanced(Enhancer(sensitive), as_frames(grays([60] * 5), rate=4))
    assert len(read) == 5


@pytest.mark.parametrize(("scale", "smoothing"), [(1, 0.5), (1, 0.0), (2, 0.5)])
def test_frames_beside_each_other_are_those_of_a_call(scale, smoothing):
    pytest.importorskip("onnxruntime")
    from neid_tf.inference import runtimes

    network = runtimes.load(pretrained.onnx_file("neid_s"), threads=2)
    assert network.beside == 2
    pictures = as_frames(noisy(5, 40, height=47, width=61) + noisy(4, 90, height=47, width=61))
    quarter = coding.Turn(True, True, False)
    settings = {"scale": scale, "smoothing": smoothing, "upright": quarter}
    expected = enhanced(Enhancer(network, **settings), pictures, batch=1)
    threads, run = set(), type(network)._run

    def noting(self, *given):
        threads.add((threading.current_thread().name[:11], self is network))
        return run(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network), "_run", noting)
        enhancer = Enhancer(network, **settings)
        made = list(enhancer.each(iter(pictures), enhancer.batch_size(61, 47)))
    assert threads == {("neid-beside", False)}
    assert [frame for frame, _ in made] == pictures
    np.testing.assert_array_equal(np.stack([pixels for _, pixels in made]), expected)
    assert list(Enhancer(network).each([], 2)) == []


def test_large_deep_frames_come_out_in_8_bits(sensitive, monkeypatch):
    pictures = noisy(1, 40, height=80, width=96)
    monkeypatch.setattr(module, "_BATCH_PIXELS", 500)
    flat = enhanced(Enhancer(sensitive), as_frames(pictures))
    deep = enhanced(Enhancer(sensitive), as_frames([pictures[0].astype(np.uint16) * 257]))
    np.testing.assert_allclose(deep, flat, atol=1)
    weak = Enhancer(sensitive, scale=2, strength=0.5)
    assert enhanced(weak, as_frames(pictures)).shape == (1, 160, 192, 3)
