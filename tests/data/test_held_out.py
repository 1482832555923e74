import re

import numpy as np
import pytest
from PIL import Image

from neid_tf.data import held_out, pairs
from tests.conftest import picture


def test_validation_list():
    names = held_out.validation_names()
    assert len(names) == 50
    assert {"12", "777"} <= names
    # LoL's own test pictures are not among the training pairs at all.
    assert not names & {"1", "22", "23", "55", "79", "111", "146", "179", "493", "547", "665"}


def test_hold_out(pairs_folder, tmp_path):
    loaded = pairs.load_pairs(pairs_folder)
    names = tmp_path / "names.txt"
    names.write_text("2 5\n")
    training, held = held_out.hold_out(loaded, str(names))
    assert training.names == ("1", "3", "4", "6")
    assert held.names == ("2", "5")
    assert held.low[1] is loaded.low[4]
    assert len(held_out.hold_out(loaded, "none")[1]) == 0
    with pytest.raises(ValueError, match="6 of its pictures are trained on, such as '1'"):
        held_out.hold_out(loaded, str(pairs_folder))
    for side in ("low", "high"):
        (tmp_path / "other" / side).mkdir(parents=True)
        with Image.open(pairs_folder / side / "3.png") as image:
            image.rotate(180).save(tmp_path / "other" / side / "3.png")
    assert held_out.hold_out(loaded, str(tmp_path / "other"))[1].names == ("3",)
    with pytest.raises(ValueError, match="nowhere"):
        held_out.hold_out(loaded, "nowhere")
    names.write_text("1 2 3 4 5 6")
    with pytest.raises(ValueError, match="all 6 pairs"):
        held_out.hold_out(loaded, str(names))


def named(*names):
    pixels = (picture(12, 12),) * len(names)
    return pairs.Pairs(names, pixels, pixels)


NAMES = ("a", "photo two", "photo #3", "v1.2", "4", "5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n4\n", {"a", "4"}),
        ("a.png\nv1.2.JPG\n", {"a", "v1.2"}),
        ("photo two\nphoto #3\n", {"photo two", "photo #3"}),
        ("photo two.tif", {"photo two"}),
        ("# a comment\n4 5  # and its like\n\n", {"4", "5"}),
        ("\ufeffv1.2\r\n a \r\n", {"v1.2", "a"}),
    ],
)
def test_lists_of_names(tmp_path, text, expected):
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode())
    assert held_out.names_in(str(path), NAMES) == expected


def test_a_name_written_with_other_code_points(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("u\u0308n\n", "utf-8")
    assert held_out.names_in(str(path), ["\u00fcn", "b"]) == {"\u00fcn"}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("a\nb.png\n", ["b.png"]),
        ("photo three\n", ["photo three"]),
        ("a b c", ["b", "c"]),
        ("4\nA\n", ["A"]),
    ],
)
def test_what_matches_nothing_is_named(tmp_path, text, missing):
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(pairs.DataError) as caught:
        held_out.hold_out(named(*NAMES), str(path))
    expected = tuple(f"no picture is called {name!r}" for name in missing)
    assert caught.value.problems == expected
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe"])
def test_a_list_that_names_nothing_is_an_error(tmp_path, content):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        held_out.hold_out(named(*NAMES), str(path))


def test_the_projects_list_is_for_lols_own_pairs_alone():
    names = held_out.validation_names()
    others = [str(number) for number in range(1, 800) if str(number) not in names]
    lol = named(*names, *others[: held_out.LOL_PAIRS - len(names)])
    assert set(held_out.hold_out(lol, "auto")[1].names) == names
    stranger = named(*names, *others[:100])
    assert len(held_out.hold_out(stranger, "auto")[1]) == 0
    with pytest.raises(pairs.DataError, match="no picture is called '12'") as caught:
        held_out.hold_out(named(*NAMES), "lol")
    told = str(caught.value)
    assert "lol: 50 problem(s)" in told
    assert "and 40 more" in told


@pytest.mark.parametrize(("count", "share", "held"), [(40, 0.1, 4), (6, 0.1, 1), (100, 0.25, 25)])
def test_a_share_is_held_out_in_blocks(count, share, held):
    names = tuple(str(number) for number in range(count))
    training, validation = held_out.hold_out(named(*names), str(share))
    assert (len(training), len(validation)) == (count - held, held)
    numbers = np.array([int(name) for name in validation.names])
    assert (np.diff(numbers) > 1).sum() == -(-held // 5) - 1  # blocks of five
    assert held_out.hold_out(named(*names), str(share))[1].names == validation.names


@pytest.mark.parametrize("share", ["0", "1", "1.5", "-0.1", "nan"])
def test_no_share(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_out.hold_out(named(*NAMES), share)
