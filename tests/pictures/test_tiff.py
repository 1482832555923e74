"""TIFF: whatever way its samples are stored, they come out right or not at all."""

import dataclasses
import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

import neid_tf
from neid_tf.pictures import PictureError, decode, decode_all, encode_all, left_out, read, write
from neid_tf.pictures.tiff_samples import samples_of
from tests.pictures.picture_files import shown


def noise(height, width, channels, dtype=np.uint8):
    """Samples that use the whole range, so that no rounding or swap goes unseen."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    samples = rng.integers(0, top + 1, (height, width, channels), dtype=dtype)
    samples[0, 0], samples[0, 1] = 0, top
    return samples


def read_tiff(tmp_path, samples, **options):
    """What `read` makes of samples that tifffile wrote."""
    tifffile.imwrite(tmp_path / "a.tif", samples, metadata=None, **options)
    return read(tmp_path / "a.tif")


RGB16 = noise(30, 20, 3, np.uint16)
LAYOUTS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "big-endian bigtiff": {"bigtiff": True, "byteorder": ">"},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "lzw": {"compression": "lzw"},
    "lzw and predictor": {"compression": "lzw", "predictor": True},
    "deflate and predictor": {"compression": "zlib", "predictor": True, "tile": (16, 16)},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_layouts(layout, dtype, planes, tmp_path, capfd):
    samples = noise(30, 20, 3, dtype)
    stored = samples if planes == "contig" else np.moveaxis(samples, -1, 0)
    options = {"photometric": "rgb", "planarconfig": planes, **LAYOUTS[layout]}
    back = read_tiff(tmp_path, stored, **options)
    np.testing.assert_array_equal(back.pixels, samples, strict=True)
    assert (back.format, back.alpha, back.gray, back.lossless) == ("TIFF", None, False, True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_dark_or_light_zero(dtype, tmp_path):
    samples = noise(30, 20, 1, dtype)[..., 0]
    for photometric, expected in (("minisblack", samples), ("miniswhite", ~samples)):
        back = read_tiff(tmp_path, samples, photometric=photometric)
        assert back.gray
        for channel in range(3):
            np.testing.assert_array_equal(back.pixels[..., channel], expected, strict=True)


CAN_FAX = hasattr(imagecodecs, "CCITTFAX4")  # not yet in the last release for Python 3.10
FAX = pytest.param("group4", marks=pytest.mark.skipif(not CAN_FAX, reason="old imagecodecs"))


@pytest.mark.parametrize("compression", [None, "packbits", "tiff_lzw", FAX])
def test_one_bit(compression, tmp_path):
    bits = Image.fromarray(noise(30, 20, 1)[..., 0]).convert("1")
    bits.save(tmp_path / "a.tif", compression=compression)
    back = read(tmp_path / "a.tif")
    assert back.gray
    np.testing.assert_array_equal(back.pixels[..., 0], np.asarray(bits) * np.uint8(255))


@pytest.mark.parametrize(("bits", "top"), [(2, 255), (4, 255), (10, 65535), (12, 65535)])
def test_other_depths_fill_the_range(bits, top, tmp_path):
    levels = np.linspace(0, 2**bits - 1, 256).astype(int)
    packed = np.packbits(levels[:, None] >> np.arange(bits)[::-1] & 1)
    file = io.BytesIO()
    tifffile.imwrite(file, packed[None], metadata=None, photometric="minisblack")
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[0].tags[256].overwrite(256)
        tiff.pages[0].tags[258].overwrite(bits)
    (tmp_path / "a.tif").write_bytes(file.getvalue())
    back = read(tmp_path / "a.tif")
    expected = np.floor(levels * top / (2**bits - 1) + 0.5)
    np.testing.assert_array_equal(back.pixels[0, :, 1], expected)
    assert back.pixels.max() == np.iinfo(back.pixels.dtype).max == top


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_and_other_extra_samples(dtype, colours, tmp_path):
    samples = noise(30, 20, colours + 2, dtype)
    kind = {"photometric": "rgb" if colours == 3 else "minisblack", "planarconfig": "contig"}
    meanings = {"unassalpha": True, "assocalpha": True, "unspecified": False}
    for meaning, has_alpha in meanings.items():
        back = read_tiff(tmp_path, samples, extrasamples=[meaning, 0], **kind)
        assert (back.alpha is not None) == has_alpha
        # Three bands of no declared colour are taken as red, green and blue.
        assert back.gray == (colours == 1 and meaning != "unspecified")
        if has_alpha:
            np.testing.assert_array_equal(back.alpha, samples[..., colours], strict=True)
        if meaning != "assocalpha":
            seen = samples[..., colours] if has_alpha else np.ones((30, 20))
            expected = shown(samples[..., :colours], seen)
            np.testing.assert_array_equal(shown(back.pixels[..., :colours], seen), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_associated_alpha_is_divided_out(dtype, tmp_path):
    top = np.iinfo(dtype).max
    straight = noise(30, 20, 4, dtype).astype(float)
    straight[..., 3] = np.maximum(straight[..., 3], top // 2)
    stored = np.concatenate([straight[..., :3] * straight[..., 3:] / top, straight[..., 3:]], -1)
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    back = read_tiff(tmp_path, np.rint(stored).astype(dtype), **options)
    np.testing.assert_allclose(back.pixels, straight[..., :3], atol=1)
    clear = read_tiff(tmp_path, np.full((4, 5, 4), [9, 9, 9, 0], dtype), **options)
    assert clear.alpha.max() == 0
    too_light = read_tiff(tmp_path, np.full((4, 5, 4), [99, 9, 9, 10], dtype), **options)
    assert too_light.pixels[0, 0].tolist() == [top, round(0.9 * top), round(0.9 * top)]


def test_palette(tmp_path):
    image = Image.fromarray(noise(30, 20, 3)).quantize(100)
    for compression in (None, "tiff_lzw"):
        image.save(tmp_path / "a.tif", compression=compression)
        back = read(tmp_path / "a.tif")
        np.testing.assert_array_equal(back.pixels, np.asarray(image.convert("RGB")), strict=True)
        assert not back.gray


def test_cmyk_of_8_and_16_bits(tmp_path):
    inks = noise(30, 20, 4)
    expected = np.asarray(Image.frombytes("CMYK", (20, 30), inks.tobytes()).convert("RGB"))
    for stored in (inks, inks.astype(np.uint16) * 257):
        back = read_tiff(tmp_path, stored, photometric="separated")
        np.testing.assert_array_equal(back.pixels, expected, strict=True)
    assert back.alpha is None
    assert back.notes[-1] == "of the 16 bits of its inks 8 are kept"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_lies_beside_inks_is_kept(dtype, tmp_path):
    stored = noise(30, 20, 6)
    expected = np.asarray(
        Image.frombytes("CMYK", (20, 30), stored[..., :4].tobytes()).convert("RGB")
    )
    options = {"photometric": "separated", "extrasamples": ("unassalpha", "unspecified")}
    if dtype == np.uint16:
        back = read_tiff(tmp_path, stored.astype(dtype) * dtype(257), **options)
    else:
        back = read_tiff(tmp_path, stored, **options)
    seen = stored[..., 4] > 0
    np.testing.assert_array_equal(back.pixels[seen], expected[seen], strict=True)
    np.testing.assert_array_equal(back.alpha, stored[..., 4])
    np.testing.assert_array_equal(back.bands, stored[..., 5:])


def test_a_palette_of_8_bits_is_none_of_16(tmp_path):
    stored, levels = noise(30, 20, 1)[..., 0], noise(3, 256, 1)[..., 0].astype(np.uint16)
    for palette in (levels, levels * 257):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, stored, photometric="palette", colormap=palette)
        np.testing.assert_array_equal(read(path).pixels, np.moveaxis(levels[:, stored], 0, -1))


def test_what_lies_beside_a_palette_is_kept(tmp_path):
    table = noise(3, 256, 1)[..., 0].astype(np.uint16) * 257
    stored = noise(30, 20, 2)
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(path, stored, extratags=[(320, "H", 768, table.ravel(), True)], **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[262].overwrite(3)
    back, seen = read(path), stored[..., 1] > 0
    colours = np.moveaxis(table[:, stored[..., 0]] >> 8, 0, -1)
    np.testing.assert_array_equal(back.pixels[seen], colours[seen])
    np.testing.assert_array_equal(back.alpha, stored[..., 1])


def test_ycbcr_and_jpeg_in_tiff(tmp_path):
    y, x = np.mgrid[:64, :64]
    image = Image.fromarray(np.stack([x * 4, y * 4, 255 - x * 4], -1).astype(np.uint8))
    image.convert("YCbCr").save(tmp_path / "a.tif")
    back = read(tmp_path / "a.tif")
    assert np.abs(back.pixels.astype(int) - image).max() <= 3
    jpeg = {"compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "rgb"}
    for subsampling in ((1, 1), (2, 2)):
        back = read_tiff(tmp_path, np.asarray(image), subsampling=subsampling, **jpeg)
        assert np.abs(back.pixels.astype(int) - image).mean() < 2
        assert not back.lossless


FLOATS = np.linspace(0, 1, 600).reshape(20, 10, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("predictor", [None, "floatingpoint"])
def test_float_stays_float(dtype, predictor, tmp_path):
    options = {"compression": "zlib", "predictor": predictor} if predictor else {}
    samples = FLOATS.astype(dtype)
    back = read_tiff(tmp_path, samples, photometric="rgb", **options)
    np.testing.assert_array_equal(back.pixels, samples.astype(np.float32), strict=True)
    write(tmp_path / "b.tif", back)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.asarray(), back.pixels, strict=True)
    write(tmp_path / "b.png", back)
    expected = np.floor(back.pixels.astype(float) * 65535 + 0.5)
    np.testing.assert_array_equal(read(tmp_path / "b.png").pixels, expected)


def test_float_a_hair_outside_is_clipped(tmp_path):
    back = read_tiff(tmp_path, FLOATS * 1.0016 - 0.0008, photometric="rgb")
    assert (back.pixels.min(), back.pixels.max()) == (0, 1)


def spoiled(value):
    """Float samples with one bad value."""
    samples = FLOATS.astype(np.float32)
    samples[7, 3, 1] = value
    return samples


UNSUPPORTED = {
    "nan": (spoiled(np.nan), {}, "NaN or infinite"),
    "infinite": (spoiled(np.inf), {}, "NaN or infinite"),
    "minus infinite": (spoiled(-np.inf), {}, "NaN or infinite"),
    "too light": (spoiled(1.5), {}, r"must lie in \[0, 1\], these in \[0, 1.5\]"),
    "negative": (spoiled(-0.25), {}, r"these in \[-0.25, 1\]"),
    "0 to 255": (FLOATS * 255, {}, r"these in \[0, 255\]"),
    "signed": (RGB16.astype(np.int16), {}, "int16 samples are not supported"),
    "32 bits": (RGB16.astype(np.uint32), {}, "uint32 samples are not supported"),
    "complex": (FLOATS.astype(np.complex64), {}, "complex64 samples are not supported"),
    "lab": (noise(9, 9, 3), {"photometric": "cielab"}, "CIELAB are not supported"),
    "many channels": (noise(9, 9, 40), {"photometric": "minisblack"}, "40 channels"),
    "volume": (
        RGB16.reshape(3, 10, 20, 3)[..., 0],
        {"photometric": "minisblack", "volumetric": True, "tile": (16, 16, 16)},
        "volume of 3 layers",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_samples_are_named(name, tmp_path, capfd):
    samples, options, reason = UNSUPPORTED[name]
    options = {"photometric": "rgb", "planarconfig": "contig", **options}
    with pytest.raises(PictureError, match=reason):
        read_tiff(tmp_path, samples, **options)
    assert capfd.readouterr() == ("", "")


DAMAGED_TAGS = {
    "strip of no bytes": (279, [0, 100, 100], "not in the file"),
    "strip behind the end": (273, [8, 10**6, 10**6], "not in the file"),
    "unknown compression": (259, 4711, "damaged or unsupported TIFF"),
    "unprintable compression": (259, "\b\b\b", r"compression '\\x08"),
    "0 width": (256, 0, "0x30 pixels: it is empty"),
    "0 height": (257, 0, "20x0 pixels: it is empty"),
    "more rows than there are": (257, 3000, "TIFF"),
    "0 bits": (258, 0, "TIFF"),
    "too few channels": (262, 2, "1 channels are too few for RGB"),
    "0 channels": (277, 0, "0 channels"),
    "tiles of 4 gigapixels": (322, 2**28, "tiles of 268435456x16 pixels are not supported"),
    "words for a width": (322, "wide", "damaged or unsupported TIFF$"),
}


@pytest.mark.parametrize("name", DAMAGED_TAGS)
def test_damaged_tags(name, tmp_path, capfd):
    tag, value, reason = DAMAGED_TAGS[name]
    file = io.BytesIO()
    layout = {"tile": (16, 16)} if tag == 322 else {"rowsperstrip": 10}
    tifffile.imwrite(file, RGB16[..., 0], metadata=None, compression="zlib", **layout)
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[0].tags[tag].overwrite(value, dtype="s" if isinstance(value, str) else None)
    (tmp_path / "a.tif").write_bytes(file.getvalue())
    with pytest.raises(PictureError, match=reason):
        read(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


def with_entry(kind, count, value):
    """A TIFF with an entry of EXIF (34665) and one of its own, and that changed."""
    file = io.BytesIO()
    tags = [(60000, "I", 1, 4711, True), (60001, "I", 1, 4711, True), (271, "s", 0, "me", True)]
    tifffile.imwrite(file, RGB16, photometric="rgb", metadata=None, extratags=tags)
    data = bytearray(file.getvalue())
    for code, becomes in ((60000, 34665), (60001, 60000)):
        at = data.index(struct.pack("<HHII", code, 4, 1, 4711))
        struct.pack_into("<HHII", data, at, becomes, kind, count, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ((99, 1, 4711), ("60000, EXIF, which can't be read, left out",)),
        ((7, 4711, 10**8), ("60000, EXIF, which can't be read, left out",)),
        ((4, 1, 8), ("60000 left out",)),
        ((4, 1, 200), ("60000 left out", "of its EXIF what can't be read is left out")),
    ],
)
def test_entries_that_cannot_be_read_cost_no_picture(entry, told, tmp_path, capfd):
    data = with_entry(*entry)
    back = decode("a", data)
    np.testing.assert_array_equal(back.pixels, RGB16)
    assert back.notes == told
    assert b"me\0" in back.exif
    assert capfd.readouterr() == ("", "")


def with_changed(code, kind, count, value):
    """A TIFF with another entry in the place of one; in that of its maker, if it has none."""
    file, maker = io.BytesIO(), (271, "s", 0, "me", True)
    fields = {"photometric": "rgb", "metadata": None, "resolution": (72, 72)}
    tifffile.imwrite(file, RGB16, extratags=[maker], **fields)
    data = bytearray(file.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    places = {struct.unpack_from("<H", data, at + 2 + 12 * i)[0]: i for i in range(entries)}
    at += 2 + 12 * places.get(code, places[271])
    struct.pack_into("<HHII", data, at, code, kind, count, value)
    return bytes(data)


BESIDE = {
    "a resolution that is not there": (282, 5, 1, 10**8, "XResolution, which can't be read"),
    "a unit of no known type": (296, 99, 1, 2, "ResolutionUnit, which can't be read"),
    "pages below that are not there": (330, 4, 1, 10**8, "1 page below it, which can't be read"),
    "their places not there": (330, 4, 3, 10**8, "SubIFDs, which can't be read"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_the_samples_costs_no_picture(name, tmp_path, capfd):
    code, kind, count, value, told = BESIDE[name]
    back = decode("a", with_changed(code, kind, count, value))
    np.testing.assert_array_equal(back.pixels, RGB16)
    assert f"{told}, left out" in back.notes
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("count", [1, 5000])
def test_strips_that_are_said_to_be_longer_than_they_are(count):
    """The rows say how long a strip is that is not compressed; what is behind them is not read."""
    file = io.BytesIO()
    tifffile.imwrite(file, RGB16, photometric="rgb", metadata=None, rowsperstrip=7)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        lengths, tag = page.databytecounts, page.tags[279]
        assert len(lengths) > 1
        at, form = tag.valueoffset, {3: "H", 4: "I"}[tag.dtype]
    data = bytearray(file.getvalue())
    struct.pack_into(f"<{len(lengths)}{form}", data, at, *(size + count for size in lengths))
    np.testing.assert_array_equal(decode("a", bytes(data)).pixels, RGB16)
    with pytest.raises(PictureError, match="a part of its picture is not in the file"):
        decode("a", bytes(data[:-1]))


@pytest.mark.parametrize("side", [16, 128])
@pytest.mark.parametrize("entry", [(3, 0), (1, 1), (2, 1), (7, 1)])
def test_a_planar_configuration_that_cannot_be_read(entry, side):
    """The rest of the samples would be what the memory held before."""
    file = io.BytesIO()
    tifffile.imwrite(file, RGB16, photometric="rgb", metadata=None, tile=(side, side))
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        at = tiff.pages[0].tags[284].offset
    data = bytearray(file.getvalue())
    struct.pack_into("<HI", data, at + 2, *entry)  # its type, and how many values it has
    with pytest.raises(PictureError, match=r"planar configuration|not in the file"):
        decode("a", bytes(data))


def test_what_a_decoder_leaves_out_is_black():
    """It is not what the memory held before."""
    file = io.BytesIO()
    tifffile.imwrite(file, RGB16, photometric="rgb", metadata=None, tile=(16, 16))
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        at = tiff.pages[0].tags[284].offset
    data = bytearray(file.getvalue())
    struct.pack_into("<HI", data, at + 2, 7, 1)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        used = [np.full_like(RGB16, 171) for _ in range(100)]
        del used
        _, *without_tiles = samples_of(tiff.pages[0])
    assert len(without_tiles) == 2
    assert not np.any(without_tiles)


@pytest.mark.parametrize("kind", [1, 2, 6, 7])
def test_bytes_may_be_declared_as_other_values(kind):
    """As texts, or as numbers with a sign; the orientation, which is a number, as a byte."""
    carried = {
        700: b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>',
        33723: b"\x1c\x02\x05\x00\x05Title",
        34675: ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }
    tags = [(code, 7, len(value), value, True) for code, value in carried.items()]
    tags.append((274, "H", 1, 6, True))
    file = io.BytesIO()
    tifffile.imwrite(file, RGB16, photometric="rgb", metadata=None, extratags=tags)
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        places = {code: tiff.pages[0].tags[code].offset for code in carried}
        turned = tiff.pages[0].tags[274].offset
    for place in places.values():
        struct.pack_into("<H", data, place + 2, kind)
    struct.pack_into("<H", data, turned + 2, 1)
    picture = decode("a", bytes(data))
    extras = picture.extras
    assert [extras.xmp, extras.iptc, picture.icc] == list(carried.values())
    assert picture.pixels.shape == (RGB16.shape[1], RGB16.shape[0], 3)
    struct.pack_into("<H", data, turned + 2, 99)
    assert "Orientation, which can't be read, left out" in decode("a", bytes(data)).notes


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_strip_that_is_nowhere(compression):
    """Its address is 0, where tifffile takes it for black."""
    file = io.BytesIO()
    fields = {"photometric": "rgb", "metadata": None, "compression": compression}
    tifffile.imwrite(file, RGB16, rowsperstrip=7, **fields)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        tag = tiff.pages[0].tags[273]
        at, form = tag.valueoffset, {3: "H", 4: "I"}[tag.dtype]
    data = bytearray(file.getvalue())
    struct.pack_into(f"<{form}", data, at + struct.calcsize(form), 0)
    with pytest.raises(PictureError, match="a part of its picture is not in the file"):
        decode("a", bytes(data))


@pytest.mark.parametrize("broken", [None, 0, 1, 2])
def test_pages_below_a_page(broken):
    """One that can't be read takes none of the others along."""
    file, mask = io.BytesIO(), noise(30, 20, 1)[..., 0] > 99
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(noise(30, 20, 3), photometric="rgb", metadata=None, subifds=3)
        tiff.write(noise(15, 10, 3), photometric="rgb", metadata=None, subfiletype=1)
        tiff.write(noise(30, 20, 3), photometric="rgb", metadata=None)
        tiff.write(mask, photometric="mask", metadata=None, subfiletype=4)
    data = bytearray(file.getvalue())
    if broken is not None:
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            at, kind = tiff.pages[0].tags[330].valueoffset, tiff.pages[0].tags[330].dtype
        form = "I" if kind in (4, 13) else "Q"
        struct.pack_into(f"<{form}", data, at + broken * struct.calcsize(form), 10**8)
    back = decode("a", bytes(data))
    assert (back.valid is None) == (broken == 2)
    told = ["1 reduced copy of it (preview, overview) left out", "1 page below it left out"]
    told = told if broken in (None, 2) else [told[1 - broken]]
    told += [] if broken is None else ["1 page below it, which can't be read, left out"]
    assert list(back.notes) == told


def test_a_strip_whose_length_is_left_out():
    file = io.BytesIO()
    tifffile.imwrite(file, RGB16, photometric="rgb", metadata=None)
    data = file.getvalue().replace(struct.pack("<HH", 279, 4), struct.pack("<HH", 60001, 4))
    data = data.replace(struct.pack("<HH", 279, 3), struct.pack("<HH", 60001, 3))
    back = decode("a", data)
    np.testing.assert_array_equal(back.pixels, RGB16)
    assert back.notes == ("60001 left out",)
    with pytest.raises(PictureError, match="a part of its picture is not in the file"):
        decode("a", data[:-1])


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits", "jpeg"])
def test_flipped_bytes_never_escape_as_another_error(compression, tmp_path, capfd):
    file = io.BytesIO()
    tifffile.imwrite(file, noise(30, 20, 3), photometric="rgb", compression=compression)
    rng = np.random.default_rng(1)
    messages = []
    for _ in range(60):
        data = bytearray(file.getvalue())
        data[rng.integers(4, len(data))] ^= int(rng.integers(1, 256))
        (tmp_path / "a.tif").write_bytes(data)
        try:
            read(tmp_path / "a.tif", max_pixels=10**6)
        except PictureError as error:
            messages.append(str(error))
    assert messages
    assert "".join(messages).isprintable()
    assert capfd.readouterr() == ("", "")


def test_metadata_of_impossible_types_is_dropped(tmp_path):
    tags = [(274, "s", 0, "up", True), (34675, "I", 1, 2**31, True), (271, "d", 2, (1, 2), True)]
    tifffile.imwrite(tmp_path / "a.tif", RGB16, photometric="rgb", extratags=tags)
    back = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, RGB16)
    assert back.icc is None
    write(tmp_path / "b.tif", back)
    np.testing.assert_array_equal(read(tmp_path / "b.tif").pixels, RGB16)


def test_other_pages_do_not_matter(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(RGB16, photometric="rgb", metadata=None)
        tiff.write(spoiled(np.nan), photometric="rgb", metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, RGB16)


def masked_pages(count, below=False, smaller=0, orientation=1, kind=4):
    """A TIFF of pages with a mask each, behind them or below them; the pages and the masks."""
    file, pages, masks = io.BytesIO(), [], []
    options = {"metadata": None, "contiguous": False}
    with tifffile.TiffWriter(file) as writer:
        for number in range(count):
            pages.append(noise(30, 20, 3) // (number + 1))
            masks.append(noise(30, 20, 1)[..., 0] > 40 + 90 * number)
            tags = [(274, "H", 1, orientation, True)]
            further = {"extratags": tags, "subifds": 1} if below else {"extratags": tags}
            writer.write(pages[-1], photometric="rgb", **options, **further)
            mask = masks[-1][smaller:]
            writer.write(mask, photometric="mask", subfiletype=kind, compression="zlib", **options)
    return file.getvalue(), pages, masks


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_masks_of_pages_are_kept(count, below):
    data, pages, masks = masked_pages(count, below)
    found = list(decode_all("a", data))
    assert [picture.notes for picture in found] == [()] * count
    for picture, page, mask in zip(found, pages, masks, strict=True):
        np.testing.assert_array_equal(picture.valid, mask)
        np.testing.assert_array_equal(picture.pixels[mask], page[mask])
        # What is not seen continues what is.
        assert not np.array_equal(picture.pixels[~mask], page[~mask])
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2026:01:02 03:04:05"}
    bright = [
        dataclasses.replace(
            picture.with_pixels(picture.pixels.repeat(2, 0).repeat(2, 1)), exif=exif.tobytes()
        )
        for picture in found
    ]
    again = encode_all("b.tif", bright)
    for picture, mask in zip(decode_all("b", again), masks, strict=True):
        np.testing.assert_array_equal(picture.valid, mask.repeat(2, 0).repeat(2, 1))
        assert b"03:04:05" in picture.exif
        assert picture.notes == ()
    assert left_out("b.png", found[0])[-1] == "its mask is left out: PNG holds none"
    assert left_out("b.tif", found[0]) == ()


def test_where_no_mask_can_go_that_is_told(neid, tmp_path):
    (tmp_path / "a.tif").write_bytes(masked_pages(1)[0])
    code, _, err = neid("pack", tmp_path / "a.tif", f"--output={tmp_path / 'a.jpg'}")
    assert (code, err.count("its mask is left out")) == (0, 1)
    with pytest.warns(UserWarning, match="its mask is left out"):
        neid_tf.enhance(tmp_path / "a.tif", lambda batch: batch.repeat(2, 1).repeat(2, 2))


def test_a_mask_turns_with_its_picture():
    data, _, [mask] = masked_pages(1, orientation=6)
    np.testing.assert_array_equal(decode("a", data).valid, mask[::-1].T)


@pytest.mark.parametrize(("smaller", "kind"), [(3, 4), (0, 5)])
def test_a_mask_of_another_size_is_told(smaller, kind):
    data, [page], _ = masked_pages(1, smaller=smaller, kind=kind)
    picture = decode("a", data)
    assert picture.valid is None
    np.testing.assert_array_equal(picture.pixels, page)
    told = "1 mask of it left out" if kind == 4 else "1 reduced copy of it (preview"
    assert picture.notes[0].startswith(told)


def test_a_damaged_mask_is_named():
    data, _, _ = masked_pages(1)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[1].tags[279].valueoffset
    damaged = data[:place] + (10**6).to_bytes(4, "little") + data[place + 4 :]
    with pytest.raises(PictureError, match="a part of its picture is not in the file"):
        decode("a", damaged)
