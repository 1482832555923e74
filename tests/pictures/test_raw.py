"""Camera raw: developed by LibRaw, upright, in true colours; and what only looks like it is not."""

import io
import struct
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf import pictures
from neid_tf.pictures import PictureError, decode, formats, raw
from tests.pictures.picture_files import noise, saved, smooth
from tests.pictures.raw_files import dng, scene, srgb

pytest.importorskip("rawpy")
INSIDE = (slice(6, -6), slice(6, -6))


def off(picture, linear):
    """How far a picture is from what light it shows, in the mean, of 1."""
    return np.abs(picture.pixels / 65535 - srgb(linear))[INSIDE].mean()


@pytest.mark.parametrize("neutral", [(1.0, 1.0, 1.0), (0.5, 1.0, 0.6)])
@pytest.mark.parametrize("thumbnail", [True, False])
def test_colours_are_those_of_the_light(neutral, thumbnail):
    picture = decode("a", dng(scene(), neutral, thumbnail=thumbnail))
    assert (picture.format, picture.pixels.dtype) == ("camera raw", np.uint16)
    assert off(picture, scene()) < 0.001
    assert picture.notes == ()


@pytest.mark.parametrize("stops", [0, -3])
def test_nothing_is_brightened(stops):
    linear = scene() * 2.0**stops
    assert off(decode("a", dng(linear)), linear) < 0.001


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_it_comes_upright_and_says_so(orientation, turns, tmp_path):
    data = dng(scene(), orientation=orientation)
    assert pictures.count_pixels(data) == 96 * 128
    picture = decode("a", data)
    assert off(picture, np.rot90(scene(), turns)) < 0.001
    pictures.write(tmp_path / "a.jpg", picture)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.size == picture.pixels.shape[1::-1]
    np.testing.assert_allclose(
        pictures.read(tmp_path / "a.jpg").pixels / 255, picture.pixels / 65535, atol=0.1
    )


def test_exif_is_kept():
    entries = {0x829A: (1, 30), 0x8827: 3200, 0x927C: bytes(99), 0x9003: "2026:01:02 03:04:05"}
    picture = decode("a", dng(scene(), entries=entries, xmp=b"<x:xmpmeta/>"))
    assert picture.notes == ("left out: its XMP, its maker's notes",)
    exif = Image.Exif()
    exif.load(picture.exif)
    assert (exif[271], exif[272], exif[306]) == ("Maker", "Model", "2026:01:02 03:04:05")
    taken = exif.get_ifd(0x8769)
    assert (taken[0x8827], taken[0x9003]) == (3200, "2026:01:02 03:04:05")
    assert 0x927C not in taken


def test_the_command_writes_16_bit_tiff_or_what_is_asked_for(neid, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.DNG").write_bytes(dng(scene(), orientation=6))
    told = neid("enhance", folder, f"--output={out}", "--method=bimef")
    assert told == (0, f"1 written to {out}\n", "")
    bright = pictures.read(out / "a.tif")
    assert (bright.format, bright.pixels.dtype) == ("TIFF", np.uint16)
    assert bright.pixels.shape == (128, 96, 3)
    assert bright.pixels.mean() > decode("a", dng(scene())).pixels.mean()
    assert b"Maker" in bright.exif
    code, _, err = neid("enhance", folder, f"--output={out}", "--method=bimef", "--format=jpeg")
    assert (code, "its uint16 samples become uint8 in JPEG" in err) == (0, True)
    assert pictures.read(out / "a.jpg").pixels.shape == (128, 96, 3)


@pytest.mark.parametrize("module", ["rawpy", None])
def test_what_develops_may_be_missing(module, monkeypatch, neid, tmp_path):
    path = tmp_path / "a.dng"
    path.write_bytes(dng(scene()) if module else dng(scene())[:6000])
    if module:
        monkeypatch.setitem(sys.modules, module, None)
    code, _, err = neid("enhance", path, f"--output={tmp_path / 'out'}", "--method=bimef")
    assert code == 1
    assert ("camera raw needs rawpy: " in err) == bool(module)
    assert ("install" in err) == bool(module)
    assert ("damaged or unsupported raw file" in err) == (not module)


def test_damage_and_size():
    data = dng(scene())
    with pytest.raises(PictureError, match="over the limit of 100"):
        decode("a", data, 100)
    for cut in (200, 1500, 9000, len(data) - 40):
        with pytest.raises(PictureError, match=r"raw file|TIFF"):
            decode("a", data[:cut])


def tiff(samples, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


NOT_RAW = {
    "tiff": tiff(smooth(), photometric="rgb"),
    "big tiff": tiff(smooth(), photometric="rgb", bigtiff=True, byteorder=">"),
    "of a camera's maker": tiff(
        smooth(), photometric="rgb", extratags=[(271, 2, 0, "NIKON", True)]
    ),
    "converted from a dng": tiff(
        smooth(), photometric="rgb", extratags=[(50708, 2, 0, "Maker Model", True)]
    ),
    "jpeg": saved(Image.fromarray(smooth()), "JPEG"),
    "going in circles": b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(99),
    "cut": b"MM\0*\0\0\0\x08\0",
    "far away": b"II*\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", NOT_RAW)
def test_what_is_no_raw_file_is_not_taken_for_one(name):
    assert not raw.is_raw(NOT_RAW[name])
    if name not in ("going in circles", "cut", "far away"):
        assert decode("a.dng", NOT_RAW[name]).format in ("TIFF", "JPEG")


def below(levels, order="<", big=False, **options):
    """A TIFF with its picture so many directories below the first."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=big) as writer:
        for level in range(levels + 1):
            last = level == levels
            samples = noise(9, 9, 1)[..., 0] if last else noise(4, 4, 3)
            kind = options if last else {"photometric": "rgb", "subifds": 1}
            writer.write(samples, metadata=None, **kind)
    return file.getvalue()


RAW = {
    "sensor below": below(1, photometric="cfa"),
    "sensor below, the other order": below(1, ">", photometric="cfa"),
    "sensor below, big": below(1, big=True, photometric="cfa"),
    "sensor below, big, the other order": below(1, ">", True, photometric="cfa"),
    "sensor first": below(0, ">", photometric="cfa"),
    "dng without samples of a sensor": tiff(
        smooth(), photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]
    ),
    "Canon": b"II*\0\x10\0\0\0CR\x02\0" + bytes(60),
    "Canon's boxes": b"\0\0\0\x18ftypcrx " + bytes(60),
    "Fujifilm": b"FUJIFILMCCD-RAW 0201" + bytes(60),
    "Panasonic": b"IIU\0\x18\0\0\0" + bytes(60),
    "Olympus": b"IIRO\x08\0\0\0" + bytes(60),
}


@pytest.mark.parametrize("name", RAW)
def test_a_raw_file_is_never_read_as_its_thumbnail(name):
    assert raw.is_raw(RAW[name])
    assert formats.format_of_content(RAW[name]) == "camera raw"
    if name != "sensor below":  # That one is enough for LibRaw.
        with pytest.raises(PictureError, match="raw file"):
            decode("a.tif", RAW[name])


def block(**tags):
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[int(tag[1:])] = value
    return exif.tobytes().removeprefix(b"Exif\0\0")


def test_exif_of_cameras_with_files_of_their_own():
    def box(name, body):
        return struct.pack(">I4s", len(body) + 8, name) + body

    maker = "Can\u00f6n".encode()
    canon = b"\0\0\0\x18ftypcrx " + bytes(12) + box(b"CMT1", block(_271=maker, _274=6))
    canon += box(b"CMT2", block(_34855=800))
    exif, notes = raw._metadata(canon)
    found = Image.Exif()
    found.load(exif)
    assert (found[271].encode("latin-1"), 274 in found) == (maker, False)
    assert found.get_ifd(0x8769)[34855] == 800
    assert notes == ["left out: its XMP"]
    preview = saved(Image.fromarray(smooth()), "JPEG", exif=b"Exif\0\0" + block(_271="Fuji"))
    fuji = b"FUJIFILMCCD-RAW".ljust(84, b"\0") + struct.pack(">II", 200, len(preview))
    assert b"Fuji" in raw._metadata(fuji.ljust(200, b"\0") + preview)[0]
    olympus = b"IIRO" + dng(scene())[4:]
    assert b"Maker" in raw._metadata(olympus)[0]
    assert raw._metadata(b"\0MRM" + bytes(99)) == (None, ["no EXIF is read of it"])
