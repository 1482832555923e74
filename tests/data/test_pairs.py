import cv2
import numpy as np
import pytest

from neid_tf.data import pairs
from tests.conftest import picture, write


def test_pairs_are_matched_by_stem_in_the_order_of_numbers(tmp_path):
    for stem in ("10", "9", "a"):
        write(tmp_path / "low" / f"{stem}.png", picture(12, 12))
        write(tmp_path / "high" / f"{stem}.bmp", picture(12, 12))
    (tmp_path / "low" / "notes.txt").write_text("not a picture")
    assert [name for name, *_ in pairs.find_pairs(tmp_path)] == ["9", "10", "a"]


def test_load(pairs_folder):
    loaded = pairs.load_pairs(pairs_folder, smallest=48)
    assert loaded.names == ("1", "2", "3", "4", "5", "6")
    assert loaded.high[0].shape == (48, 64, 3)
    np.testing.assert_array_equal(loaded.high[0], picture(48, 64, seed=1))
    assert loaded.low[0].mean() < loaded.high[0].mean() / 3


def test_pictures_of_floats_are_loaded_as_16_bits(tmp_path):
    floats = picture(12, 12).astype(np.float32) / 255
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
        assert cv2.imwrite(str(tmp_path / side / "1.tif"), floats[..., ::-1])
    [(_, low, _)] = pairs.load_pairs(tmp_path)
    assert low.dtype == np.uint16
    np.testing.assert_array_equal(low, picture(12, 12).astype(np.uint16) * 257)
    [(_, *paths)] = pairs.find_pairs(tmp_path)
    np.testing.assert_array_equal(pairs.load_pair(*paths)[0], low)


def test_all_problems_come_at_once(pairs_folder):
    (pairs_folder / "low" / "2.png").write_bytes(b"")
    (pairs_folder / "high" / "3.png").write_text("text, not a picture")
    write(pairs_folder / "low" / "4.png", picture(50, 56))
    for side in ("low", "high"):
        write(pairs_folder / side / "5.png", picture(20, 64))
    with pytest.raises(pairs.DataError) as caught:
        pairs.load_pairs(pairs_folder, smallest=32)
    message = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in ("low/2.png", "high/3.png", "56×50", "56×48", "64×20", "crop of 32"):
        assert part in message


def test_missing_partners(pairs_folder):
    (pairs_folder / "high" / "1.png").unlink()
    (pairs_folder / "low" / "6.png").unlink()
    with pytest.raises(pairs.DataError) as caught:
        pairs.load_pairs(pairs_folder)
    assert len(caught.value.problems) == 2
    assert "low/1.png: no partner" in str(caught.value)
    assert "high/6.png: no partner" in str(caught.value)


def test_two_files_of_one_stem(pairs_folder):
    write(pairs_folder / "low" / "1.bmp", picture(48, 64))
    with pytest.raises(pairs.DataError, match=r"1\.bmp has the same stem|1\.png: 1\.bmp"):
        pairs.find_pairs(pairs_folder)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(pairs.DataError, match="low: no such folder"):
        pairs.load_pairs(tmp_path)
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
    with pytest.raises(pairs.DataError, match="no pictures"):
        pairs.load_pairs(tmp_path)


def test_a_missing_partner_does_not_hide_what_else_is_wrong(pairs_folder):
    (pairs_folder / "high" / "1.png").unlink()
    (pairs_folder / "low" / "2.png").write_bytes(b"")
    write(pairs_folder / "low" / "3.png", picture(50, 64))
    for read in (pairs.load_pairs, pairs.check_pairs):
        with pytest.raises(pairs.DataError) as caught:
            read(pairs_folder)
        assert len(caught.value.problems) == 3
        for part in ("low/1.png: no partner", "low/2.png", "64×50"):
            assert part in str(caught.value)


def test_checked_pairs_are_decoded_one_by_one(pairs_folder):
    loaded = pairs.load_pairs(pairs_folder)
    for (name, *paths), row in zip(pairs.check_pairs(pairs_folder), loaded, strict=True):
        assert name == row[0]
        for pixels, expected in zip(pairs.load_pair(*paths), row[1:], strict=True):
            np.testing.assert_array_equal(pixels, expected)
