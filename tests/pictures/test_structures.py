"""Files whose structure has to be walked: what is in them comes as other programs show it."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from neid_tf import pictures
from neid_tf.pictures import PictureError, decode, decode_all, encode, encode_all
from neid_tf.pictures.jpeg2000 import boxes
from tests.pictures.picture_files import noise, saved, smooth


def box(name, body):
    return struct.pack(">I4s", len(body) + 8, name) + body


def parts(data):
    """The boxes of a file, by their names."""
    return dict(boxes(data))


def jp2(samples, **options):
    return imagecodecs.jpeg2k_encode(samples, codecformat="jp2", reversible=True, **options)


def with_header(data, *further):
    """A JP2 with further boxes in its header, which take the place of those of their names."""
    found = parts(data)
    header = parts(found[b"jp2h"]) | dict(further)
    found[b"jp2h"] = b"".join(box(*one) for one in header.items())
    return b"".join(box(*one) for one in found.items())


@pytest.mark.parametrize("bits", [8, 10])
def test_a_moving_avif_gives_its_first_picture(bits):
    stored = np.stack([smooth()] * 3).astype(np.uint8 if bits == 8 else np.uint16) << (bits - 8)
    data = imagecodecs.avif_encode(stored, level=100, bitspersample=bits, pixelformat="444")
    picture = decode("a", data)
    np.testing.assert_allclose(picture.pixels, smooth(), atol=4)
    assert picture.notes[0] == "2 further pictures of it are left out"
    assert picture.notes[1:] == (("8 bits of its samples are read",) if bits > 8 else ())


def test_a_heic_of_many_bits_with_associated_alpha():
    pillow_heif = pytest.importorskip("pillow_heif")
    alpha = np.full((48, 64, 1), 30000, np.uint16)
    colours = smooth().astype(np.uint16) * 257
    samples = np.concatenate([colours * (alpha / 65535), alpha], -1).astype(np.uint16)
    made = pillow_heif.from_bytes("RGBa;16", (64, 48), samples.tobytes())
    file = io.BytesIO()
    made.save(file, quality=-1, chroma=444, bit_depth=10)
    picture = decode("a", file.getvalue())
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.pixels / 65535, colours / 65535, atol=0.02)


def gif(*frames, width, height):
    """A GIF of frames (x, y, indices), all of one code length: each code is cleared before."""
    palette = bytes(np.arange(256, dtype=np.uint8).repeat(3))
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + palette
    for left, top, indices in frames:
        codes = [code for index in indices.reshape(-1) for code in (256, int(index))] + [257]
        bits = sum(code << (9 * place) for place, code in enumerate(codes))
        packed = bits.to_bytes(-(-9 * len(codes) // 8), "little")
        blocks = b"".join(bytes([len(p)]) + p for p in _cut(packed, 255))
        size = struct.pack("<4HB", left, top, *indices.shape[::-1], 0)
        data += b"\x21\xf9\x04\0\x0a\0\0\0\x2c" + size + b"\x08" + blocks + b"\0"
    return data + b";"


def _cut(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_frame_beyond_the_screen_of_a_gif_is_cut(suffix):
    first, second = noise(30, 40, 1)[..., 0], noise(10, 12, 1, seed=1)[..., 0]
    data = gif((0, 0, first), (35, 25, second), width=40, height=30)
    expected = first.copy()
    expected[25:, 35:] = second[:5, :5]
    frames = list(decode_all("a.gif", data))
    for frame, shown in zip(frames, (first, expected), strict=True):
        np.testing.assert_array_equal(frame.pixels[..., 0], shown)
    with Image.open(io.BytesIO(encode_all(f"a{suffix}", frames))) as image:
        assert (image.n_frames, image.size) == (2, (40, 30))


def test_names_of_boxes_in_a_jpeg_xl_are_no_boxes():
    pytest.importorskip("pillow_jxl")
    block = Image.Exif()
    block[0x010E] = "made with jxlc and jxlp"
    written = encode("a.jxl", pictures.Picture(smooth(), exif=block.tobytes()))
    assert b"jxlp" in written.split(b"made with")[0] or b"jxlc" in written
    np.testing.assert_array_equal(decode("a", written).pixels, smooth())
    jpeg = saved(Image.fromarray(smooth()), "JPEG", comment=b"jxlc")
    decoded = decode("a", imagecodecs.jpegxl_encode_jpeg(jpeg))
    np.testing.assert_allclose(decoded.pixels, smooth(), atol=30)


def test_the_first_codestream_of_a_jp2_is_checked_and_read():
    deep, small = smooth().astype(np.uint16) * 200, np.zeros((8, 8), np.uint8)
    data = jp2(deep) + box(b"jp2c", parts(jp2(small))[b"jp2c"])
    picture = decode("a", data)
    np.testing.assert_array_equal(picture.pixels, deep)
    assert picture.notes == ("1 further pictures of it are left out",)
    with pytest.raises(PictureError, match="over the limit of 100"):
        decode("a", data, 100)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_channel_of_no_declared_meaning_is_a_band(dtype):
    samples = noise(20, 30, 4, dtype)
    plain = jp2(samples)
    header = parts(parts(plain)[b"jp2h"])
    assert b"cdef" not in header
    picture = decode("a", plain)
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.bands[..., 0], samples[..., 3])
    np.testing.assert_array_equal(picture.pixels, samples[..., :3])
    told = [(n, 0, n + 1) for n in range(3)] + [(3, 1, 0)]
    told = struct.pack(">H", 4) + b"".join(struct.pack(">3H", *one) for one in told)
    picture = decode("a", with_header(plain, (b"cdef", told)))
    assert picture.bands is None
    np.testing.assert_array_equal(picture.alpha, samples[..., 3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_of_a_jp2_come_in_the_order_that_it_tells(dtype):
    samples = noise(20, 30, 3, dtype)
    told = struct.pack(">H", 3) + b"".join(struct.pack(">3H", n, 0, 3 - n) for n in range(3))
    picture = decode("a", with_header(jp2(samples), (b"cdef", told)))
    np.testing.assert_array_equal(picture.pixels, samples[..., ::-1])


def test_a_jp2_of_three_bands_that_says_gray_is_read():
    samples = noise(20, 30, 3)
    gray = b"\1\0\0" + struct.pack(">I", 17)
    picture = decode("a", with_header(jp2(samples), (b"colr", gray)))
    np.testing.assert_array_equal(picture.pixels, samples)


def test_a_comment_does_not_tell_how_a_jp2_is_coded():
    stream = parts(jp2(smooth()))[b"jp2c"]
    for text in (b"\xff\x52" + bytes(30), b"x" * 5000):
        size = 4 + int.from_bytes(stream[4:6], "big")  # SIZ lies first.
        comment = b"\xff\x64" + struct.pack(">HH", len(text) + 4, 1) + text
        data = jp2(smooth()).replace(stream, stream[:size] + comment + stream[size:])
        data = with_header(b"".join(box(*p) for p in _with(data, stream, size, comment)))
        assert decode("a", data).lossless


def _with(data, stream, size, comment):
    for name, body in boxes(jp2(smooth())):
        yield name, stream[:size] + comment + stream[size:] if name == b"jp2c" else body


def test_a_tiff_with_a_palette_of_two_colours(tmp_path):
    stored = noise(20, 33, 1)[..., 0] > 100
    image = Image.fromarray(stored.astype(np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 150, 100])
    data = np.packbits(stored, axis=1).tobytes()
    palette = [0] * 6
    palette[0::2], palette[1::2] = (10 * 257, 20 * 257, 30 * 257), (200 * 257, 150 * 257, 100 * 257)
    write_tiff(tmp_path / "a.tif", data, stored.shape, bits=1, kind=3, palette=palette)
    expected = np.where(stored[..., None], [200, 150, 100], [10, 20, 30])
    np.testing.assert_array_equal(pictures.read(tmp_path / "a.tif").pixels, expected)


def write_tiff(path, data, shape, bits, kind, palette=(), further=()):
    """Write a TIFF of one strip; further entries are (tag, type, numbers)."""
    height, width = shape[:2]
    channels = 1 if len(shape) == 2 else shape[2]
    entries = [
        *((256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * channels), (259, 3, [1])),
        *((262, 3, [kind]), (273, 4, [8]), (277, 3, [channels]), (278, 3, [height])),
        (279, 4, [len(data)]),
        *([(320, 3, list(palette))] if palette else []),
        *further,
    ]
    content = b"II*\0" + struct.pack("<I", 8 + len(data) + len(data) % 2) + data
    content += bytes(len(data) % 2)
    directory, values = struct.pack("<H", len(entries)), b""
    place = len(content) + 2 + 12 * len(entries) + 4
    for tag, code, numbers in sorted(entries):
        packed = struct.pack(f"<{len(numbers)}{ {3: 'H', 4: 'I', 5: 'I'}[code] }", *numbers)
        count = len(numbers) // 2 if code == 5 else len(numbers)
        if len(packed) <= 4:
            directory += struct.pack("<HHI", tag, code, count) + packed.ljust(4, b"\0")
        else:
            directory += struct.pack("<HHII", tag, code, count, place + len(values))
            values += packed
    path.write_bytes(content + directory + bytes(4) + values)


def test_levels_of_a_ycbcr_tiff_are_those_that_it_tells(tmp_path):
    wanted = np.asarray(Image.fromarray(smooth()).convert("YCbCr")).astype(float)
    narrow = [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]
    scale = np.array([219, 224, 224]) / 255
    stored = np.rint((wanted - [0, 128, 128]) * scale + [16, 128, 128]).astype(np.uint8)
    further = [(530, 3, [1, 1]), (532, 5, narrow)]
    write_tiff(tmp_path / "a.tif", stored.tobytes(), stored.shape, 8, 6, further=further)
    np.testing.assert_allclose(pictures.read(tmp_path / "a.tif").pixels, smooth(), atol=5)
    short = [*further[:1], (529, 3, [1])]  # A tag that can't be read so is passed over.
    usual = wanted.astype(np.uint8)
    write_tiff(tmp_path / "c.tif", usual.tobytes(), usual.shape, 8, 6, further=short)
    np.testing.assert_allclose(pictures.read(tmp_path / "c.tif").pixels, smooth(), atol=3)
    write_tiff(tmp_path / "b.tif", usual.tobytes(), usual.shape, 8, 6, further=further[:1])
    np.testing.assert_allclose(pictures.read(tmp_path / "b.tif").pixels, smooth(), atol=3)


def test_planes_of_a_jpeg_tiff_are_read(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 3, "dtype": "uint8"}
    profile["transform"] = rasterio.transform.from_origin(10.0, 20.0, 2.0, 2.0)
    options = {"photometric": "rgb", "compress": "jpeg", "JPEG_QUALITY": 95}
    pixels = np.pad(smooth(), ((0, 16), (0, 0), (0, 0)), mode="edge")
    for interleave in ("band", "pixel"):
        path = tmp_path / f"{interleave}.tif"
        with rasterio.open(path, "w", **profile, **options, interleave=interleave) as file:
            file.write(np.moveaxis(pixels, -1, 0))
        np.testing.assert_allclose(pictures.read(path).pixels, pixels, atol=20)


def test_pictures_behind_the_page_of_a_stack_are_told(tmp_path):
    stack = noise(20, 30, 4).transpose(2, 0, 1).copy()
    tifffile.imwrite(tmp_path / "a.tif", stack, truncate=True, photometric="minisblack")
    picture = pictures.read(tmp_path / "a.tif")
    assert picture.notes == ("3 pictures that lie behind its pages left out",)
    tifffile.imwrite(tmp_path / "b.tif", stack, imagej=True)
    assert pictures.read(tmp_path / "b.tif").notes == ()


@pytest.mark.parametrize("scale", [1, 2])
def test_what_a_pixel_of_imagej_measures_is_kept(scale, tmp_path):
    pixels, options = noise(20, 30, 1)[..., 0], {"imagej": True, "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=(3.25, 3.25), **options)
    picture = pictures.read(tmp_path / "a.tif")
    enlarged = picture.with_pixels(picture.pixels.repeat(scale, 0).repeat(scale, 1))
    pictures.write(tmp_path / "b.tif", enlarged)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        for code in (282, 283):
            top, bottom = file.pages[0].tags[code].value
            assert top / bottom == pytest.approx(3.25 * scale, rel=1e-6)
        assert file.pages[0].tags[296].value == 1
        assert "unit=um" in file.pages[0].description
    assert pictures.left_out("c.webp", picture) == ()


def test_what_lies_behind_a_webp_is_told():
    plain = saved(Image.fromarray(smooth()), "WEBP", lossless=True)
    assert decode("a", plain).notes == ()
    told = decode("a", plain + b"trailing junk here").notes
    assert told == ("18 bytes behind the picture are left out",)


def test_a_comment_right_behind_the_largest_level_of_a_ppm():
    pixels = noise(4, 5, 3)
    plain = b"P6 5 4 255\n" + pixels.tobytes()
    told = b"P6 5 4 255# said so\n" + pixels.tobytes()
    np.testing.assert_array_equal(decode("a", plain).pixels, pixels)
    picture = decode("a", told)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.extras.comments == (b"said so",)
