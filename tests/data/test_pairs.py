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


def test_validation_list():
    names = pairs.validation_names()
    assert len(names) == 50
    assert {"12", "777"} <= names
    # LoL's own test pictures are not among the training pairs at all.
    assert not names & {"1", "22", "23", "55", "79", "111", "146", "179", "493", "547", "665"}


def test_hold_out(pairs_folder, tmp_path):
    loaded = pairs.load_pairs(pairs_folder)
    names = tmp_path / "names.txt"
    names.write_text("2 5\n")
    training, held = pairs.hold_out(loaded, str(names))
    assert training.names == ("1", "3", "4", "6")
    assert held.names == ("2", "5")
    assert held.low[1] is loaded.low[4]
    assert len(pairs.hold_out(loaded, "none")[1]) == 0
    assert len(pairs.hold_out(loaded, str(pairs_folder))[1]) == 6
    with pytest.raises(ValueError, match="nowhere"):
        pairs.hold_out(loaded, "nowhere")
    names.write_text("1 2 3 4 5 6")
    with pytest.raises(ValueError, match="all 6 pairs"):
        pairs.hold_out(loaded, str(names))
