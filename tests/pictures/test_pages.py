"""Pages of TIFFs and frames of animations: all of them, the main one never a thumbnail."""

import dataclasses
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf import pictures
from neid_tf.pictures import PictureError, decode_all, encode_all, holds_all, left_out, png, read
from tests.pictures.picture_files import chunk, noise, saved, shown

FRAMES = [noise(20, 30, 3, seed=seed) for seed in range(3)]


def animation(name, frames=FRAMES, **options):
    """The bytes of a file of several frames, written by Pillow."""
    images = [Image.fromarray(frame) for frame in frames]
    several = {
        "save_all": True,
        "append_images": images[1:],
        "duration": [100, 200, 300][: len(frames)],
    }
    return saved(images[0], name, **several, **options)


def pages_of(samples, **options):
    """The bytes of a TIFF of these pages, each with its options."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        for number, page in enumerate(samples):
            each = {key: values[number] for key, values in options.items()}
            tiff.write(page, photometric="rgb", metadata=None, contiguous=False, **each)
    return file.getvalue()


def all_of(data):
    """All pictures of a file's content."""
    return list(decode_all("a", data))


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".png", animation("PNG", loop=0)),
        (".webp", animation("WEBP", lossless=True)),
        (".tif", pages_of(FRAMES)),
    ],
)
def test_all_pages_and_frames_come_and_go(suffix, data, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(data)
    main = read(tmp_path / f"a{suffix}")
    assert main.pages == 3
    found = all_of(data)
    for picture, expected in zip(found, FRAMES, strict=True):
        np.testing.assert_array_equal(picture.pixels, expected)
    assert holds_all(f"b{suffix}", main)
    assert not holds_all("b.jpg", main)
    assert "2 of its" in left_out("b.jpg", main)[0]
    brighter = (picture.with_pixels(255 - picture.pixels) for picture in found)
    again = all_of(encode_all(f"b{suffix}", brighter))
    for picture, expected in zip(again, FRAMES, strict=True):
        np.testing.assert_array_equal(picture.pixels, 255 - expected)
    if suffix != ".tif":
        assert [picture.extras.duration for picture in again] == [0.1, 0.2, 0.3]
        with Image.open(io.BytesIO(encode_all(f"b{suffix}", found))) as image:
            assert image.n_frames == 3


def test_frames_behind_an_opaque_one_keep_their_transparency(tmp_path):
    frames = [np.concatenate([frame, np.full_like(frame[..., :1], 255)], -1) for frame in FRAMES]
    frames[1][:10, :, 3] = 0
    (tmp_path / "a.webp").write_bytes(animation("WEBP", frames, lossless=True, exact=True))
    assert (read(tmp_path / "a.webp").alpha == 255).all()
    found = all_of((tmp_path / "a.webp").read_bytes())
    for picture, expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(picture.alpha, expected[..., 3])
    again = all_of(encode_all("b.webp", found))
    assert [picture.alpha.min() for picture in again] == [255, 0, 255]


def test_pages_are_decoded_when_they_are_asked_for(monkeypatch):
    asked = []
    asarray = tifffile.TiffPage.asarray
    monkeypatch.setattr(
        tifffile.TiffPage,
        "asarray",
        lambda page, out: asked.append(page.index) or asarray(page, out=out),
    )
    pages = decode_all("a", pages_of(FRAMES))
    next(pages)
    assert 2 not in asked


def test_pages_of_other_sizes_and_kinds(tmp_path):
    samples = [noise(9, 7, 3), noise(5, 11, 3, np.uint16)]
    data = encode_all("b.tif", all_of(pages_of(samples)))
    for picture, expected in zip(all_of(data), samples, strict=True):
        np.testing.assert_array_equal(picture.pixels, expected, strict=True)


@pytest.mark.parametrize("first", [True, False])
def test_a_reduced_page_is_never_the_picture(first):
    small, full = noise(5, 7, 3), noise(40, 50, 3)
    samples, kinds = ([small, full], [1, 0]) if first else ([full, small], [0, 1])
    picture = pictures.decode("a", pages_of(samples, subfiletype=kinds))
    np.testing.assert_array_equal(picture.pixels, full)
    assert picture.pages == 1
    assert "1 reduced copy of it" in picture.notes[0]


def with_sub_page(full, **options):
    """A TIFF whose only page is a thumbnail, and the picture below it, as cameras write them."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        small = noise(5, 7, 3)
        tiff.write(small, photometric="rgb", metadata=None, subfiletype=1, subifds=1)
        tiff.write(full, metadata=None, **options)
    return file.getvalue()


def test_the_picture_may_lie_below_its_thumbnail():
    full = noise(40, 50, 3)
    picture = pictures.decode("a", with_sub_page(full, photometric="rgb"))
    np.testing.assert_array_equal(picture.pixels, full)


def test_thumbnails_alone_are_no_picture(tmp_path):
    (tmp_path / "a.tif").write_bytes(pages_of(FRAMES[:2], subfiletype=[1, 1]))
    with pytest.raises(PictureError, match="only reduced copies"):
        read(tmp_path / "a.tif")


def test_frames_that_cover_a_part_are_laid_over_the_others():
    base = noise(20, 30, 4)
    base[..., 3] = 255
    images = [Image.fromarray(base)]
    for left in (0, 10, 20):
        part = base.copy()
        part[5:15, left : left + 8, :3] = 255 - part[5:15, left : left + 8, :3]
        images.append(Image.fromarray(part))
    for dispose in (0, 1, 2):
        data = saved(images[0], "PNG", save_all=True, append_images=images[1:], disposal=dispose)
        found = all_of(data)
        assert len(found) == 4
        with Image.open(io.BytesIO(data)) as image:
            for number, picture in enumerate(found):
                image.seek(number)
                expected = np.asarray(image.convert("RGBA"))
                np.testing.assert_array_equal(picture.alpha, expected[..., 3])
                seen = shown(picture.pixels, picture.alpha)
                np.testing.assert_array_equal(seen, shown(expected[..., :3], picture.alpha))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dispose", [0, 1, 2])
def test_what_a_frame_clears_is_seen_through(dispose, channels):
    """Also where the samples have no alpha of their own."""
    whole, part = noise(20, 30, channels), noise(8, 6, channels, seed=1)
    plain = saved(Image.fromarray(whole if channels == 3 else whole[..., 0]), "PNG")
    inner = saved(Image.fromarray(part if channels == 3 else part[..., 0]), "PNG")
    body = dict(png.chunks_of(inner))[b"IDAT"]
    first = chunk(b"fcTL", struct.pack(">5I2H2B", 0, 30, 20, 0, 0, 1, 10, dispose, 0))
    second = chunk(b"fcTL", struct.pack(">5I2H2B", 1, 6, 8, 4, 3, 1, 10, 0, 0))
    second += chunk(b"fdAT", struct.pack(">I", 2) + body)
    at, end = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    head = plain[:at] + chunk(b"acTL", struct.pack(">II", 2, 0)) + first
    found = all_of(head + plain[at:end] + second + plain[end:])
    assert [picture.gray for picture in found] == [channels == 1] * 2
    np.testing.assert_array_equal(found[0].pixels, np.broadcast_to(whole, (20, 30, 3)))
    np.testing.assert_array_equal(found[1].pixels[3:11, 4:10], np.broadcast_to(part, (8, 6, 3)))
    if dispose == 0:
        assert found[0].alpha is found[1].alpha is None
    else:
        expected = np.zeros((20, 30), np.uint8)
        expected[3:11, 4:10] = 255
        np.testing.assert_array_equal(found[0].alpha, 255)
        np.testing.assert_array_equal(found[1].alpha, expected)
    assert pictures.decode("a", encode_all("a.png", found)).pages == 2


def test_gif_frames_become_an_animated_png(tmp_path):
    data = animation("GIF", loop=0)
    found = all_of(data)
    assert [picture.extras.duration for picture in found] == [0.1, 0.2, 0.3]
    assert pictures.written_suffix("a.gif") == ".png"
    assert holds_all("a.png", found[0])
    with Image.open(io.BytesIO(encode_all("a.png", found))) as image:
        assert (image.n_frames, image.info["loop"]) == (3, 0)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(found[0].pixels, expected)


@pytest.mark.parametrize(("told", "plays"), [(None, 1), (0, 0), (1, 2), (65535, 65536)])
def test_a_gif_tells_how_often_it_is_played_again(told, plays):
    data = animation("GIF", **({} if told is None else {"loop": told}))
    found = all_of(data)
    for suffix, most in ((".png", plays), (".webp", min(plays, 65535))):
        with Image.open(io.BytesIO(encode_all(f"a{suffix}", found))) as image:
            assert image.info["loop"] == most


def test_a_gif_that_is_cut_off_behind_a_frame_is_told_of():
    """The file itself says nowhere how many there are."""
    data = animation("GIF")
    assert [picture.notes for picture in all_of(data)] == [()] * 3
    cut = data[: data.rindex(b"\x21\xf9\x04")]
    for end in (b"", b"\x21\xfe\x09;", b"\x21\xfe\x01;"):  # A comment that is cut at a semicolon.
        assert ["it has no end" in picture.notes[0] for picture in all_of(cut + end)] == [True] * 2


@pytest.mark.parametrize("seconds", [0.02, 1 / 60, 12.345, 100.0, 1234.5])
def test_times_of_frames_of_a_png_are_kept(seconds, tmp_path):
    (tmp_path / "a.png").write_bytes(animation("PNG"))
    found = list(decode_all("a", (tmp_path / "a.png").read_bytes()))
    long = (
        dataclasses.replace(p, extras=dataclasses.replace(p.extras, duration=seconds))
        for p in found
    )
    again = all_of(encode_all("b.png", long))
    assert [p.extras.duration for p in again] == pytest.approx([seconds] * 3, rel=1e-3)


def test_the_comment_of_a_moving_gif_comes_with_its_frames():
    data = animation("GIF", comment=b"hello")
    assert pictures.decode("a", data).extras.comments == (b"hello",)
    made = pictures.decode("a", encode_all("a.png", all_of(data)))
    assert (made.pages, made.extras.comments) == (3, (b"hello",))


def test_one_picture_is_all_there_is():
    data = saved(Image.fromarray(FRAMES[0]), "PNG")
    [picture] = all_of(data)
    assert picture.pages == 1
    assert encode_all("b.jpg", [picture])[:2] == b"\xff\xd8"


def test_a_damaged_page_is_named():
    data = bytearray(pages_of(FRAMES))
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        place = tiff.pages[1].tags[273].offset
    struct.pack_into("<I", data, place + 8, 10**9)
    assert pictures.decode("a", bytes(data)).pages == 3
    with pytest.raises(PictureError, match=r"page 2: .*not in the file"):
        all_of(bytes(data))


@pytest.mark.parametrize("field", ["size", "place", "length"])
def test_a_damaged_frame_is_refused(field):
    data = animation("PNG")
    at = data.index(b"fcTL", data.index(b"IDAT"))
    body = bytearray(data[at + 4 : at + 30])
    if field == "length":
        new = chunk(b"fcTL", bytes(body[:20]))
    else:
        struct.pack_into(">I", body, 4 if field == "size" else 12, 10**6)
        new = chunk(b"fcTL", bytes(body))
    with pytest.raises(PictureError, match=r"frame lies beyond|wrong length"):
        all_of(data[: at - 4] + new + data[at + 34 :])


def test_announced_frames_that_are_missing_are_told():
    data = animation("PNG")
    at = data.index(b"acTL")
    body = struct.pack(">II", 7, 0)
    picture = pictures.decode("a", data[: at - 4] + chunk(b"acTL", body) + data[at + 16 :])
    assert "announces 7 frames and holds 3" in picture.notes[0]


def test_all_pages_together_are_bounded():
    data = animation("PNG", [np.full((2048, 2048, 3), n, np.uint8) for n in (0, 9, 200)])
    with pytest.raises(PictureError, match="over the limit"):
        list(decode_all("a", data, max_pixels=2**21))
