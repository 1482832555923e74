"""The training for real pictures: what it draws, how it turns, and one tiny run of each part."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from PIL import Image

from experiments.real_pictures import (
    ablate,
    batches,
    losses,
    mix,
    pool,
    store,
    synthesis,
    train,
    trainers,
)
from neid_tf import pictures
from neid_tf.data import augment
from neid_tf.data.batches import miniature
from neid_tf.models import grid
from neid_tf.pixels.curve import odds_curve
from neid_tf.pixels.samples import LUMA
from neid_tf.support.errors import NeidError
from tests.conftest import flags_restored


def picture(seed, brightness=1.0, size=(64, 96)):
    pixels = np.random.default_rng(seed).random((*size, 3)) * 200.0 * brightness
    return pixels.astype(np.uint8)


def put(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures.write(path, pictures.Picture(pixels))


@pytest.fixture
def uncompiled():
    tf = pytest.importorskip("tensorflow")
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def eagerly(test):
    """Let the few steps of a test run as they are written: compiling them takes longer."""
    ignored = pytest.mark.filterwarnings("ignore:Even though the `tf.config")
    return ignored(pytest.mark.usefixtures("uncompiled")(test))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in ("12", "7", "8"):
        put(root / f"our485/low/{name}.png", picture(int(name), 0.1))
        put(root / f"our485/high/{name}.png", picture(int(name)))
    for scene in ("025", "001"):
        for index, brightness in enumerate((0.1, 0.3, 1.2)):
            put(root / f"sice/{scene}/{index + 1}.png", picture(9, brightness, (64, 64)))
    for name in ("a", "b"):
        put(root / f"photographs/{name}.png", picture(len(name), 0.5, (64, 64)))
    return root


@pytest.fixture(scope="module")
def samples(data):
    return pool.collect(data, synthetic=4)


@pytest.fixture(scope="module")
def held(samples):
    given = dict(samples)
    made = store.Store(given, whole=True)
    assert not given  # What it holds is not held twice.
    return made


def test_held_out_pictures_are_not_trained_on(samples):
    assert len(samples["lol"]) == 2
    assert len(samples["dark"]) == 2
    assert all(len(sample.high) == 2 for sample in samples["dark"])
    synthetic = {"dimmed", "backlit", "night", "city", "dull", "key", "flat"}
    assert set(samples) == {"lol", "dark", "same", "photo"} | synthetic


def test_what_is_to_come_back_is_its_own_reference(samples):
    for kind in ("same", "photo", "key", "flat"):
        assert all((sample.low == sample.high[0]).all() for sample in samples[kind])


def test_what_has_no_light_is_to_be_black():
    random = np.random.default_rng(0)
    for _ in range(20):
        low, high = synthesis.night(np.full((32, 32, 3), 0.8, np.float32), random)
        assert high.max() <= 0.81
        assert np.isfinite(low).all()
        assert high[low.max(axis=-1) < 0.5 / 255].max(initial=0.0) < 0.1


def test_of_a_city_the_lights_are_left():
    random, scene = np.random.default_rng(0), np.full((40, 40, 3), 0.2, np.float32)
    scene[::8, ::8] = 1.0
    pairs = [synthesis.city(scene, random) for _ in range(40)]
    lights, rest = (
        [high[places].mean() for _, high in pairs]
        for places in (np.s_[::8, ::8], np.s_[4::8, 4::8])
    )
    assert np.mean(lights) > 5 * np.mean(rest)
    for low, high in pairs:
        assert low.mean() < high.mean() + 6 / 255


def test_darkened_pictures_are_darker():
    random = np.random.default_rng(0)
    bright = np.full((24, 24, 3), 0.7, np.float32)
    assert all(synthesis.darken(bright, random).mean() < 0.6 for _ in range(10))


def test_grain_keeps_the_power_of_noise_and_makes_colour_coarse():
    noise = np.random.default_rng(0).normal(0.0, 1.0, (200, 200, 3))
    made = [synthesis.grain(noise, np.random.default_rng(seed)) for seed in range(12)]
    coarse = [grain for grain in made if grain is not noise]
    assert 4 <= len(coarse) < 12
    for grain in coarse:
        assert grain.std() == pytest.approx(1.0, rel=0.03)
        colour = grain[..., 0] - grain[..., 2]
        assert (colour[:, 1:] * colour[:, :-1]).mean() > 0.45 * colour.var()


def test_backlit_pictures_keep_their_bright_part():
    random, scene = np.random.default_rng(0), np.full((40, 40, 3), 0.3, np.float32)
    scene[:20] = 0.9
    made = [synthesis.backlit(scene, random) for _ in range(20)]
    assert np.mean([picture[:8].mean() for picture in made]) > 0.8
    assert 0.02 < np.mean([picture[32:].mean() for picture in made]) < 0.25


def test_unlit_pictures_are_darker_and_made_where_they_are_asked_for(data, samples):
    random, bright = np.random.default_rng(0), np.full((24, 24, 3), 0.7, np.float32)
    made = [synthesis.unlit(bright, random) for _ in range(20)]
    assert max(picture.mean() for picture in made) < 0.72
    assert np.mean([picture.mean() for picture in made]) < 0.35
    assert min(picture.min() for picture in made) == 0.0
    assert "unlit" not in samples
    assert len(pool.collect(data, synthetic=2, unlit=True)["unlit"]) == 4


def test_another_key_keeps_hues_and_white():
    made = synthesis.keyed(np.float32([[[1.0, 0.5, 0.25], [0.5, 0.25, 0.125]]]), 2.0)
    np.testing.assert_allclose(made[0], [[1.0, 0.5, 0.25], [0.25, 0.125, 0.0625]], rtol=1e-5)


def test_dull_pictures_have_less_chroma_and_light():
    random, vivid = np.random.default_rng(0), np.float32([[[0.9, 0.5, 0.1]] * 8] * 8)
    pairs = [synthesis.dull(vivid, random) for _ in range(40)]
    chroma = lambda picture: float((picture.max(axis=-1) - picture.min(axis=-1)).mean())  # noqa: E731
    assert np.mean([chroma(low) / chroma(high) for low, high in pairs]) < 0.9
    assert np.mean([low.mean() / high.mean() for low, high in pairs]) < 0.95


def test_photographs_may_be_left_out(tmp_path):
    put(tmp_path / "our485/low/12.png", picture(1, 0.1))
    put(tmp_path / "our485/high/12.png", picture(1))
    for index, brightness in enumerate((0.1, 1.2)):
        put(tmp_path / f"sice/001/{index + 1}.png", picture(9, brightness, (64, 64)))
    found = pool.collect(tmp_path, synthetic=1)
    assert "photo" not in found
    assert len(found["dull"]) == len(found["key"]) == 1


def test_half_of_what_is_synthetic_is_made_of_photographs(data, tmp_path):
    """They alone are coloured here, so what is made of them is known by its chroma."""
    for name in ("12", "7"):
        for side, gray in (("low", 20), ("high", 120)):
            put(tmp_path / f"our485/{side}/{name}.png", np.full((64, 64, 3), gray, np.uint8))
    for index, gray in enumerate((10, 120)):
        put(tmp_path / f"sice/001/{index}.png", np.full((64, 64, 3), gray, np.uint8))
    put(
        tmp_path / "photographs/a.png", np.uint8([[[220, 90, 30]]]) + np.zeros((64, 64, 1), "uint8")
    )
    found = pool.collect(tmp_path, synthetic=12)["backlit"]
    chroma = [int(np.ptp(sample.high[0].astype(int), axis=-1).max()) for sample in found]
    assert [value > 100 for value in chroma] == [index // 2 % 2 == 1 for index in range(12)]


def test_photographs_are_gathered_from_unpacked_packages(tmp_path):
    """A resource file's WebP pictures are counted first, then its JPEGs; small ones are not."""

    def stored(size, kind):
        stream = io.BytesIO()
        Image.fromarray(picture(sum(size), 1.0, size[::-1])).save(stream, kind)
        return stream.getvalue()

    sizes = ((400, 340), (360, 350))
    parts = [stored(sizes[0], "JPEG"), stored((90, 80), "WEBP"), stored(sizes[1], "WEBP")]
    held = b"qres" + b"\xff\xd8\xff\xe0".join(parts) + stored((100, 90), "JPEG") + b"RIFF"
    share, listed = "usr/share", "tabler-ui/package/src/demo/photos"
    for path, content in (
        (f"{share}/gcompris-qt/rcc/erase.rcc", held),
        (f"{share}/palapeli/collection/citrus-fruits.jpg", stored((1000, 800), "JPEG")),
        (f"{share}/wallpapers/Kite/contents/images/700x650.jpg", stored((700, 650), "JPEG")),
        (f"{listed}/ales-krivec-107499-1500.jpg", stored((330, 1280), "JPEG")),
        (f"{listed}/not-in-the-list.jpg", stored((330, 400), "JPEG")),
    ):
        (tmp_path / "unpacked" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / path).write_bytes(content)
    script = Path(__file__).parents[1] / "data" / "make_photographs.py"
    command = [sys.executable, str(script), str(tmp_path / "unpacked"), str(tmp_path / "photos")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("5 of 753 photographs")
    (tmp_path / "empty").mkdir()
    for nothing, reason in (("empty", "0 of 753 photographs"), ("none", "no folder of unpacked")):
        command[2:] = [str(tmp_path / nothing), str(tmp_path / "photos")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, reason in done.stdout + done.stderr) == (1, True)
    photos = (tmp_path / "photos").iterdir()
    found = {path.name: pictures.read(path).pixels.shape[1::-1] for path in photos}
    assert found == {
        "Kite.png": (689, 640),
        "citrus-fruits.png": (800, 640),
        "erase_001.png": sizes[1],
        "erase_002.png": sizes[0],
        "listed_488.png": (330, 1280),
    }


def test_compression_keeps_the_channels_in_order():
    pixels = np.zeros((16, 16, 3), np.uint8) + np.uint8([200, 100, 20])
    for codec in synthesis.EXTENSIONS:
        back = synthesis.compress(pixels, codec, 95)
        assert np.abs(back.astype(int) - pixels).max() < 12


@pytest.mark.parametrize("draws", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_the_tone_turns_with_the_crop(draws):
    random = np.random.default_rng(1)
    image = random.random((16, 16, 3), np.float32)
    values = random.normal(0, 0.5, grid.PARAMETERS).astype(np.float32)
    box = np.float32([0.1, 0.3, 0.5, 0.4])

    def toned(record):
        pixels, parameters = record["image"][None], record["tone_parameters"][None]
        gain = grid.GridGain()([pixels, parameters, record["box"][None]])
        return np.asarray(grid.GridTone()([pixels, gain, parameters]))[0]

    steps = np.array(draws, bool)[:, None]
    seen = np.float32([[0, 0, 1, 1]])
    given = {"image": image, "box": box, "tone_parameters": values}
    expected = augment.moved(toned(given)[None], steps)[0]
    given["image"] = np.asarray(augment.moved(image[None], steps))[0]
    given["tone_parameters"] = np.asarray(grid.transposed(values[None], steps[0]))[0]
    given["box"] = np.asarray(augment.box_in_view(box[None], seen, np.array([False]), steps))[0]
    np.testing.assert_allclose(toned(given), expected, atol=1e-5)


def drawn(held, side, count=40):
    part = "streams" if side else "tone"
    return batches.Batches(held, count, 1, 0, batches.SHARES[part], side)[0][0]


def test_what_a_batch_shows_holds_its_crops(held):
    for side in (0, 32):
        batch = drawn(held, side)
        assert batch["view"].shape == (40, 4)
        assert (batch["view"][:, :2] + batch["view"][:, 2:]).max() <= 1.0 + 1e-6
        assert batch["view"].min() >= 0.0
    steps = list(batch["turns"].T)
    seen_at = batch["place"], batch["view"], batch["mirrored"]
    boxes = np.asarray(augment.box_in_view(*seen_at, steps))
    corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    assert corners.min() > -1e-5
    assert corners.max() < 1.0 + 1e-5
    assert {"lol", "dark", "dimmed"} & set(held.table)
    assert batch["is_sent"].any()
    for name, number in (("halves", "sent"), ("pictures", "source")):
        assert 0 <= batch[number].min() <= batch[number].max() < getattr(held, name).shape[0]


def test_the_tone_sees_what_is_sent(samples, held, monkeypatch):
    """Miniatures are of the pictures as they arrive; a store of those alone has the same."""
    batch = drawn(held, 32)
    halves, whole = np.asarray(held.halves), np.asarray(held.pictures)
    assert batch["is_sent"].any()
    assert not batch["is_sent"].all()
    for row in range(len(batch["low"])):
        size = held.sizes[batch["high"][row]]
        if batch["is_sent"][row]:
            arrived = halves[batch["sent"][row], : size[0] // 2, : size[1] // 2]
        else:
            arrived = whole[batch["source"][row], : size[0], : size[1]]
        seen = np.asarray(held.thumbnails(batch["low"][row : row + 1]))[0]
        expected = miniature(arrived, halved=bool(batch["is_sent"][row]))
        np.testing.assert_allclose(seen, expected / 65535, atol=1e-6)
    photographs = {low for low, _ in held.table["photo"]}
    assert not photographs & held.compressed.keys()
    assert photographs <= store.Store(dict(samples), whole=False).compressed.keys()
    plain = store.Store(dict(samples), whole=False, sent=False)
    assert not plain.compressed
    assert plain.minis.shape[0] == len(plain.sizes)
    monkeypatch.setattr(store, "STORED_KINDS", ())
    alone = store.Store(dict(samples), whole=False)
    np.testing.assert_array_equal(np.asarray(alone.minis), np.asarray(held.minis))
    assert (drawn(alone, 0)["low"] >= alone.first_halved).any()


def test_a_draw_depends_on_seed_and_number_alone(held):
    def fifth(steps):
        return batches.Batches(held, 4, steps, 3, batches.SHARES["streams"], 32)[5][0]

    first, again = fifth(6), fifth(9)
    assert all((first[key] == again[key]).all() for key in first)


def test_crops_are_cut_where_they_are_asked_for(held):
    numbers, corners = np.int32([2, 0]), np.int32([[5, 9], [0, 1]])
    cut = np.asarray(held.crops(numbers, corners, 16)) * 255
    whole = np.asarray(held.pictures)
    for crop, number, (top, left) in zip(cut, numbers, corners, strict=True):
        expected = whole[number, top : top + 16, left : left + 16]
        np.testing.assert_allclose(crop, expected, atol=1e-3)


def test_the_reference_is_brought_to_the_exposure_of_the_tone():
    random = np.random.default_rng(0)
    high = random.random((2, 32, 32, 3), np.float32)
    made = odds_curve(high, np.float32([0.5, 1.6])[:, None, None, None])
    gain = np.asarray(losses.to_exposure(high, made))
    brought = odds_curve(high, gain)
    before, after = (np.abs(p.mean((1, 2, 3)) - made.mean((1, 2, 3))) for p in (high, brought))
    assert (after < 0.4 * before).all()
    ends = np.float32([0.0, 1.0])
    np.testing.assert_array_equal(odds_curve(ends, gain[0, 0, 0]), ends)
    asked, of_reference = (np.asarray(losses.loss(high, made, g)) for g in (gain, 1.0))
    assert (asked < of_reference).all()


def test_shares_of_kinds():
    assert train.parsed_shares(["lol=0.3", "dark=.2"]) == {"lol": 0.3, "dark": 0.2}
    for entry in ("lol", "lol=-1", "moon=0.1"):
        with pytest.raises(ValueError, match="kind_shares"):
            train.parsed_shares([entry])


def test_shares_of_what_is_sent(held):
    assert train.parsed_sent(["0.2", ".1"]) == (0.2, 0.1)
    for entries in (["0.2"], ["0.2", "-1"], ["0.7", "0.4"]):
        with pytest.raises(ValueError, match="sent_shares"):
            train.parsed_sent(entries)
    shares = batches.SHARES["streams"]
    never = batches.Batches(held, 40, 1, 0, shares, 32, (0.0, 0.0))[0][0]
    assert not never["is_sent"].any()
    assert never["source"].max() < len(held.sizes)


@eagerly
def test_tiny_training_of_the_streams(held, monkeypatch):
    from neid_tf import models

    network = models.build("neid_grid", filters=4, refinement=4, mirrored=False)
    reader = train.load(network, "", "")
    head, tone = network.get_layer("refine_head"), network.get_layer("tone_head").get_weights()[0]
    before, saved = head.get_weights()[0].copy(), []
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    drawn = batches.Batches(held, 2, 4, 0, batches.SHARES["streams"], 64)
    trainer = trainers.StreamsTrainer(held, reader, network, 64)
    train.fit(trainer, drawn, 1e-3, lambda: saved.append(head.get_weights()[0]))
    assert len(saved) == 2
    assert trainer.optimizer.iterations == 4  # all of them, in stretches of the same length
    np.testing.assert_array_equal(saved[-1], head.get_weights()[0])
    assert np.abs(saved[-1] - before).max() > 0.0
    np.testing.assert_array_equal(network.get_layer("tone_head").get_weights()[0], tone)


@eagerly
@pytest.mark.parametrize("part", ["tone", "streams"])
def test_a_training_that_was_stopped_goes_on(held, monkeypatch, tmp_path, part):
    """It ends with the weights of one that was not stopped, to the bit."""
    import keras

    from neid_tf import models

    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    side = 32 if part == "streams" else 0
    drawn = batches.Batches(held, 2, 3, 0, batches.SHARES[part], side)

    def trained(name, stops_after=None):
        keras.utils.set_random_seed(3)
        network = models.build("neid_grid", filters=4, refinement=4, mirrored=False)
        reader = train.load(network, "", "", dropout=0.0)
        learner = network if side else reader
        progress = train.Progress(tmp_path / name, learner, "command")
        done = []

        def save():
            done.append(learner.get_weights())
            if len(done) == stops_after:
                raise KeyboardInterrupt

        streams = trainers.StreamsTrainer(held, reader, network, side) if side else None
        trainer = streams or trainers.ToneTrainer(held, reader)
        train.fit(trainer, drawn, 1e-3, save, bool(side), progress)
        return done

    whole = trained("whole")
    assert len(whole) == 3
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", stops_after=2)
    assert (tmp_path / "stopped").is_dir()
    with pytest.raises(ValueError, match="another training"):
        train.Progress(tmp_path / "stopped", None, "another command")
    went_on = trained("stopped")
    assert len(went_on) == 2
    for one, other in zip(whole[-1], went_on[-1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.iterdir())


@eagerly
def test_a_tone_is_taught_what_is_read_off_the_picture_before_it_was_sent(held):
    from neid_tf import models

    network = models.build("neid_grid", filters=4, refinement=4, mirrored=False)
    teacher, reader = (train.load(network, "", "", dropout=0.0) for _ in range(2))
    for model in (teacher, reader):
        models.load_matching(network, model)
    head = teacher.get_layer("tone_head")
    head.set_weights([30.0 * kernel for kernel in head.get_weights()])
    models.load_matching(teacher, reader)
    kept, drawn = (
        batches.Batches(held, 4, 4, 0, {"lol": 1.0}, sent=(share, 0.0)) for share in (0.0, 1.0)
    )
    trainer = trainers.TaughtTrainer(held, reader, teacher)
    np.testing.assert_allclose(trainer(kept[0][0]), 1e-3, atol=1e-5)  # The two are the same.
    apart = np.asarray(trainer(drawn[0][0]))
    assert (apart > 1.2e-3).all()
    before = head.get_weights()
    train.fit(trainer, drawn, 1e-3, lambda: None)
    for one, other in zip(before, head.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.asarray(trainer(drawn[0][0])).mean() < apart.mean()


@eagerly
def test_a_gray_picture_is_taught_the_brightness_that_it_has_in_colour(held):
    import keras

    from neid_tf import models

    keras.utils.set_random_seed(0)
    network = models.build("neid_grid", filters=4, refinement=4, mirrored=False)
    teacher, reader = (train.load(network, "", "", dropout=0.0) for _ in range(2))
    head = teacher.get_layer("tone_head")
    head.set_weights([30.0 * kernel for kernel in head.get_weights()])
    models.load_matching(teacher, reader)
    shares = {"lol": 1.0}
    coloured, gray = (
        batches.Batches(held, 4, 6, 0, shares, sent=(0.0, 0.0), gray=g) for g in (0.0, 1.0)
    )
    assert (gray[0][0]["colour"] <= 0.3).all()
    assert (coloured[0][0]["colour"] == 1.0).all()
    trainer = trainers.TaughtTrainer(held, reader, teacher)
    np.testing.assert_allclose(trainer(coloured[0][0]), 1e-3, atol=1e-5)
    apart = np.asarray(trainer(gray[0][0]))
    assert (apart > 1.2e-3).all()
    train.fit(trainer, gray, 1e-3, lambda: None)
    assert np.asarray(trainer(gray[0][0])).mean() < apart.mean()


@eagerly
def test_a_turned_picture_is_taught_the_tone_that_it_has_upright(held):
    """A tone of the light alone, whatever lies where, has nothing to learn."""
    seen = []

    def even(pictures, training):
        seen.append(np.asarray(pictures))
        gain = np.log(0.5 / pictures.numpy().mean(axis=(1, 2, 3)))
        parameters = np.zeros((len(gain), grid.PARAMETERS), np.float32)
        parameters[:, grid.GLOBAL :] = gain[:, None]
        return parameters

    def uneven(pictures, training):
        parameters = even(pictures, training)
        parameters[:, grid.GLOBAL :] += np.repeat([0.0, 1.0], (grid.PARAMETERS - grid.GLOBAL) // 2)
        return parameters

    turned = batches.Batches(held, 16, 1, 0, {"lol": 1.0}, sent=(0.0, 0.0), turned=1.0)[0][0]
    upright = batches.Batches(held, 16, 1, 0, {"lol": 1.0}, sent=(0.0, 0.0))[0][0]
    assert not upright["turns"].any()
    steps = list(turned["turns"].T)
    assert all(step.any() and not step.all() for step in steps)
    trainer = trainers.TaughtTrainer(held, even, even)
    np.testing.assert_allclose(trainer(turned), 1e-3, atol=1e-5)
    student, teacher = seen
    np.testing.assert_allclose(student, augment.moved(teacher, steps), atol=1e-6)
    trainer.reader = trainer.teacher = uneven
    np.testing.assert_allclose(trainer(upright), 1e-3, atol=1e-5)
    assert np.asarray(trainer(turned)).mean() > 1.2e-3


@eagerly
def test_a_tone_is_trained_on_gray_pairs_without_their_colour(held):
    seen = []

    def reader(pictures, training):
        seen.append(np.asarray(pictures))
        return np.zeros((16, grid.PARAMETERS), np.float32)

    drawn = batches.Batches(held, 16, 1, 0, {"lol": 1.0}, gray=0.7)[0][0]
    colour = drawn["colour"]
    assert {0.0, 1.0} < set(colour)  # Some have a part of it.
    assert colour[colour < 1.0].max() <= 0.3
    for batch in (drawn | {"colour": np.ones(16, np.float32)}, drawn):
        trainers.ToneTrainer(held, reader)(batch)
    luminance = np.repeat(seen[0] @ np.float32(LUMA)[:, None], 3, axis=-1)
    colour = colour[:, None, None, None]
    np.testing.assert_allclose(seen[1], luminance + (seen[0] - luminance) * colour, atol=1e-5)
    assert abs(seen[1] - seen[0]).max() > 0.002  # The pictures are dark.


@eagerly
def test_a_training_stops_where_its_loss_is_no_number(held):
    import keras

    from neid_tf import models
    from neid_tf.training.callbacks import NonFiniteLoss

    network = models.build("neid_grid", filters=4, refinement=4, mirrored=False)
    reader, saved = train.load(network, "", ""), []
    head = next(v for v in reader.trainable_variables if "tone_head" in v.path)
    head.assign(keras.ops.full(head.shape, np.nan))
    drawn = batches.Batches(held, 2, 4, 0, batches.SHARES["tone"])
    with pytest.raises(NonFiniteLoss, match="step 1: the loss term 'loss' is nan"):
        train.fit(trainers.ToneTrainer(held, reader), drawn, 1e-3, lambda: saved.append(1))
    assert not saved


def told(arguments, program=train):
    """What a command does, in this process."""
    with flags_restored():
        flags.FLAGS(["program", *arguments])
        program.main([])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data=nowhere"], "--output is missing"),
        (["--data=nowhere", "--output=w.npz", "--crop_side=64"], "--crop_side has no effect"),
        (
            ["--data=nowhere", "--output=w.npz", "--train_part=streams", "--tone_dropout=0.1"],
            "--tone_dropout has no effect",
        ),
        (["--data=nowhere", "--output=w.npz", "--sent_shares=1"], "--sent_shares"),
    ],
)
def test_wrong_usage_is_told_at_once(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((NeidError, flags.Error), match=named):
        told(arguments)
    assert not list(tmp_path.iterdir())


def test_streams_are_not_taught_a_tone():
    arguments = ["--data=d", "--output=w", "--train_part=streams", "--taught_by=neid"]
    with pytest.raises(NeidError, match="--taught_by has no effect with --train_part=streams"):
        told(arguments)


def test_streams_of_fewer_taps_begin_with_their_sums(tmp_path):
    pytest.importorskip("tensorflow")
    from neid_tf import models
    from neid_tf.models import pretrained

    fields = {"filters": 4, "refinement": 4, "convolutions": 1}
    with_taps = models.build("neid_grid", **fields)
    pretrained.save(models.as_part(with_taps, "refined"), str(tmp_path / "taps.npz"))
    without = models.build("neid_grid", up_kernel=1, **fields)
    train.load(without, "", str(tmp_path / "taps.npz"))
    for name in ("le_decoder1_up_conv", "le_decoder2_up_conv"):
        kernel, bias = with_taps.get_layer(name).get_weights()
        sums, kept = without.get_layer(name).get_weights()
        half = kernel.astype(np.float16).astype(np.float32)  # As they are kept.
        np.testing.assert_allclose(sums[0, 0], half.sum(axis=(0, 1)), atol=1e-6)
        np.testing.assert_array_equal(kept, bias)


def test_the_command_trains_what_it_is_told(data, tmp_path):
    pytest.importorskip("tensorflow")
    from neid_tf.models import pretrained

    (tmp_path / "held.txt").write_text("7\n", "utf-8")
    assert len(pool.collect(data, str(tmp_path / "held.txt"), 1)["lol"]) == 2
    command = [sys.executable, "-m", "experiments.real_pictures.train", f"--data={data}"]
    command += [f"--held_out={tmp_path / 'held.txt'}", "--train_part=streams", "--channels=4"]
    command += ["--refined_channels=4", "--noboth_sides", "--crop_side=32", "--synthetic=1"]
    command += ["--training_steps=2", "--pictures_a_batch=2", f"--output={tmp_path / 'made.npz'}"]
    command += ["--convolutions_a_level=1", "--up_kernel_side=1", "--nohalf_precision"]
    command += ["--black_level=1.5", "--veil_share=0.5"]
    home = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "epoch 1: loss" in done.stdout
    made = pretrained.load_pretrained(str(tmp_path / "made.npz"))
    assert (made.config.filters, made.config.refinement, made.config.mirrored) == (4, 4, False)
    config = made.config
    assert (config.convolutions, config.up_kernel, config.tone_black) == (1, 1, 1.5)
    assert config.tone_veil == 0.5
    words = made.card["command"].split()
    assert words[:3] == ["python", "-m", "experiments.real_pictures.train"]
    assert {"--train_part=streams", "--channels=4", "--training_steps=2"} < set(words)
    with pytest.raises(NeidError, match="moon"):
        told([*command[3:], "--kind_shares=moon=1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train_part=streams"], "--turned_share has no effect with --train_part=streams"),
        ([], "--turned_share needs --taught_by"),
    ],
)
def test_a_tone_that_is_not_taught_sees_no_turned_pictures(options, message):
    with pytest.raises(NeidError, match=message):
        told(["--data=d", "--output=w", "--turned_share=0.5", *options])


def test_streams_have_no_share_of_gray_pictures():
    arguments = ["--data=d", "--output=w", "--train_part=streams", "--gray_share=0.5"]
    with pytest.raises(NeidError, match="--gray_share has no effect with --train_part=streams"):
        told(arguments)


@eagerly
@pytest.mark.parametrize("taught", [True, False])
def test_the_command_trains_a_tone_on_gray_pictures(data, tmp_path, taught):
    from neid_tf.models import pretrained

    arguments = [f"--data={data}", f"--output={tmp_path / 'made.npz'}", "--from_weights=neid"]
    arguments += ["--taught_by=neid"] * taught + ["--gray_share=1", "--sent_shares=0,0"]
    arguments += ["--training_steps=1", "--pictures_a_batch=2", "--synthetic=2", "--noboth_sides"]
    told(arguments)
    made, before = (pretrained.load_pretrained(w) for w in (str(tmp_path / "made.npz"), "neid"))
    assert "--gray_share=1.0" in pretrained.card(str(tmp_path / "made.npz"))["command"].split()
    heads = [model.get_layer("tone_head").get_weights()[0] for model in (made, before)]
    assert not np.array_equal(*heads)


@eagerly
def test_the_command_corrects_a_tone_for_gray_pictures_alone(data, tmp_path):
    from neid_tf import models
    from neid_tf.models import pretrained, transfer

    output, units = str(tmp_path / "made.npz"), 8
    start = models.build("neid_grid", filters=4, refinement=4, tone_gray=units)
    pretrained.save(start, str(tmp_path / "start.npz"), {})
    arguments = [f"--data={data}", f"--output={output}", f"--from_weights={tmp_path}/start.npz"]
    arguments += ["--train_part=gray", "--channels=4", "--refined_channels=4", "--noboth_sides"]
    arguments += ["--training_steps=4", "--pictures_a_batch=2", "--synthetic=2"]
    told(arguments)
    before, made = (pretrained.load_pretrained(w) for w in (f"{tmp_path}/start.npz", output))
    assert made.config.tone_gray == units
    theirs, changed = (transfer.named_variables(model) for model in (before, made))
    assert theirs.keys() == changed.keys()
    names = {name.partition("/")[0] for name in theirs if np.any(theirs[name] != changed[name])}
    assert names == {"tone_gray1", "tone_gray2"}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--tone_dropout=0", "--tone_dropout has no effect with --train_part=gray"),
        ("--draws_seed=1", "--train_part=gray needs --from_weights"),
    ],
)
def test_what_corrects_a_tone_needs_one(flag, message):
    with pytest.raises(NeidError, match=message):
        told(["--data=d", "--output=w", "--train_part=gray", flag])


@eagerly
def test_a_tone_is_taught_by_what_it_is_told(data, tmp_path):
    from neid_tf.models import pretrained

    arguments = [f"--data={data}", f"--output={tmp_path / 'made.npz'}", "--from_weights=neid"]
    arguments += ["--taught_by=neid", "--tone_dropout=0", "--kind_shares=unlit=0.5"]
    arguments += ["--training_steps=1", "--pictures_a_batch=2", "--synthetic=2"]
    told([*arguments, "--noboth_sides"])  # It takes half of the time.
    assert "--taught_by=neid" in pretrained.card(str(tmp_path / "made.npz"))["command"].split()
    made, before = (pretrained.load_pretrained(w) for w in (str(tmp_path / "made.npz"), "neid"))
    for layer, same in (("tone_head", False), ("le_head", True)):
        kernels = [model.get_layer(layer).get_weights()[0] for model in (made, before)]
        assert np.array_equal(*kernels) == same
    assert made.config.reading == before.config.reading  # As it was not told another.
    assert made.config.tone_black == before.config.tone_black == 1.5


@eagerly
def test_the_command_teaches_a_tone_of_turned_pictures(data, tmp_path):
    from neid_tf.models import pretrained

    made = {}
    for share in (0, 1):
        path = str(tmp_path / f"{share}.npz")
        arguments = [f"--data={data}", f"--output={path}", "--from_weights=neid"]
        arguments += ["--taught_by=neid", "--tone_dropout=0", "--noboth_sides"]
        arguments += ["--training_steps=1", "--pictures_a_batch=2", "--synthetic=2"]
        told([*arguments, f"--turned_share={share}"])
        assert f"--turned_share={share}.0" in pretrained.card(path)["command"].split()
        made[share] = pretrained.load_pretrained(path).get_layer("tone_head").get_weights()[0]
    assert not np.array_equal(made[0], made[1])


def test_tone_and_streams_may_come_from_different_weights(tmp_path):
    from neid_tf import models
    from neid_tf.models import pretrained

    fields = {"filters": 4, "refinement": 4, "mirrored": False}
    paths = [str(tmp_path / f"{name}.npz") for name in ("tone", "streams")]
    nets = [models.build("neid_grid", **fields) for _ in paths]
    for net, path in zip(nets, paths, strict=True):
        pretrained.save(models.as_part(net, "refined"), path, {})
    network = models.build("neid_grid", **fields)
    reader = train.load(network, *paths)
    for name, model, source in (
        ("tone_grid", reader, nets[0]),
        ("tone_grid", network, nets[0]),
        ("le_head", network, nets[1]),
        ("refine_head", network, nets[1]),
    ):
        expected = source.get_layer(name).get_weights()[0]
        np.testing.assert_allclose(model.get_layer(name).get_weights()[0], expected, atol=1e-4)
    fresh = network.get_layer("le_head").get_weights()[0]
    train.load(network, "", "")
    np.testing.assert_array_equal(network.get_layer("le_head").get_weights()[0], fresh)


def test_a_row_of_the_ablation_leaves_out_what_it_says(held):
    random = np.random.default_rng(0)
    parameters = random.normal(size=(2, grid.PARAMETERS)).astype(np.float32)
    changed = {
        name: (row.of(held).table, np.asarray(row.parameters(parameters)))
        for name, row in ablate.ROWS.items()
    }
    assert set(held.table) - set(changed["no_brackets"][0]) == {"dark"}
    assert set(held.table) - set(changed["nothing_kept"][0]) == {
        "same",
        "photo",
        "key",
        "flat",
        "dull",
    }
    assert all(len(high) == 1 for _, high in changed["no_fusion"][0]["dark"])
    assert (changed["no_matrices"][1][:, 3:21] == 0.0).all()
    cells = changed["one_place"][1][:, grid.GLOBAL :].reshape(2, 16, 16, 8)
    assert np.ptp(cells, axis=(1, 2)).max() < 1e-6 < np.ptp(cells, axis=3).max()
    cells = changed["one_level"][1][:, grid.GLOBAL :].reshape(2, 16, 16, 8)
    assert np.ptp(cells, axis=3).max() < 1e-6 < np.ptp(cells, axis=1).max()
    np.testing.assert_array_equal(changed["whole"][1], parameters)


def test_the_row_without_a_narrow_link_sees_no_compressed_picture(held, monkeypatch):
    seen = {}
    monkeypatch.setattr(ablate.training, "fit", lambda trainer, drawn, *_: seen.update(drawn[0][0]))
    for row, few in (("whole", False), ("nothing_sent", True)):
        ablate.train(held, row, 0, 1)
        assert (seen["is_sent"].any() or seen["source"].max() > seen["high"].max()) != few


def test_the_ablation_records_and_tells_rows(tmp_path, samples, monkeypatch):
    pytest.importorskip("tensorflow")
    rows = [("a", picture(1, 0.1), picture(1))]
    names = ("lol", "lol_sent", "sice_normal", "sice_fused", "sice_unchanged")
    monkeypatch.setattr(ablate, "held_out", lambda data: dict.fromkeys(names, rows))
    monkeypatch.setattr(ablate, "collect", lambda data: samples)
    ablate.make(tmp_path, tmp_path, ["no_matrices"], [3], steps=1)
    record = (tmp_path / "no_matrices-3.json").read_text("utf-8")
    (tmp_path / "whole-3.json").write_text(record.replace('"no_matrices"', '"whole"'), "utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"whole-3.json", "no_matrices-3.json"}
    first, _, whole, changed = ablate.table(tmp_path).splitlines()
    assert first.count("|") == whole.count("|") == changed.count("|") == 7
    assert "no colour matrices" in changed
    monkeypatch.setattr(ablate, "collect", lambda data: pytest.fail("made again"))
    ablate.make(tmp_path, tmp_path, ["whole"], [3], steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from_streams=b.npz"], "--from_weights is needed"),
        (["--from_weights=a.npz"], "--both_sides or --more_light is needed"),
        (
            ["--from_weights=a.npz", "--tone_from=b.npz", "--second_share=0.3"],
            "--second_share needs --from_streams",
        ),
        (["--from_weights=a.npz", "--from_streams=b.npz", "--output="], "--output is missing"),
    ],
)
def test_mixing_nothing_is_refused(monkeypatch, options, message):
    monkeypatch.setattr("neid_tf.models.pretrained.load_pretrained", None)
    with flags_restored():
        flags.FLAGS(["mix", "--output=mixed.npz", *options])
        with pytest.raises((NeidError, flags.Error), match=message):
            mix.main([])


def test_weights_of_two_stages_are_mixed(tmp_path):
    from neid_tf import models
    from neid_tf.models import pretrained

    fields = {"refinement": 4, "mirrored": False}
    first, second = (
        models.build("neid_grid", filters=4, tone_black=1.5, **fields) for _ in range(2)
    )
    layers = ("le_head", "refine_head")
    kernels = {
        layer: [net.get_layer(layer).get_weights()[0] for net in (first, second)]
        for layer in layers
    }
    paths = [tmp_path / name for name in ("first.npz", "second.npz", "mixed.npz")]
    for net, path in zip((first, second), paths, strict=False):
        pretrained.save(models.as_part(net, "refined"), str(path), {"command": path.stem})
    command = [sys.executable, "-m", "experiments.real_pictures.mix", "--second_share=0.25"]
    names = ("from_weights", "from_streams", "output")
    options = [f"--{name}={path}" for name, path in zip(names, paths, strict=True)]
    options.append(f"--tone_from={paths[1]}")
    home = Path(__file__).parent.parent
    subprocess.run([*command, *options], check=True, capture_output=True, cwd=home)
    with pytest.raises((NeidError, flags.Error), match="--from_weights is needed"):
        told(options[1:], mix)
    card = pretrained.card(str(paths[2]))
    assert "--second_share=0.25" in card["command"]
    commands = {name: of["command"] for name, of in card["made_of"].items()}
    assert commands == {"weights": "first", "streams": "second", "tone": "second"}
    made = models.as_part(pretrained.load_pretrained(str(paths[2])), "refined")
    tone = second.get_layer("tone_grid").get_weights()[0]
    np.testing.assert_allclose(made.get_layer("tone_grid").get_weights()[0], tone, atol=1e-4)
    assert made.config.tone_black == 1.5
    options = [f"--from_weights={paths[2]}", "--dead_zone=0.3", f"--output={paths[0]}"]
    options.append("--both_sides")
    told(options, mix)
    zone = pretrained.load_pretrained(str(paths[0]))
    assert (made.config.tone_dead_zone, zone.config.tone_dead_zone) == (0.08, 0.3)
    assert (made.config.mirrored, zone.config.mirrored) == (False, True)
    kept = zone.get_layer("le_head").get_weights()[0]
    np.testing.assert_array_equal(kept, made.get_layer("le_head").get_weights()[0])
    mix.mix(first, second, 0.25)
    for layer, (one, other) in kernels.items():
        for net, off in ((made, 1e-4), (first, 1e-6)):
            mixed = net.get_layer(layer).get_weights()[0]
            np.testing.assert_allclose(mixed, 0.75 * one + 0.25 * other, atol=off)
    other = models.build("neid_grid", filters=8, tone_black=3.0, tone_veil=0.5, **fields)
    pretrained.save(models.as_part(other, "refined"), str(paths[1]), {})
    told([f"--from_weights={paths[2]}", f"--tone_from={paths[1]}", f"--output={paths[0]}"], mix)
    given = pretrained.load_pretrained(str(paths[0])).config
    assert (given.filters, given.tone_black) == (4, 3.0)  # The tone reads as it has learned to.
    assert given.tone_veil == 0.5
    options = [f"--from_weights={paths[2]}", f"--from_streams={paths[0]}", f"--output={paths[1]}"]
    with pytest.raises(NeidError, match="different networks"):
        told(options, mix)
    told([*options, "--black_level=2.5", "--veil_share=0.25"], mix)
    read = pretrained.load_pretrained(str(paths[1])).config.reading
    assert read == {"black": 2.5, "veil": 0.25, "gray": 32}
    options = [f"--from_weights={paths[1]}", "--more_light=0.2", f"--output={paths[2]}"]
    told(options, mix)
    before, after = (
        pretrained.load_pretrained(str(path)).get_layer("tone_head").get_weights()
        for path in paths[1:]
    )
    np.testing.assert_array_equal(before[0], after[0])
    more = np.concatenate([np.zeros(grid.EXPOSURE), np.linspace(0.0, 0.2, grid.BINS)])
    np.testing.assert_allclose(after[1] - before[1], more, atol=1e-3)
    plain = models.NEID(filters=4)
    for wrong in (lambda: mix.lift(plain, 0.1), lambda: mix.give_tone(first, plain)):
        with pytest.raises(NeidError, match=r"grid|kind"):
            wrong()
    mix.give_tone(first, other)
    for layer, same in (("tone_grid", True), ("tone_head", True), ("le_head", False)):
        kernels = [net.get_layer(layer).get_weights()[0] for net in (first, other)]
        assert (kernels[0].shape == kernels[1].shape and (kernels[0] == kernels[1]).all()) == same
    for differing in (
        {"filters": 8, "tone_black": 1.5},
        {"filters": 4, "tone_black": 0.0},
        {"filters": 4, "tone_black": 1.5, "tone_veil": 0.0},
    ):
        with pytest.raises(NeidError, match="different networks"):
            mix.mix(first, models.build("neid_grid", **fields, **differing), 0.5)
