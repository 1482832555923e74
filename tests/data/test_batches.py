import numpy as np
import pytest
import tensorflow as tf

from neid_tf.data import augment, pairs
from neid_tf.data.batches import ArrayBatches, ahead, miniature, training_dataset
from neid_tf.data.sampling import Sampling
from neid_tf.models.graph import THUMBNAIL
from neid_tf.models.layers import area_resize
from neid_tf.pixels.resample import halve
from tests.conftest import picture


@pytest.fixture(scope="module")
def coded():
    """Pairs whose pixels say where they are: red is the row, green the column, blue the name."""
    low = []
    for index, (height, width) in enumerate([(40, 52), (44, 36), (36, 36)]):
        rows, columns = np.mgrid[:height, :width]
        low.append(np.stack([rows, columns, np.full_like(rows, index)], axis=-1).astype(np.uint8))
    return pairs.Pairs(("a", "b", "c"), tuple(low), tuple(picture + 100 for picture in low))


def loaders(coded, sampling, first, steps, thumbnail=False):
    dataset = training_dataset(coded, sampling, first, steps, thumbnail)
    yield [{key: value.numpy() for key, value in batch.items()} for batch in dataset]
    batches = ArrayBatches(coded, sampling, first, steps, thumbnail)
    yield [batches[index][0] for index in range(len(batches))]


def test_crops_are_aligned(coded):
    sampling = Sampling(crop=16, batch_size=4)
    for batches in loaders(coded, sampling, 0, 6):
        assert len(batches) == 6
        for batch in batches:
            assert batch["low"].shape == (4, 16, 16, 3)
            np.testing.assert_array_equal(batch["low"] + 100, batch["high"])
            corner = batch["low"][:, :1, :1].astype(int)
            rows, columns = np.mgrid[:16, :16]
            moved = batch["low"].astype(int) - corner
            np.testing.assert_array_equal(moved[..., 0], np.broadcast_to(rows, (4, 16, 16)))
            np.testing.assert_array_equal(moved[..., 1], np.broadcast_to(columns, (4, 16, 16)))


def test_pairs_stay_aligned_through_augmentation_in_the_pipeline(coded):
    def prepare(batch):
        return [
            augment.flip_and_turn(batch[s], batch["flip"], batch["turns"]) for s in ("low", "high")
        ]

    dataset = training_dataset(coded, Sampling(crop=16, batch_size=4), 0, 8)
    turned = 0
    for batch, (low, high) in zip(dataset, dataset.map(prepare), strict=True):
        np.testing.assert_array_equal(np.asarray(low) + 100, high)
        np.testing.assert_array_equal(low, prepare(batch)[0])
        turned += int((np.asarray(low) != np.asarray(batch["low"])).any())
    assert turned


def test_the_end_of_a_pipeline_waits_for_no_tuning(coded):
    # It could wait for up to a minute; only now and then, so that no test could wait for it.
    dataset = training_dataset(coded, Sampling(crop=16, batch_size=4), 0, 1)
    assert dataset.options().autotune.enabled is False


def test_every_picture_once_an_epoch(coded):
    sampling = Sampling(crop=16, batch_size=3)
    for batches in loaders(coded, sampling, 0, 8):
        epochs = [tuple(batch["low"][:, 0, 0, 2]) for batch in batches]
        assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
        assert len(set(epochs)) > 1


def test_a_run_goes_on_where_it_stopped(coded):
    sampling = Sampling(crop=16, batch_size=4)
    parts = ((0, 7), (4, 3))
    both = zip(*(loaders(coded, sampling, *part, thumbnail=True) for part in parts), strict=True)
    for whole, rest in both:
        for a, b in zip(whole[4:], rest, strict=True):
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])


def test_seeds_differ(coded):
    first, second = (
        next(iter(loaders(coded, Sampling(crop=16, seed=seed), 0, 1))) for seed in (0, 1)
    )
    assert (first[0]["low"] != second[0]["low"]).any()


def test_thumbnails_come_with_the_crops(coded):
    sampling = Sampling(crop=16, batch_size=4, smallest_view=0.5)
    for batches in loaders(coded, sampling, 0, 5, thumbnail=True):
        views = np.concatenate([batch["view"] for batch in batches])
        assert (views[:, :2] >= 0).all()
        assert (views[:, 2:] >= 0.5).all()
        assert (views[:, :2] + views[:, 2:] <= 1 + 1e-6).all()
        for batch in batches:
            names = batch["low"][:, 0, 0, 2].astype(int)
            for name, mini in zip(names, batch["low_mini"], strict=True):
                np.testing.assert_array_equal(mini, miniature(coded.low[name]))
            for name, crop, place in zip(names, batch["low"], batch["place"], strict=True):
                size = coded.low[name].shape[:2] * 2
                expected = [*crop[0, 0, :2], 16, 16] / np.float32(size)
                np.testing.assert_allclose(place, expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(200, 320), (640, 513), (31, 600)])
def test_training_sees_the_thumbnail_that_the_network_makes(size):
    bright = picture(*size)
    small = halve(bright, 255)
    expected = np.asarray(area_resize(small[None], THUMBNAIL))
    for pixels in (bright, bright.astype(np.uint16) * 257):
        made = miniature(pixels) / np.float32(65535)
        np.testing.assert_allclose(
            np.asarray(area_resize(made[None], THUMBNAIL)), expected, atol=2e-5
        )
    given = np.rint(small * 255).astype(np.uint8)
    np.testing.assert_allclose(miniature(given, halved=True), miniature(bright), atol=200)


def test_8_and_16_bits_together():
    deep = picture(16, 16, 1).astype(np.uint16) * 257
    mixed = pairs.Pairs(("a", "b"), (picture(16, 16), deep), (picture(16, 16), deep))
    (batch,) = training_dataset(mixed, Sampling(crop=16, batch_size=2), 0, 1)
    assert batch["low"].dtype == tf.uint16
    shown = {bytes(row) for row in batch["low"].numpy()}
    assert shown == {bytes(picture(16, 16).astype(np.uint16) * 257), bytes(deep)}
    (batch,) = ArrayBatches(mixed, Sampling(crop=16, batch_size=2), 0, 1)[0]
    for side in ("low", "high"):
        assert {bytes(row) for row in batch[side]} == shown


def test_steps_per_epoch(coded):
    assert Sampling(batch_size=2).steps_per_epoch(coded) == 2
    assert Sampling(batch_size=8).steps_per_epoch(coded) == 1


def test_array_batches_come_in_their_order(coded):
    batches = ArrayBatches(coded, Sampling(crop=16, batch_size=2), 3, 24)
    drawn = list(ahead(batches))
    assert len(drawn) == len(batches) == 24
    for step, (batch,) in enumerate(drawn):
        for key, expected in batches[step][0].items():
            np.testing.assert_array_equal(batch[key], expected)
