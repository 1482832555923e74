"""GIF, AVIF, HEIC, JPEG XL and JPEG 2000: what phones and the web write is read."""

import io
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from neid_tf import pictures
from neid_tf.pictures import PictureError, decode, encode, formats, left_out, written_suffix
from tests.pictures.picture_files import noise, saved, smooth


def exif(orientation=6):
    """An EXIF block that asks for a turn."""
    block = Image.Exif()
    block[0x010F], block[0x0112] = "Maker", orientation
    return block.tobytes()


def heic(image, **options):
    """A HEIC that pillow-heif writes."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    return saved(image, "HEIF", quality=95, **options)


def jxl(image, **options):
    """A JPEG XL that its plugin writes."""
    pytest.importorskip("pillow_jxl")
    return saved(image, "JXL", lossless=True, **options)


@pytest.mark.parametrize("name", ["AVIF", "HEIC", "JPEG XL"])
def test_photographs_of_phones(name, tmp_path):
    make = {"AVIF": lambda i, **o: saved(i, "AVIF", quality=95, **o), "HEIC": heic, "JPEG XL": jxl}
    data = make[name](Image.fromarray(smooth()), exif=exif())
    picture = decode("a", data)
    assert picture.format == name
    # In a JPEG XL it is the codestream that says how it is turned; this one says nothing.
    turned = smooth() if name == "JPEG XL" else np.rot90(smooth(), -1)
    assert picture.pixels.shape == turned.shape
    assert np.abs(picture.pixels.astype(int) - turned).mean() < 4
    assert not picture.lossless
    with Image.open(io.BytesIO(encode("b.png", picture))) as image:
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get(0x0112, 1) == 1
    assert pictures.count_pixels(data) == 48 * 64
    with pytest.raises(PictureError, match="over the limit of 3071"):
        decode("a", data, 48 * 64 - 1)
    with pytest.raises(PictureError, match=r"JXL|JPEG XL|AVIF|HEIC|header|damaged|size"):
        decode("a", data[: len(data) // 2])


@pytest.mark.parametrize("name", ["AVIF", "HEIC"])
def test_names_of_boxes_in_a_text_are_no_boxes(name):
    make, block = {"AVIF": lambda i, **o: saved(i, "AVIF", **o), "HEIC": heic}[name], Image.Exif()
    block[0x010E] = "whispering crispest pixies"
    data = make(Image.fromarray(smooth()), exif=block.tobytes(), xmp=b"<a>ispexxxxxxxxxxxxxx</a>")
    picture = decode("a", data)
    assert (picture.pixels.shape, picture.pixels.dtype) == (smooth().shape, np.uint8)


@pytest.mark.parametrize("deep", [False, True])
def test_the_bits_are_those_of_the_main_picture_of_a_heic(deep):
    pillow_heif, levels = pytest.importorskip("pillow_heif"), smooth().astype(np.uint16)
    made = pillow_heif.HeifFile()
    for is_deep in (not deep, deep):
        stored = levels * 257 if is_deep else levels.astype(np.uint8)
        mode = "RGB;16" if is_deep else "RGB"
        made.add_frombytes(mode, stored.shape[1::-1], stored.tobytes())
    file = io.BytesIO()
    made.save(file, quality=95, primary_index=1, bit_depth=10)
    picture = decode("a", file.getvalue())
    assert picture.pixels.dtype == (np.uint16 if deep else np.uint8)
    top = np.iinfo(picture.pixels.dtype).max
    np.testing.assert_allclose(picture.pixels / top, smooth() / 255, atol=0.05)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_of_more_bits_becomes_16_bits(bits):
    levels = np.linspace(0, 2**bits - 1, 64 * 48 * 3).reshape(48, 64, 3)
    stored = levels.astype(np.uint8 if bits == 8 else np.uint16)
    data = imagecodecs.avif_encode(stored, level=100, bitspersample=bits)
    picture = decode("a", data)
    assert picture.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    top = np.iinfo(picture.pixels.dtype).max
    np.testing.assert_allclose(picture.pixels / top, levels / (2**bits - 1), atol=0.01)


def test_transparency_of_a_gif_and_of_an_avif():
    samples = noise(20, 30, 4)
    samples[..., 3] = np.where(np.arange(30) < 10, 0, 255)
    for name in ("GIF", "AVIF"):
        picture = decode("a", saved(Image.fromarray(samples), name))
        assert picture.alpha is not None
        assert (picture.alpha[:, :8] < 9).all()
        assert (picture.alpha[:, 12:] > 240).all()


@pytest.mark.parametrize(
    ("suffix", "written"), [(".gif", ".png"), (".PBM", ".png"), (".j2k", ".jp2"), (".jpx", ".jp2")]
)
def test_what_is_only_read_comes_back_as_another(suffix, written):
    assert written_suffix(f"folder.jpg/a{suffix}") == written
    with pytest.raises(PictureError, match="cannot write a picture with the suffix"):
        encode(f"a{suffix}", pictures.Picture(smooth()))


def test_without_a_suffix_they_are_written_as_another():
    picture = pictures.Picture(smooth(), format="GIF")
    assert encode("a", picture)[:4] == b"\x89PNG"
    assert left_out("a", picture) == ()
    assert written_suffix("a.JPG") == ".JPG"
    assert written_suffix("a.HEIC") == ".HEIC"


@pytest.mark.parametrize(("module", "brand"), [("pillow_heif", b"heic"), ("pillow_jxl", None)])
def test_a_missing_library_is_named(module, brand, monkeypatch):
    for name in (module, f"{module}.JpegXLImagePlugin"):
        monkeypatch.setitem(sys.modules, name, None)
    data = b"\0\0\0\x18ftyp" + (brand or b"") + bytes(40) if brand else b"\xff\x0a\0\0" + bytes(40)
    with pytest.raises(PictureError, match=rf"needs {module}: .*install"):
        decode("a", data)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not formats.is_available(formats.FORMATS["HEIC"])
    assert formats.is_available(formats.FORMATS["PNG"])
    with pytest.raises(ValueError, match=r"HEIC needs pillow_heif: .*install"):
        pictures.check_target("a.heic", 4, 4)


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        (b"avif\0\0\0\0mif1", "AVIF"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"heix\0\0\0\0mif1", "HEIC"),
    ],
)
def test_brands(brands, name):
    assert formats.format_of_content(b"\0\0\0\x20ftyp" + brands) == name


def test_other_boxes_are_no_pictures():
    for brand in (b"mp42", b"qt  "):
        with pytest.raises(ValueError, match="not a picture"):
            formats.format_of_content(b"\0\0\0\x20ftyp" + brand + bytes(20))


@pytest.mark.parametrize("size", [(8, 16), (300, 200), (1, 1), (256, 256), (640, 480), (3000, 10)])
def test_size_of_a_jpeg_xl_is_known_before_it_is_decoded(size):
    from neid_tf.pictures import jpegxl

    data = jxl(Image.new("RGB", size, (9, 8, 7)))
    assert jpegxl._Header(data).size == size
    if imagecodecs.JPEGXL.available:
        data = imagecodecs.jpegxl_encode(
            np.zeros((size[1], size[0], 3), np.uint8), usecontainer=True
        )
        assert jpegxl._Header(data).size == size


@pytest.mark.parametrize("name", ["avif", "heic"])
def test_what_lies_beside_a_picture_is_told(name):
    """An alpha belongs to it; what else is marked as auxiliary (depth) is left out."""
    if name == "heic":
        pytest.importorskip("pillow_heif")
    alpha, other = {
        "avif": (b"auxiliary:alpha", b"auxiliary:depth"),
        "heic": (b"2015:auxid:1", b"2015:auxid:2"),
    }[name]
    image = Image.fromarray(noise(32, 48, 4), "RGBA")
    data = heic(image) if name == "heic" else saved(image, "AVIF")
    assert data.count(alpha) == 1
    assert not pictures.decode("a", data).notes
    picture = pictures.decode("a", data.replace(alpha, other))
    assert picture.alpha is None
    assert picture.notes == ("what lies beside it (depth, gain map) is left out",)
