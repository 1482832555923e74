import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from neid_tf.evaluation import report, scores
from tests.conftest import darkened, picture

REFERENCE = picture(40, 53, 4)
OUTPUT = np.clip(REFERENCE + np.random.default_rng(0).normal(0, 20, REFERENCE.shape), 0, 255)
OUTPUT = OUTPUT.astype(np.uint8)


def test_scores_agree_with_scikit_image():
    found = scores.score(REFERENCE, OUTPUT)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(REFERENCE, OUTPUT, data_range=255, channel_axis=2, **options)
    assert found["ssim"] == pytest.approx(expected, abs=1e-6)
    expected = peak_signal_noise_ratio(REFERENCE, OUTPUT, data_range=255)
    assert found["psnr"] == pytest.approx(expected, abs=1e-6)


def test_ssim_gray_is_on_luminance():
    gray = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (REFERENCE, OUTPUT)]
    assert scores.score(REFERENCE, OUTPUT)["ssim_gray"] == pytest.approx(
        scores.ssim(*gray), abs=2e-3
    )


def test_a_brightness_shift_costs_psnr_but_not_with_gt_mean():
    base = (REFERENCE * 0.5 + 20).astype(np.uint8)
    shifted = np.rint(base * 1.4).astype(np.uint8)
    found = scores.score(base, shifted)
    assert found["psnr"] < 20
    assert found["psnr_gt_mean"] > 40


def test_small_errors_are_not_hidden():
    one_off = REFERENCE.copy()
    one_off[0, 0, 0] ^= 1
    assert np.isfinite(scores.psnr(REFERENCE, one_off))
    assert scores.psnr(REFERENCE, one_off) > 80
    assert scores.psnr(REFERENCE, REFERENCE) == float("inf")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (OUTPUT[:-1], r"\(39, 53, 3\)"),
        (OUTPUT.astype(np.float32), r"\[0, 1\]"),
        (OUTPUT.astype(np.int64), "int64"),
    ],
)
def test_bad_pictures(output, message):
    with pytest.raises(ValueError, match=message):
        scores.score(REFERENCE, output)


@pytest.mark.parametrize("score", [scores.psnr, scores.ssim])
@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda p: p / 255.0, "uint8, 0 to 255, not float64"),
        (lambda p: p.astype(np.uint16) * 257, "not uint16"),
        (lambda p: np.full(p.shape, np.nan), "not float64"),
        (lambda p: p[..., :1], r"\(40, 53, 1\)"),
        (lambda p: p[None], r"\(1, 40, 53, 3\)"),
        (lambda p: p[:0], r"\(0, 53\)"),
    ],
)
def test_single_scores_refuse_what_is_no_picture_of_8_bits(score, convert, message):
    with pytest.raises(ValueError, match=message):
        score(convert(REFERENCE), convert(OUTPUT))
    for pair in ((REFERENCE, OUTPUT[:1]), (REFERENCE, OUTPUT[..., 0])):
        with pytest.raises(ValueError, match="its reference"):
            score(*pair)


def test_ssim_needs_a_whole_window():
    with pytest.raises(ValueError, match="at least 11×11"):
        scores.ssim(REFERENCE[:10], OUTPUT[:10])


def test_white_may_be_1_or_255_or_65535():
    expected = scores.score(REFERENCE, OUTPUT)
    for scaled in (
        [p / 255.0 for p in (REFERENCE, OUTPUT)],
        [p.astype(np.float32) / 255 for p in (REFERENCE, OUTPUT)],
        [p.astype(np.uint16) * 257 for p in (REFERENCE, OUTPUT)],
    ):
        assert scores.score(*scaled) == expected
        assert scores.score(scaled[0], OUTPUT) == expected


def test_report(tmp_path):
    rows = [(str(i), darkened(picture(24, 36, i)), picture(24, 36, i)) for i in range(3)]
    made = report.evaluate(rows, lambda low: np.clip(low * 4, 0, 255), save=tmp_path)
    assert [image["name"] for image in made["images"]] == ["0", "1", "2"]
    for name in ("psnr", "ssim", "ssim_gray", "psnr_gt_mean"):
        values = [image[name] for image in made["images"]]
        assert made["mean"][name] == pytest.approx(np.mean(values))
    assert "255" in made["protocol"]["psnr"]
    saved = cv2.imread(str(tmp_path / "1.png"))[..., ::-1]
    assert scores.score(rows[1][2], saved)["psnr"] == made["images"][1]["psnr"]


def test_pictures_that_equal_their_reference_are_told_and_not_in_the_mean():
    rows = [(str(i), darkened(picture(24, 36, i)), picture(24, 36, i)) for i in range(3)]
    rows[1] = ("1", rows[1][2], rows[1][2])
    made = report.evaluate(rows)
    assert made["images"][1]["psnr"] == np.inf
    others = [made["images"][number]["psnr"] for number in (0, 2)]
    assert made["mean"]["psnr"] == pytest.approx(np.mean(others))
    shown = report.table(made | {"method": {"name": "a"}, "controls": {}})
    assert " PSNR: 1 infinite (equal pictures), left out of the mean." in shown
    assert report.evaluate(rows[1:2])["mean"]["psnr"] == np.inf


def test_what_is_traced_for_each_size_is_timed_the_second_time():
    done = []

    def method(low):
        done.append(low.shape)
        return low

    rows = [("", picture(height, 30), picture(height, 30)) for height in (20, 24, 20)]
    report.evaluate(rows, method, traced=True)
    assert [shape[0] for shape in done] == [20, 20, 24, 24, 20]
    done.clear()
    report.evaluate(rows, method)
    assert len(done) == 3


def test_ceiling_of_half_size():
    for size in ((40, 52), (41, 53)):
        reference = picture(*size, 5)
        back = report.half_and_back(reference)
        assert back.shape == reference.shape
        assert 30 < scores.psnr(reference, back) < 60


def test_report_without_references():
    rows = [(str(i), darkened(picture(24, 36, i)), None) for i in range(2)]
    made = report.evaluate(rows, lambda low: np.clip(low * 4, 0, 255))
    assert [set(image) for image in made["images"]] == [
        {"name", "niqe", "brightness", "contrast", "megapixels", "seconds"}
    ] * 2
    assert made["mean"]["niqe"] is None  # too small
    shown = report.table(made | {"method": {"name": "a"}, "controls": {}})
    assert shown.endswith("2 pictures. NIQE: without 2 that have none.")
    dark = report.evaluate(rows)["mean"]
    assert made["mean"]["brightness"] == pytest.approx(4 * dark["brightness"], rel=0.1)
    assert made["mean"]["contrast"] == pytest.approx(4 * dark["contrast"], rel=0.1)
    assert "seconds_per_megapixel" not in dark


@pytest.mark.parametrize("swapped", [1, -1])
def test_references_are_there_for_all_or_for_none(swapped):
    rows = [("dusk", OUTPUT, REFERENCE), ("dawn", OUTPUT, None)][::swapped]
    for made in (report.evaluate, report.controls):
        with pytest.raises(ValueError, match="dawn: has no reference, but dusk has one"):
            made(rows)


def test_errors_name_the_picture():
    with pytest.raises(ValueError, match=r"dusk: the output is \(39, 53, 3\)"):
        report.evaluate([("dusk", OUTPUT[:-1], REFERENCE)])


def test_ceiling_of_a_16_bit_reference_is_that_of_8_bits():
    expected = report.half_and_back(REFERENCE)
    deep = report.half_and_back(REFERENCE.astype(np.uint16) * 257)
    np.testing.assert_allclose(deep, expected, atol=1)


def test_ceiling_is_one_halving_and_its_like():
    """The bicubic of the paper both ways (a = −0.5), not OpenCV's."""
    import tensorflow as tf

    pixels = REFERENCE[:40, :52] / np.float32(255)
    for shape in ((20, 26), (40, 52)):
        pixels = tf.image.resize(pixels, shape, method="bicubic", antialias=True)
        pixels = np.clip(pixels, 0, 1) if shape == (20, 26) else pixels
    expected = np.rint(np.clip(pixels, 0, 1) * 255)
    got = report.half_and_back(REFERENCE[:40, :52])
    assert np.abs(got - expected).max() <= 1
