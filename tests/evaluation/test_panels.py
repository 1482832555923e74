"""Figures: what is drawn where, which crops are chosen, and ``neid compare`` on tiny pictures."""

import cv2
import numpy as np
import pytest

from neid_tf import pictures
from neid_tf.evaluation import panels
from neid_tf.evaluation.crops import Crop, choose_crops
from neid_tf.evaluation.panels import CELL, COLOURS, FRAME, GAP, LABEL_HEIGHT, Panel
from neid_tf.evaluation.scores import score
from neid_tf.inference import methods
from neid_tf.models import pretrained
from tests.conftest import darkened, flags_restored, picture, write

LABEL_TOP = GAP // 2
PICTURE_TOP = LABEL_TOP + LABEL_HEIGHT
GRAY = np.full((40, 80, 3), 90, np.uint8)


def halves():
    """Return 40×80: the left half red, the right half blue."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40], pixels[:, 40:] = (200, 0, 0), (0, 0, 200)
    return pixels


def test_pictures_are_scaled_to_their_cells_in_rows():
    drawn = panels.figure([Panel(str(i), GRAY) for i in range(3)], columns=2)
    height = LABEL_HEIGHT + CELL // 2 + GAP + GAP // 2
    width = CELL + 2 * (GAP // 2)
    assert drawn.shape == (2 * height, 2 * width, 3)
    assert drawn.dtype == np.uint8
    expected = np.full_like(drawn, 255)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        top, left = row * height + PICTURE_TOP, column * width + GAP // 2
        expected[top : top + CELL // 2, left : left + CELL] = 90
    labels = np.any(drawn != expected, axis=(1, 2))
    in_labels = (np.arange(2 * height) % height - LABEL_TOP) // LABEL_HEIGHT == 0
    assert labels.any()
    assert not labels[~in_labels].any()
    assert (drawn[height:, width:] == 255).all()


@pytest.mark.parametrize(("count", "across"), [(1, 1), (5, 5), (6, 3), (7, 4), (10, 5)])
def test_columns_make_rows_of_about_one_length(count, across):
    drawn = panels.figure([Panel("x", GRAY)] * count)
    assert drawn.shape[1] == across * (CELL + 2 * (GAP // 2))


def test_a_high_picture_is_centred_and_not_stretched():
    drawn = panels.figure([Panel("x", GRAY.transpose(1, 0, 2))])
    shown = np.all(drawn[PICTURE_TOP : PICTURE_TOP + CELL] == 90, axis=(0, 2))
    first, last = np.flatnonzero(shown)[[0, -1]]
    assert last - first + 1 == shown.sum() == CELL // 2
    assert first == drawn.shape[1] - 1 - last


def test_labels_differ_and_stay_inside():
    one, two = panels.label("LIME"), panels.label("BIMEF")
    assert one.shape == two.shape == (LABEL_HEIGHT, CELL, 3)
    assert (one != two).any()
    for text in ("LIME  16.76 dB / 0.560", "_" * 60):
        dark = np.any(panels.label(text) < 128, axis=2)
        assert dark.any()
        assert not dark[:, [0, -1]].any()
        assert not dark[[0, -1]].any()


def test_crops_show_their_pixels_below_and_their_frames_above():
    crops = [Crop(0, 0, 20, 20), Crop(10, 50, 20, 20)]
    drawn = panels.figure([Panel("x", halves())], crops)
    top = PICTURE_TOP + CELL // 2 + GAP
    room = (CELL - GAP) // 2
    assert drawn.shape[0] == top + room + GAP
    for crop, colour, inside in zip(crops, COLOURS, ([200, 0, 0], [0, 0, 200]), strict=False):
        left = GAP // 2 + crops.index(crop) * (room + GAP)
        zoomed = drawn[top : top + room, left : left + room]
        assert (zoomed[FRAME:-FRAME, FRAME:-FRAME] == inside).all()
        assert (zoomed[:FRAME] == colour).all()
        assert (zoomed[:, -FRAME:] == colour).all()
        corner = drawn[PICTURE_TOP + 4 * crop.top, GAP // 2 + 4 * crop.left]
        assert tuple(corner) == colour
        before = drawn[PICTURE_TOP + 4 * crop.top, : GAP // 2 + 4 * crop.left - 2 * FRAME]
        assert not np.all(before == colour, axis=1).any()
        middle = drawn[PICTURE_TOP + 4 * crop.top + 40, GAP // 2 + 4 * crop.left + 40]
        assert list(middle) == inside


def test_a_crop_is_enlarged_without_new_values():
    pixels = picture(30, 40)
    drawn = panels.figure([Panel("x", pixels)], [Crop(3, 5, 7, 4)])
    top = PICTURE_TOP + CELL * 3 // 4 + GAP + FRAME
    left = (drawn.shape[1] - round((CELL - 2 * FRAME) * 4 / 7)) // 2
    zoomed = drawn[top : top + CELL - 2 * FRAME, left : -left - 1]
    step = (CELL - 2 * FRAME) / 7
    rows, columns = (((np.arange(n) + 0.5) * step).astype(int) for n in (7, 4))
    np.testing.assert_array_equal(zoomed[rows][:, columns], pixels[3:10, 5:9])


def test_chosen_crops_are_the_detailed_squares_dark_first():
    guide = np.full((96, 192, 3), 40, np.uint8)
    guide[:, 96:] = 80
    rows = np.arange(96) % 8 < 4
    guide[32:48, 16:32][rows[32:48]] += 40
    guide[48:64, 144:160][rows[48:64]] += 80
    guide[0:16, 40:56][rows[0:16]] += 20
    dark, bright = choose_crops(guide)
    assert dark == (32, 16, 16, 16)
    assert bright == (48, 144, 16, 16)
    assert len(choose_crops(guide, 4)) == 4


def test_chosen_crops_lie_inside_and_apart():
    for height, width in ((1, 1), (3, 50), (20, 24), (61, 97), (200, 33)):
        guide = picture(height, width)
        taken = np.zeros((height, width), int)
        chosen = choose_crops(guide, 3)
        assert chosen
        for crop in chosen:
            crop.of(guide)
            crop.of(taken)[:] += 1
        assert taken.max() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Panel("x", GRAY.astype(float)), "float64"),
        (lambda: Panel("x", GRAY[..., 0]), r"\(40, 80\)"),
        (lambda: panels.figure([]), "none"),
        (lambda: panels.figure([Panel("a", GRAY), Panel("b", GRAY[1:])]), "39"),
        (lambda: panels.figure([Panel("a", GRAY)], columns=0), "0"),
        (lambda: panels.figure([Panel("a", GRAY)], [Crop(0, 0, 9, 9)] * 5), "not 5"),
        (lambda: panels.figure([Panel("a", GRAY)], [Crop(35, 0, 9, 9)]), "35,0,9,9.*80×40"),
        (lambda: panels.figure([Panel("a", GRAY)], [Crop(0, -1, 9, 9)]), "0,-1,9,9"),
        (lambda: panels.figure([Panel("a", GRAY)], [Crop(-1, 0, 9, 9)]), "-1,0,9,9"),
        (lambda: panels.figure([Panel("a", GRAY)], [Crop(0, 0, 9, 0)]), "0,0,9,0"),
        (lambda: panels.stack([]), "no figures"),
    ],
)
def test_mistakes_are_value_errors_that_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_compare_scores_all_but_the_reference():
    bright = picture(24, 32)
    dark = darkened(bright)
    lifted = np.minimum(dark.astype(int) * 2, 255).astype(np.uint8)
    shown = panels.compare(dark, {"twice": lambda _: lifted}, bright)
    for panel, name, pixels in zip(shown, ("Input", "twice"), (dark, lifted), strict=False):
        scores = score(bright, pixels)
        assert panel.label == f"{name}  {scores['psnr']:.2f} dB / {scores['ssim']:.3f}"
        np.testing.assert_array_equal(panel.pixels, pixels)
    assert shown[2].label == "Reference"
    assert [panel.label for panel in panels.compare(dark, {})] == ["Input"]


def test_stack_pads_with_white():
    stacked = panels.stack([GRAY, GRAY[:10, :30]])
    assert stacked.shape == (50, 80, 3)
    assert (stacked[40:, 30:] == 255).all()
    assert (stacked[40:, :30] == 90).all()


def drawn_methods(monkeypatch):
    """Return the list that the labels of every figure drawn from now on are put into."""
    labels, figure = [], panels.figure

    def recorded(shown, *options, **more):
        labels.append([panel.label.split()[0] for panel in shown])
        return figure(shown, *options, **more)

    monkeypatch.setattr(panels, "figure", recorded)
    return labels


def test_neid_compare_draws_all_methods(neid, tmp_path, weights_file, monkeypatch):
    labels = drawn_methods(monkeypatch)
    source = write(tmp_path / "dark.png", darkened(picture(40, 56)))
    bright = write(tmp_path / "bright.png", picture(40, 56))
    target = tmp_path / "new" / "figure.png"
    options = [f"--output={target}", f"--weights={weights_file}", f"--reference={bright}"]
    code, _, err = neid("compare", source, *options)
    assert (code, err) == (0, "")
    classical = ["BIMEF", "CRM", "Dong", "LIME", "MF", "MSR", "NPE"]
    assert labels == [["Input", *classical, "NEID", "Reference"]]
    assert cv2.imread(str(target)).shape[1] == 5 * (CELL + 2 * (GAP // 2))


def test_neid_compare_draws_what_the_library_draws(neid, tmp_path):
    dark = darkened(picture(40, 56))
    source = write(tmp_path / "dark.png", dark)
    target = tmp_path / "figure.png"
    target.write_bytes(b"old")
    options = ["--methods=lime", "--zoom=4,8,10,20", "--zoom=20,30,10,10", "--overwrite"]
    assert neid("compare", source, f"--output={target}", *options)[0] == 0
    assert neid("enhance", source, f"--output={tmp_path / 'lime.png'}", "--method=lime")[0] == 0
    lime = pictures.read(tmp_path / "lime.png").pixels
    crops = [Crop(4, 8, 10, 20), Crop(20, 30, 10, 10)]
    expected = panels.figure([Panel("Input", dark), Panel("LIME", lime)], crops)
    np.testing.assert_array_equal(pictures.read(target).pixels, expected)


def test_neid_compare_draws_a_network_with_several_weights(neid, tmp_path, monkeypatch):
    """Each weights' picture has their name; what is named twice is drawn once."""
    given = {"neid_s": 1, "b.npz": 2, "glad.npz": 3, "": 4}
    monkeypatch.setattr(methods, "check", lambda *of, **more: None)
    monkeypatch.setattr(methods, "load", lambda name, file, **_: lambda low: low + given[file])
    drawn, figure = [], panels.figure
    monkeypatch.setattr(panels, "figure", lambda shown, *rest: drawn.append(shown) or figure(shown))
    source = write(tmp_path / "dark.png", dark := darkened(picture(20, 24)))
    named = "neid,lime,neid=b.npz,glad=glad.npz,lime"
    options = [f"--output={tmp_path / 'f.png'}", f"--methods={named}", "--weights=neid_s"]
    code, _, err = neid("compare", source, *options)
    assert (code, err) == (0, "")
    labels = ["Input", "NEID neid_s", "LIME", "NEID b.npz", "GLAD"]
    assert [panel.label for panel in drawn[0]] == labels
    for panel, more in zip(drawn[0], (0, 1, 4, 2, 3), strict=True):
        np.testing.assert_array_equal(panel.pixels, dark + more)


def test_neid_compare_shows_16_bits_as_8(neid, tmp_path):
    deep = darkened(picture(20, 24)).astype(np.uint16) * 257
    source, target = write(tmp_path / "deep.png", deep), tmp_path / "figure.png"
    assert neid("compare", source, f"--output={target}", "--methods=mf")[0] == 0
    assert pictures.read(target).pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--output=f.png"], 2, "not 0"),
        (["a.png", "b.png", "--output=f.png"], 2, "not 2"),
        (["a.png"], 2, "--output is missing"),
        (["a.png", "--output=f.txt"], 2, "f.txt"),
        (["a.png", "--output=f.png", "--methods=lime,magic"], 2, "magic"),
        (["a.png", "--output=f.png", "--methods=neid,lime=b.npz"], 2, "lime has no weights"),
        (["a.png", "--output=f.png", "--methods=lime", "--weights=neid_s"], 2, "--weights is for"),
        (["d.png", "--output=f.png", "--reference=d.png"], 1, "d.png: 24×10, scores take at least"),
        (["a.png", "--output=f.png", "--methods="], 2, "--methods is missing"),
        (["a.png", "--output=f.png", "--zoom=1,2,3"], 2, "1,2,3"),
        (["none.png", "--output=f.png", *["--zoom=0,0,9,9"] * 5], 2, "5 times"),
        (["a.png", "--output=f.png", "--zoom=1,2,3,-4"], 2, "1,2,3,-4"),
        (["a.png", "--output=f.png", "--zoom=0,20,9,9", "--weights=none.npz"], 1, "0,20,9,9"),
        (["a.png", "--output=f.png", "--reference=b.png"], 1, "b.png: 30×20, but a.png is 24×20"),
        (["none.png", "--output=f.png"], 1, "none.png"),
        (["a.png", "--output=f.png", "--weights=none.npz"], 1, "none.npz"),
        (["a.png", "--output=b.png"], 1, "--overwrite"),
        (["a.png", "--output=a.png", "--overwrite"], 1, "is an input"),
        (["a.png", "--output=c.png", "--reference=c.png", "--overwrite"], 1, "is an input"),
    ],
)
def test_mistakes_write_nothing(neid, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.png", darkened(picture(20, 24)))
    for name, width in (("b.png", 30), ("c.png", 24)):
        write(tmp_path / name, picture(20, width))
    write(tmp_path / "d.png", picture(10, 24))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    got, _, err = neid("compare", *arguments)
    assert got == code, err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_weights_that_are_missing_are_named_before_any_are_loaded(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods, "load", lambda *given, **more: pytest.fail("loaded"))
    write(tmp_path / "a.png", darkened(picture(20, 24)))
    code, _, err = neid("compare", "a.png", "--output=f.png", "--methods=lime,neid,neid=none.npz")
    assert code == 1
    assert "none.npz" in err


def figures_main(output, *arguments):
    from absl import flags

    from experiments import figures

    flags.FLAGS(["figures", f"--output={output}", *map(str, arguments)])
    with flags_restored():
        figures.main([])


def test_the_papers_figures(tmp_path, monkeypatch, weights_file):
    labels = drawn_methods(monkeypatch)
    for name in ("13", "15", "82", "1"):  # All but the last are in the list of what is unseen.
        for side in ("low", "high"):
            write(tmp_path / "lol" / side / f"{name}.png", picture(24, 36))
    options = [f"--data={tmp_path / 'lol'}", "--rows=2", f"--weights={weights_file}"]
    figures_main(tmp_path / "out", "--figure=5", "--also=bimef", *options)
    shown = ["LIME", "MF", "Retinex-Net", "GLAD", "BIMEF", "NEID", "Reference"]
    assert labels == [[f"{n}:", *shown] for n in ("13", "15", "82")]
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["figure5-1.png", "figure5-2.png"]
    heights = [cv2.imread(str(file)).shape[0] for file in files]
    assert heights[0] == 2 * heights[1]


def test_figures_without_reference_and_of_chosen_pictures(tmp_path, monkeypatch, weights_file):
    labels = drawn_methods(monkeypatch)
    monkeypatch.setattr(pretrained, "rivals", tuple)  # Networks take their time to start.
    for name in ("a", "b"):
        write(tmp_path / "dicm" / f"{name}.png", picture(24, 36))
    options = [f"--data={tmp_path / 'dicm'}", f"--weights={weights_file}"]
    figures_main(tmp_path / "out", "--figure=8", "--pictures=b", *options)
    assert labels == [["b:", "LIME", "MF", "NEID"]]
    with pytest.raises(ValueError, match="'c'"):
        figures_main(tmp_path / "out", "--figure=8", "--pictures=c", *options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        figures_main(tmp_path / "out", "--figure=8", f"--data={tmp_path / 'empty'}")
