"""What lies under alpha 0, or where there is no data, decides nothing that can be seen."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf.inference.enhance import enhance
from neid_tf.pictures import hidden, read, write
from tests.pictures.picture_files import noise


def disc(height=40, width=50):
    """Where a disc in the middle is."""
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 3) ** 2


def mean_sensitive(batch):
    """A model whose result at each pixel depends on all pixels."""
    double = np.asarray(batch).repeat(2, axis=1).repeat(2, axis=2)
    return double / (2.0 * batch.mean() + 0.1)


def saved_with(kind, under, path):
    """A file of the same visible disc, with other colours under what hides the rest."""
    seen = disc()
    colours = np.where(seen[..., None], noise(40, 50, 3) // 4, np.array(under, np.uint8))
    alpha = np.where(seen, 255, 0).astype(np.uint8)
    if kind == "RGBA":
        Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8)).save(path)
    elif kind == "LA":
        gray = colours[..., 0].astype(np.uint8)
        Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)]).save(path)
    elif kind == "tRNS":
        key = tuple(int(c) for c in under)
        Image.fromarray(colours.astype(np.uint8)).save(path, transparency=key)
    else:
        stored = np.dstack([colours, alpha]).astype(np.uint8)
        tifffile.imwrite(path, stored, photometric="rgb", extrasamples=[kind])


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        *(("RGBA", ".png"), ("RGBA", ".tif"), ("LA", ".png"), ("tRNS", ".png")),
        *(("unassalpha", ".tif"), ("assocalpha", ".tif")),
    ],
)
def test_hidden_colours_do_not_decide_visible_ones(kind, suffix, tmp_path):
    results = []
    for under in ((250, 255, 253), (255, 0, 0)):
        path = tmp_path / f"a{suffix}"
        saved_with(kind, under, path)
        picture = read(path)
        assert picture.alpha is not None
        write(path, picture.with_pixels(enhance(picture.pixels, mean_sensitive)))
        results.append(read(path))
    first, second = results
    np.testing.assert_array_equal(first.alpha, second.alpha)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.pixels[disc()].mean() > 40


def test_hidden_pixels_continue_the_nearest_visible():
    samples = np.zeros((3, 9, 3), np.uint8)
    samples[:, :2], samples[:, -2:] = 50, 200
    seen = np.zeros((3, 9), bool)
    seen[:, :2] = seen[:, -2:] = True
    samples.flags.writeable = False
    filled = hidden.fill(samples, seen)
    assert filled[1, :, 0].tolist()[:4] == [50] * 4
    assert filled[1, :, 0].tolist()[-4:] == [200] * 4
    assert samples[1, 4, 0] == 0
    again = samples.copy()
    assert hidden.fill(again, seen) is again
    np.testing.assert_array_equal(again, filled)


def test_a_picture_of_which_nothing_is_seen_is_black(tmp_path):
    for under in (10, 240):
        Image.fromarray(np.full((5, 6, 4), [under, under, under, 0], np.uint8)).save(
            tmp_path / "a.png"
        )
        assert read(tmp_path / "a.png").pixels.max() == 0


def test_half_transparent_colours_stay():
    alpha = np.full((4, 4), 1, np.uint8)
    assert hidden.visible(alpha, None) is None
    assert hidden.visible(None, None) is None
