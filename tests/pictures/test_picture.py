"""Reading and writing picture files: what was in comes out, and a failed write leaves no trace."""

import ast
import errno
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from neid_tf import pictures
from neid_tf.pictures import Picture, PictureError, raster, read, write
from tests.pictures.picture_files import noise, shown, smooth

MODULES = sorted(pathlib.Path(pictures.__file__).parent.glob("*.py"))


def picture(channels=3, dtype=np.uint8, **fields):
    """A Picture of noise with 1 to 4 channels."""
    samples = noise(13, 17, channels, dtype)
    gray = channels < 3
    colours = np.repeat(samples[..., :1], 3, axis=-1) if gray else samples[..., :3]
    alpha = samples[..., -1].copy() if channels in (2, 4) else None
    return Picture(colours.copy(), alpha, gray, **fields)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".tif", np.uint8),
        (".TIFF", np.uint16),
        (".bmp", np.uint8),
        (".webp", np.uint8),
    ],
)
def test_lossless_round_trip_is_exact(suffix, dtype, channels, tmp_path, capfd):
    original = picture(channels, dtype)
    path = tmp_path / f"bild ü 夜 {channels}{suffix}"
    write(path, original)
    back = read(path)
    alpha = 1 if original.alpha is None else original.alpha
    expected = shown(original.pixels, np.broadcast_to(alpha, original.pixels.shape[:2]))
    seen = np.broadcast_to(1 if back.alpha is None else back.alpha, back.pixels.shape[:2])
    np.testing.assert_array_equal(shown(back.pixels, seen), expected, strict=True)
    assert (back.alpha is None) == (original.alpha is None)
    if original.alpha is not None:
        np.testing.assert_array_equal(back.alpha, original.alpha, strict=True)
    keeps_gray = suffix != ".webp" and (suffix, channels) != (".bmp", 2)
    assert back.gray == (original.gray and keeps_gray)
    assert back.lossless
    assert os.listdir(tmp_path) == [path.name]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close_with_full_colour_resolution(channels, dtype, tmp_path):
    pixels = smooth() if channels == 3 else np.repeat(smooth()[..., :1], 3, axis=-1)
    pixels[:, 32:] = pixels[:, 32:, ::-1]
    original = Picture(pixels.astype(dtype) * (257 if dtype == np.uint16 else 1), gray=channels < 3)
    write(tmp_path / "a.JPG", original)
    back = read(tmp_path / "a.JPG")
    assert (back.format, back.gray, back.lossless) == ("JPEG", channels < 3, False)
    assert np.abs(back.pixels.astype(int) - pixels).mean() < 1.5
    with Image.open(tmp_path / "a.JPG") as image:
        assert image.mode == {1: "L", 3: "RGB"}[channels]
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}
        assert max(image.quantization[0]) < 13  # quality 95


def test_16_bits_are_rounded_to_8_not_cut(tmp_path):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    write(tmp_path / "a.bmp", Picture(np.repeat(levels[..., None], 3, axis=-1)))
    expected = np.floor(levels / 257 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(read(tmp_path / "a.bmp").pixels[..., 1], expected)


def test_no_alpha_in_jpeg_means_white_paper(tmp_path):
    pixels = np.full((16, 16, 3), 40, np.uint8)
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8, :8], alpha[8:, 8:] = 0, 102
    for gray in (False, True):
        write(tmp_path / "a.jpg", Picture(pixels, alpha, gray))
        back = read(tmp_path / "a.jpg").pixels[::8, ::8, 0].astype(int)
        np.testing.assert_allclose(back, [[255, 40], [40, 169]], atol=2)


def test_written_16_bit_files_as_another_library_reads_them(tmp_path):
    cv2 = pytest.importorskip("cv2")
    original = picture(4, np.uint16)
    for suffix in (".png", ".tif"):
        write(tmp_path / f"a{suffix}", original)
        other = cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(other[..., 2::-1], original.pixels)
        np.testing.assert_array_equal(other[..., 3], original.alpha)


def test_content_decides_how_to_read_and_the_suffix_how_to_write(tmp_path):
    original = picture(4)
    write(tmp_path / "a.png", original)
    (tmp_path / "a.png").rename(tmp_path / "wrong.jpg")
    back = read(tmp_path / "wrong.jpg")
    assert back.format == "PNG"
    np.testing.assert_array_equal(back.alpha, original.alpha)
    write(tmp_path / "right.bmp", back)
    assert (tmp_path / "right.bmp").read_bytes()[:2] == b"BM"
    write(tmp_path / "none", back)
    assert (tmp_path / "none").read_bytes()[:4] == b"\x89PNG"


def test_one_pixel_pictures(tmp_path):
    for suffix in sorted(pictures.WRITABLE):
        write(tmp_path / f"a{suffix}", Picture(np.full((1, 1, 3), 77, np.uint8)))
        pixels = read(tmp_path / f"a{suffix}").pixels
        assert pixels.shape == (1, 1, 3)
        # AVIF's quantisation may be one level off.
        assert np.abs(pixels.astype(int) - 77).max() <= (suffix in (".avif", ".avifs")), suffix


@pytest.mark.parametrize("suffix", [".gif", ".txt", ".png~", ".mp4"])
def test_unknown_suffix_is_not_written(suffix, tmp_path):
    with pytest.raises(PictureError, match=r"cannot write a picture with the suffix .*known are"):
        write(tmp_path / f"a{suffix}", picture())
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("place", "error", "reason"),
    [
        ("os.fsync", OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        ("os.replace", PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        ("shutil.copymode", OSError(errno.EROFS, "Read-only file system"), "read-only"),
        ("imagecodecs.png_encode", RuntimeError("a\nb"), "cannot be encoded as PNG: a b"),
        ("imagecodecs.png_encode", MemoryError(), "not enough memory"),
        ("os.fsync", KeyboardInterrupt(), None),
        ("os.replace", KeyboardInterrupt(), None),
    ],
)
def test_failed_write_leaves_the_old_file_and_no_other(place, error, reason, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(place, fail)
    with pytest.raises(PictureError if reason else KeyboardInterrupt, match=reason):
        write(path, picture())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_full_disk_while_writing(tmp_path, monkeypatch):
    real = open

    def full(path, mode):
        file = real(path, mode)
        os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
        return file

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(PictureError, match="no space left on device"):
        write(tmp_path / "a.png", picture())
    assert not os.listdir(tmp_path)


def test_targets_that_are_no_files(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "folder.png", "/dev/null"):
        with pytest.raises(PictureError, match="not a regular file"):
            write(path, picture())
    with pytest.raises(PictureError, match="no such file or directory"):
        write(tmp_path / "none" / "a.png", picture())
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16384), (".jpg", 65536)])
def test_size_that_the_format_cannot_hold(suffix, side, tmp_path):
    with pytest.raises(PictureError, match="cannot be encoded as"):
        write(tmp_path / f"a{suffix}", Picture(np.zeros((1, side, 3), np.uint8)))
    assert not os.listdir(tmp_path)


def test_written_file_has_usual_permissions_or_the_old_ones(tmp_path):
    (tmp_path / "plain").touch()
    write(tmp_path / "new.png", picture())
    assert (tmp_path / "new.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new.png").chmod(0o640)
    write(tmp_path / "new.png", picture(4))
    assert (tmp_path / "new.png").stat().st_mode & 0o777 == 0o640
    assert read(tmp_path / "new.png").alpha is not None


def test_link_is_followed_not_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "there" / "real.png")
    write(tmp_path / "link.png", picture())
    assert (tmp_path / "link.png").is_symlink()
    assert os.listdir(tmp_path / "there") == ["real.png"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_follows_the_enhanced_pixels(dtype):
    original = picture(4, np.uint16)
    top = np.iinfo(dtype).max
    doubled = original.with_pixels(np.zeros((26, 34, 3), dtype))
    assert doubled.alpha.shape == (26, 34)
    assert doubled.alpha.dtype == dtype
    assert abs(doubled.alpha.mean() / top - original.alpha.mean() / 65535) < 0.02
    halved = doubled.alpha.reshape(13, 2, 17, 2).mean(axis=(1, 3)) / top
    assert np.corrcoef(halved.ravel(), original.alpha.ravel())[0, 1] > 0.9
    for level in (0, top, top // 3):
        alpha = raster.resize_alpha(np.full((5, 7), level, dtype), 10, 14)
        assert alpha.dtype == dtype
        assert (alpha == level).all()
    edge = np.repeat(np.array([[0, 0, top, top]], dtype), 4, axis=0)
    assert (np.diff(raster.resize_alpha(edge, 8, 9).astype(int)) >= 0).all()
    bytes_only = picture(4).with_pixels(np.zeros((13, 17, 3), dtype)).alpha
    np.testing.assert_array_equal(bytes_only, picture(4).alpha.astype(int) * top // 255)
    same = original.with_pixels(np.zeros((13, 17, 3), np.uint16))
    np.testing.assert_array_equal(same.alpha, original.alpha)
    assert picture(3).with_pixels(np.zeros((2, 2, 3), dtype)).alpha is None


@pytest.mark.parametrize(
    "fields",
    [
        {"pixels": np.zeros((4, 5), np.uint8)},
        {"pixels": np.zeros((4, 5, 4), np.uint8)},
        {"pixels": np.zeros((0, 5, 3), np.uint8)},
        {"pixels": np.zeros((4, 5, 3), np.float64)},
        {"pixels": np.zeros((4, 5, 3), np.uint8), "alpha": np.zeros((5, 4), np.uint8)},
        {"pixels": np.zeros((4, 5, 3), np.uint8), "alpha": np.zeros((4, 5), np.uint16)},
        {"pixels": np.zeros((4, 5, 3), np.uint8), "format": "PSD"},
    ],
)
def test_impossible_picture_is_refused(fields):
    with pytest.raises(ValueError, match=r"must be .* not "):
        Picture(**fields)


def test_no_tensorflow():
    code = "import sys; from neid_tf import pictures; print(*sys.modules)"
    assert (
        "neid_tf.pictures"
        in subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )
    for module in MODULES:
        names = {
            alias.name
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not names & {"tensorflow", "keras"}


def test_warnings_are_kept_quiet_and_then_as_before(tmp_path):
    write(tmp_path / "a.png", picture())
    logging.getLogger("tifffile").setLevel(logging.WARNING)
    before = warnings.filters[:], logging.WARNING
    threads = [threading.Thread(target=read, args=(tmp_path / "a.png",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(PictureError):
        read(tmp_path / "none")
    assert (warnings.filters[:], logging.getLogger("tifffile").level) == before


def test_error_survives_pickling_and_odd_names():
    error = PictureError("two\nlines.png", "broken")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "two\\nlines.png: broken"
