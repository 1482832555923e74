"""EXIF and ICC: turned once, carried over, dropped where broken or where it would lie."""

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from neid_tf.pictures import Picture, left_out, metadata, read, read_pixels, write
from neid_tf.pictures import exif as exif_blocks
from neid_tf.pictures.raster import Extras
from tests.pictures.picture_files import shown, smooth

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SUFFIXES = (".jpg", ".png", ".tif", ".webp")
ORIENTATION, EXIF_IFD, GPS_IFD, INTEROPERABILITY = 0x0112, 0x8769, 0x8825, 0xA005
MAKER_NOTE = bytes(range(64))


def profile(space, pcs, **tags):
    """A hand-made ICC version 2 profile; lengths and offsets as the specification says."""
    text = b"made by hand\0"
    tags = {
        "desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        "cprt": b"text" + bytes(4) + text,
        "wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        **tags,
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name.encode(), start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(">4sI4s4s4s", bytes(4), 0x02100000, kind, space, pcs)
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header = header.ljust(64, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    size = struct.pack(">I", start + len(body))
    return size + header.ljust(124, b"\0") + struct.pack(">I", len(tags)) + table + body


def pink_cmyk_profile():
    """Inks of a strange press: its cyan prints pink, its yellow and magenta nothing."""
    ramp = bytes(range(256))
    grid = b""
    for cyan, _, _, black in np.ndindex(2, 2, 2, 2):
        grid += bytes([(255 - 80 * cyan) * (1 - black), 128 + 60 * cyan * (1 - black), 128])
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    shape = bytes([4, 3, 2, 0])
    table = b"mft1" + bytes(4) + shape + identity + ramp * 4 + grid + ramp * 3
    return profile(b"CMYK", b"Lab ", A2B0=table, A2B1=table)


GRAY = profile(b"GRAY", b"XYZ ", kTRC=b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0233))
PINK = pink_cmyk_profile()


def exif(orientation=1):
    """An EXIF block such as a camera writes, and the orientation it asks for."""
    block = Image.Exif()
    block[0x010F], block[0x0110], block[0x013B] = "Maker", "Model 7", "Somebody"
    block[ORIENTATION] = orientation
    block[EXIF_IFD] = {0x829A: 0.125, 0x8827: 1600, 0x9003: "2024:01:02 03:04:05"}
    block[EXIF_IFD] |= {0x927C: MAKER_NOTE, INTEROPERABILITY: {1: "R98"}}
    block[GPS_IFD] = {1: "N", 2: (52.0, 31.0, 12.5)}
    return block.tobytes()


def steps():
    """A picture without any symmetry, whose blocks survive JPEG."""
    levels = np.array([[0, 60, 120], [180, 240, 30]], np.uint8)
    return np.repeat(np.kron(levels, np.ones((16, 16), np.uint8))[..., None], 3, axis=-1)


def write_with(path, orientation):
    """A file of `steps` with an EXIF orientation, written by Pillow."""
    options = {"lossless": True} if path.suffix == ".webp" else {}
    Image.fromarray(steps()).save(path, exif=exif(orientation), **options)


# --- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_orientation_is_applied_exactly_once(suffix, orientation, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_with(path, orientation)
    turned = read(path)
    marked = Image.fromarray(steps())
    marked.getexif()[ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(marked))
    np.testing.assert_allclose(turned.pixels.astype(int), expected, atol=4)
    for again in SUFFIXES:
        write(tmp_path / f"b{again}", turned)
        np.testing.assert_allclose(read(tmp_path / f"b{again}").pixels, turned.pixels, atol=8)
        assert b"eXIfExif" not in (tmp_path / f"b{again}").read_bytes()
        with Image.open(tmp_path / f"b{again}") as image:
            assert image.getexif().get(ORIENTATION, 1) == 1
            assert image.getexif()[0x010F] == "Maker"


def test_known_turn(tmp_path):
    write_with(tmp_path / "a.png", 6)
    expected = [[180, 0], [240, 60], [30, 120]]
    assert read(tmp_path / "a.png").pixels[::16, ::16, 0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_turns_too(dtype, tmp_path):
    samples = np.dstack([steps(), steps()[..., 0] // 2]).astype(dtype)
    extra = [(ORIENTATION, "H", 1, 8, True)]
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "extratags": extra}
    tifffile.imwrite(tmp_path / "a.tif", samples, **options)
    turned = read(tmp_path / "a.tif")
    seen = shown(turned.pixels, turned.alpha)
    np.testing.assert_array_equal(seen[..., 0], np.rot90(samples[..., 0]) * (turned.alpha > 0))
    np.testing.assert_array_equal(turned.alpha, np.rot90(samples[..., 3]))


# --- EXIF


def details(path):
    """The EXIF of a file as Pillow reads it: main, EXIF and GPS entries."""
    with Image.open(path) as image:
        block = image.getexif()
        camera = dict(block.get_ifd(EXIF_IFD))
        if INTEROPERABILITY in camera:
            camera[INTEROPERABILITY] = block.get_ifd(INTEROPERABILITY)
        return dict(block), camera, block.get_ifd(GPS_IFD)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_exif_is_carried_over(source, target, dtype, tmp_path):
    write_with(tmp_path / f"a{source}", 3)
    original = read(tmp_path / f"a{source}")
    write(tmp_path / f"b{target}", original.with_pixels(steps().astype(dtype)))
    main, camera, place = details(tmp_path / f"b{target}")
    assert (main[0x010F], main[0x0110], main[0x013B]) == ("Maker", "Model 7", "Somebody")
    assert main.get(ORIENTATION, 1) == 1
    assert (float(camera[0x829A]), camera[0x8827]) == (0.125, 1600)
    assert camera[0x9003] == "2024:01:02 03:04:05"
    # Pillow writes a wrong address of it into TIFFs.
    assert camera.get(INTEROPERABILITY) == (None if source == ".tif" else {1: "R98"})
    # A TIFF's directories lie elsewhere, and the notes' addresses would be wrong.
    assert camera.get(0x927C) == (None if ".tif" in (source, target) else MAKER_NOTE)
    told = original.notes + left_out(f"b{target}", original)
    assert sum("aker" in line for line in told) == (".tif" in (source, target))
    assert (place[1], *map(float, place[2])) == ("N", 52, 31, 12.5)
    assert read(tmp_path / f"b{target}").pixels.shape == steps().shape


def test_only_orientation_and_thumbnail_change():
    before = exif(5)
    kept, orientation = exif_blocks.settle_exif(before)
    assert orientation == 5
    assert sum(a != b for a, b in zip(before, kept, strict=True)) == 1
    assert exif_blocks.settle_exif(kept) == (kept, 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "code"), [(1, "B3x"), (3, "H2x"), (4, "I")])
def test_orientation_of_any_integer_type_and_a_thumbnail(order, kind, code):
    entry = struct.pack(f"{order}HHI{code}", ORIENTATION, kind, 1, 7)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
    block = start + entry + struct.pack(f"{order}I", 26) + b"thumbnail"
    kept, orientation = exif_blocks.settle_exif(block)
    assert orientation == 7
    assert kept[-13:] == bytes(4) + b"thumbnail"
    read_back = Image.Exif()
    read_back.load(kept)
    assert read_back[ORIENTATION] == 1


BROKEN = {
    "empty": b"Exif\0\0",
    "junk": b"Exif\0\0junk junk junk junk",
    "wrong number": exif(1).replace(b"MM\0*", b"MM\0+"),
    "directory out of the block": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "too many entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(24),
    "cut off": exif(1)[:40],
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_broken_exif_is_dropped(suffix, name, tmp_path, capfd):
    Image.fromarray(steps()).save(tmp_path / f"a{suffix}", exif=BROKEN[name])
    back = read(tmp_path / f"a{suffix}")
    assert back.exif is None
    assert back.pixels.shape == steps().shape
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_orientation_turns_nothing(value, tmp_path):
    write_with(tmp_path / "a.png", value)
    back = read(tmp_path / "a.png")
    np.testing.assert_array_equal(back.pixels, steps())
    assert exif_blocks.settle_exif(back.exif)[1] == 1


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bmp"])
def test_exif_that_does_not_fit_is_left_out(suffix, tmp_path, capfd):
    block = Image.Exif()
    block[0x010F] = "M" * 70_000
    broken_inside = exif()[:-40]
    for blob in (block.tobytes(), broken_inside):
        write(tmp_path / f"a{suffix}", Picture(steps(), exif=blob))
        np.testing.assert_allclose(read(tmp_path / f"a{suffix}").pixels, steps(), atol=8)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_resolutions_turn_with_their_picture(orientation):
    block = Image.Exif()
    block[ORIENTATION], block[282], block[283], block[296] = orientation, 300.0, 150.0, 2
    block[EXIF_IFD] = {0xA20E: 5000.0, 0xA20F: 6000.0}
    settled, asked = exif_blocks.settle_exif(block.tobytes())
    entries, turn = exif_blocks.entries_of(settled), 1 if orientation < 5 else -1
    assert asked == orientation
    assert [entries[282], entries[283]] == [300, 150][::turn]
    assert list(entries.get_ifd(EXIF_IFD).values()) == [5000, 6000][::turn]


def test_a_directory_outside_of_an_exif_block_costs_nothing_else():
    block = Image.Exif()
    block[ORIENTATION], block[282], block[283], block[EXIF_IFD] = 6, 300.0, 150.0, {0xA20E: 1.0}
    whole = bytearray(block.tobytes())
    at = whole.index(struct.pack(">H", EXIF_IFD))
    struct.pack_into(">I", whole, at + 8, 10**8)
    settled, asked = exif_blocks.settle_exif(bytes(whole))
    assert asked == 6
    assert exif_blocks.entries_of(settled)[282] == 150


def test_exif_that_cannot_be_written_anew_is_left_out():
    for value in ("three hundred", float("nan")):
        block = Image.Exif()
        block[0x010F], block[0xC000] = "Maker", value
        odd = block.tobytes().replace(b"\xc0\0", b"\1\x1a")  # It becomes the resolution.
        assert exif_blocks.compact(exif_blocks.settle_exif(odd)[0]) == (None, False)
    assert exif_blocks.compact(None) == (None, False)


# --- ICC


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_icc_is_carried_over(suffix, dtype, tmp_path):
    for gray, icc in ((False, SRGB), (True, GRAY)):
        original = Picture(steps().astype(dtype), gray=gray, icc=icc)
        write(tmp_path / f"a{suffix}", original)
        back = read(tmp_path / f"a{suffix}")
        becomes_rgb = gray and suffix == ".webp"
        assert back.icc == (None if becomes_rgb else icc)
        with Image.open(tmp_path / f"a{suffix}") as image:
            assert image.info.get("icc_profile") == back.icc


def test_a_profile_of_which_a_part_is_missing_is_told(tmp_path):
    Image.fromarray(steps()).save(tmp_path / "a.jpg", icc_profile=SRGB)
    data = (tmp_path / "a.jpg").read_bytes().replace(b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\1\2")
    (tmp_path / "a.jpg").write_bytes(data)
    back = read(tmp_path / "a.jpg")
    assert (back.icc, back.notes) == (None, (metadata.PROFILE_LEFT_OUT,))


NO_TEXT = SRGB[:16] + b"R\xdaB " + SRGB[20:]  # The name of its colours is none.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "icc", [b"", b"junk" * 50, SRGB[:300], bytes(2_000_000), GRAY, PINK, NO_TEXT]
)
def test_icc_of_junk_or_other_colours_is_dropped(icc, suffix, tmp_path, capfd):
    Image.fromarray(steps()).save(tmp_path / f"a{suffix}", icc_profile=icc)
    assert read(tmp_path / f"a{suffix}").icc is None
    write(tmp_path / f"b{suffix}", Picture(steps(), icc=icc))
    assert read(tmp_path / f"b{suffix}").icc is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("packed", [b"junk", zlib.compress(bytes(50_000_000)), b""])
def test_icc_chunk_that_is_broken_or_a_bomb(packed, tmp_path):
    body = b"name\0\0" + packed
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body
    chunk += struct.pack(">I", zlib.crc32(b"iCCP" + body))
    plain = imagecodecs.png_encode(steps())
    (tmp_path / "a.png").write_bytes(plain[:33] + chunk + plain[33:])
    tracemalloc.start()
    back = read(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert back.icc is None
    assert peak < 3 * metadata.MAX_ICC_BYTES
    np.testing.assert_array_equal(back.pixels, steps())


# --- CMYK


def inks():
    """H×W×4 ink amounts in blocks that survive JPEG: none, cyan, magenta, yellow, black, some."""
    amounts = [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]]
    return np.kron(
        np.array([[*amounts, [51, 0, 102, 51]]], np.uint8), np.ones((16, 16, 1), np.uint8)
    )


def test_cmyk_jpeg_without_profile_has_the_right_colours(tmp_path):
    image = Image.frombytes("CMYK", (96, 16), inks().tobytes())
    image.save(tmp_path / "a.jpg", quality=95, subsampling=0)
    data = (tmp_path / "a.jpg").read_bytes()
    assert b"Adobe" in data
    # Photoshop's convention, seen with a decoder that corrects nothing: 255 is no ink.
    stored = imagecodecs.jpeg8_decode(data, outcolorspace="CMYK")
    np.testing.assert_allclose(stored.astype(int), 255 - inks().astype(int), atol=6)
    back = read(tmp_path / "a.jpg")
    expected = [[255] * 3, [0, 255, 255], [255, 0, 255], [255, 255, 0], [0] * 3, [163, 204, 122]]
    np.testing.assert_allclose(back.pixels[8, 8::16], expected, atol=6)
    assert (back.icc, back.gray, back.format, back.alpha) == (None, False, "JPEG", None)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_through_its_profile_which_is_not_kept(suffix, tmp_path):
    image = Image.frombytes("CMYK", (96, 16), inks().tobytes())
    image.save(tmp_path / f"a{suffix}", icc_profile=PINK)
    back = read(tmp_path / f"a{suffix}")
    white, cyan, magenta, _, black, _ = back.pixels[8, 8::16].astype(int)
    assert white.min() > 245
    assert magenta.min() > 240
    assert black.max() < 10
    assert cyan[0] > 230
    assert cyan[0] - cyan[1] > 60
    assert back.icc is None
    write(tmp_path / "b.jpg", back)
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info


def test_cmyk_with_junk_for_a_profile(tmp_path, capfd):
    image = Image.frombytes("CMYK", (96, 16), inks().tobytes())
    for icc in (b"junk" * 99, SRGB, PINK[:200], profile(b"CMYK", b"Lab ")):
        image.save(tmp_path / "a.jpg", icc_profile=icc, quality=95, subsampling=0)
        np.testing.assert_allclose(read(tmp_path / "a.jpg").pixels[8, 24], [0, 255, 255], atol=6)
    assert capfd.readouterr() == ("", "")


def test_a_packet_of_many_spaces_is_read_at_once(tmp_path):
    """Room that is left for later is spaces; tried from each of them, this would take days."""
    start, spaces = b'<x:xmpmeta hdrgm:Version="1"', b" " * 2**22
    packet = start + spaces + b"GCamera:MotionPhoto='1'>" + spaces + b"</x:xmpmeta>"
    write(tmp_path / "a.png", Picture(smooth(), extras=Extras(xmp=packet)))
    kept = read(tmp_path / "a.png").extras.xmp
    assert kept == b"<x:xmpmeta>" + spaces + b"</x:xmpmeta>"


def with_colours_swapped(icc):
    """A profile whose red is green."""
    red, green = (icc.index(name, 128) for name in (b"rXYZ", b"gXYZ"))
    table = bytearray(icc)
    table[red + 4 : red + 12], table[green + 4 : green + 12] = (
        icc[green + 4 : green + 12],
        icc[red + 4 : red + 12],
    )
    return bytes(table)


def test_numbers_that_do_not_mean_srgb_are_told(tmp_path):
    told = []
    for number, icc in enumerate((None, SRGB, with_colours_swapped(SRGB))):
        path = tmp_path / f"{number}.png"
        write(path, Picture(steps(), icc=icc))
        read_pixels(path, told.append)
    write(tmp_path / "gray.png", Picture(steps(), gray=True, icc=GRAY))
    read_pixels(tmp_path / "gray.png", told.append)
    reason = "its profile has other colours than sRGB, and its numbers are taken for those"
    assert told == [f"{tmp_path / '2.png'}: {reason}"]


def of_light(icc):
    """A profile whose numbers mean light, of one of sRGB."""
    table = bytearray(icc)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        place = int.from_bytes(icc[(at := icc.index(name)) + 4 : at + 8], "big")
        table[place : place + 12] = b"curv" + bytes(8)
    return bytes(table)


def test_levels_of_linear_light_are_told(tmp_path):
    reason = "its levels are those of linear light and taken for sRGB's"
    for icc, told in ((SRGB, ()), (of_light(SRGB), (reason,))):
        for suffix in (".png", ".tif"):
            write(tmp_path / f"a{suffix}", Picture(steps(), icc=icc))
            assert read(tmp_path / f"a{suffix}").notes == told
    for gamma, also, told in ((45455, (), ()), (100000, (), (reason,)), (100000, (b"sRGB",), ())):
        chunks = [(b"gAMA", struct.pack(">I", gamma)), *((name, b"\0") for name in also)]
        write(tmp_path / "b.png", Picture(steps(), extras=Extras(chunks=tuple(chunks))))
        assert read(tmp_path / "b.png").notes == told
