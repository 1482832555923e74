"""What lies beside the pixels: kept, brought up to date with size and orientation, or told."""

import binascii
import dataclasses
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from neid_tf import pictures
from neid_tf.pictures import Picture, formats, jpeg, left_out, metadata, raw, read, write
from neid_tf.pictures import exif as exif_blocks
from neid_tf.pictures.raster import Extras
from tests.pictures.picture_files import PNG_START, chunk, noise, saved, smooth

XMP = b"""<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description
 tiff:Orientation="6" exif:PixelXDimension="64" GPano:FullPanoWidthPixels="64"
 GPano:ProjectionType="equirectangular"><GPano:FullPanoHeightPixels>48</GPano:FullPanoHeightPixels>
<xmp:Thumbnails><rdf:Alt>DARK</rdf:Alt></xmp:Thumbnails><dc:creator>me &#228;</dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
IPTC = b"\x1c\x02\x78\x00\x05hello\x1c\x02\x50\x00\x02me"
HOLDS_XMP = (".jpg", ".png", ".tif", ".webp")
HOLDS_IPTC = (".jpg", ".png", ".tif")


def enlarged(picture, scale):
    """The picture with brighter pixels, of `scale` times its size."""
    return picture.with_pixels(picture.pixels.repeat(scale, 0).repeat(scale, 1) | np.uint8(1))


def png_with(*chunks):
    """A PNG of `smooth` with further chunks behind its header."""
    plain = saved(Image.fromarray(smooth()), "PNG")
    return plain[:33] + b"".join(chunk(*c) for c in chunks) + plain[33:]


def read_bytes(tmp_path, data):
    """Read a file of these bytes."""
    (tmp_path / "in").write_bytes(data)
    return read(tmp_path / "in")


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("target", HOLDS_XMP)
@pytest.mark.parametrize("source", HOLDS_XMP)
def test_xmp_is_kept_and_follows_the_size(source, target, scale, tmp_path):
    write(tmp_path / f"a{source}", Picture(smooth(), extras=Extras(xmp=XMP)))
    with Image.open(tmp_path / f"a{source}") as image:
        assert b"equirectangular" in image.info["xmp"]
    picture = read(tmp_path / f"a{source}")
    write(tmp_path / f"b{target}", enlarged(picture, scale))
    with Image.open(tmp_path / f"b{target}") as image:
        packet = image.info["xmp"]
    assert b'tiff:Orientation="6"' in packet  # It was not turned.
    assert b'exif:PixelXDimension="%d"' % (64 * scale) in packet
    assert b'GPano:FullPanoWidthPixels="%d"' % (64 * scale) in packet
    assert b">%d</GPano:FullPanoHeightPixels>" % (48 * scale) in packet
    assert b'ProjectionType="equirectangular"' in packet
    assert b"me &#228;" in packet
    assert b"DARK" not in packet


@pytest.mark.parametrize(("asked", "told"), [(None, 6), (1, 6), (6, 1), (3, 1)])
def test_xmp_says_that_a_picture_is_upright_where_it_was_turned(asked, told, tmp_path):
    exif = Image.Exif()
    if asked:
        exif[ExifTags.Base.Orientation] = asked
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=exif, xmp=XMP)
    picture = read(tmp_path / "a.jpg")
    upright = smooth().shape[:2]
    assert picture.pixels.shape[:2] == (upright[::-1] if asked == 6 else upright)
    write(tmp_path / "b.jpg", picture)
    with Image.open(tmp_path / "b.jpg") as image:
        assert b'tiff:Orientation="%d"' % told in image.info["xmp"]


@pytest.mark.parametrize("target", HOLDS_IPTC)
@pytest.mark.parametrize("source", HOLDS_IPTC)
def test_iptc_is_kept(source, target, tmp_path):
    write(tmp_path / f"a{source}", Picture(smooth(), extras=Extras(iptc=IPTC)))
    write(tmp_path / f"b{target}", read(tmp_path / f"a{source}"))
    assert read(tmp_path / f"b{target}").extras.iptc == IPTC


def test_iptc_as_others_write_it(tmp_path):
    from PIL import IptcImagePlugin

    block = b"8BIM\x04\x06\x03abc\0\0\0\x03xyz\0" + metadata.photoshop_of_iptc(IPTC)[14:]
    segment = b"Photoshop 3.0\0" + block
    data = saved(Image.fromarray(smooth()), "JPEG")
    data = data[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    picture = read_bytes(tmp_path, data)
    assert picture.extras.iptc == IPTC
    write(tmp_path / "b.jpg", picture)
    with Image.open(tmp_path / "b.jpg") as image:
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"hello", (2, 80): b"me"}


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".bmp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".bmp"])
def test_density_is_kept(source, target, tmp_path):
    Image.fromarray(smooth()).save(tmp_path / f"a{source}", dpi=(300, 150))
    write(tmp_path / f"b{target}", enlarged(read(tmp_path / f"a{source}"), 2))
    with Image.open(tmp_path / f"b{target}") as image:
        assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(("unit", "factor"), [(2, 1), (3, 2.54)])
def test_density_that_only_exif_says_is_kept_in_a_tiff(suffix, unit, factor, tmp_path):
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 300.0, 150.0, unit
    write(tmp_path / f"a{suffix}", Picture(smooth(), exif=exif.tobytes()))
    write(tmp_path / "b.tif", read(tmp_path / f"a{suffix}"))
    assert read(tmp_path / "b.tif").extras.density == (300 * factor, 150 * factor, True)
    for dots in (0, 2**32 - 1):
        exif[282], exif[296] = TiffImagePlugin.IFDRational(dots), 3
        write(tmp_path / "b.tif", Picture(smooth(), exif=exif.tobytes()))
        assert read(tmp_path / "b.tif").extras.density is None


def test_density_turns_with_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", dpi=(300, 150), exif=exif)
    assert read(tmp_path / "a.jpg").extras.density == (150, 300, True)


def test_no_density_is_not_made_up(tmp_path):
    for suffix in (".jpg", ".png", ".tif", ".bmp"):
        write(tmp_path / f"a{suffix}", Picture(smooth()))
        assert read(tmp_path / f"a{suffix}").extras.density is None


@pytest.mark.parametrize("target", [".jpg", ".png"])
@pytest.mark.parametrize("source", [".jpg", ".png"])
def test_comments_are_kept(source, target, tmp_path):
    write(tmp_path / f"a{source}", Picture(smooth(), extras=Extras(comments=(b"one", b"two"))))
    write(tmp_path / f"b{target}", read(tmp_path / f"a{source}"))
    assert read(tmp_path / f"b{target}").extras.comments == (b"one", b"two")
    with Image.open(tmp_path / f"b{target}") as image:
        assert image.info.get("comment", image.info.get("Comment")) in (b"one", b"two", "two")


CHUNKS = [
    *((b"gAMA", b"\0\1\x86\xa0"), (b"cHRM", bytes(range(32))), (b"cICP", bytes([9, 16, 0, 1]))),
    *((b"tEXt", b"Author\0me"), (b"zTXt", b"Title\0\0" + zlib.compress(b"dusk"))),
    *(
        (b"iTXt", b"Description\0\0\0de\0\0D\xc3\xa4mmerung"),
        (b"tIME", bytes([7, 232, 1, 1, 0, 0, 0])),
    ),
]


def test_text_and_colour_of_a_png_are_kept(tmp_path):
    picture = read_bytes(tmp_path, png_with(*CHUNKS))
    write(tmp_path / "b.png", enlarged(picture, 1))
    data = (tmp_path / "b.png").read_bytes()
    for name, body in CHUNKS:
        assert data.count(chunk(name, body)) == 1
    order = [data.index(name) for name in (b"IHDR", b"gAMA", b"cHRM", b"IDAT")]
    assert order == sorted(order)
    write(tmp_path / "none.png", picture, metadata="none")
    bare = (tmp_path / "none.png").read_bytes()
    assert [chunk(*c) in bare for c in CHUNKS] == [True] * 3 + [False] * 4


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt"])
@pytest.mark.parametrize("kind", ["exif", "APP1", "iptc", "xmp"])
def test_raw_profiles_of_imagemagick(kind, name, tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    value = {"iptc": metadata.photoshop_of_iptc(IPTC)[14:], "xmp": XMP}.get(kind, exif.tobytes())
    text = b"\n%s\n%8d\n%s\n" % (kind.encode(), len(value), binascii.hexlify(value))
    packed = b"\0" + zlib.compress(text) if name == b"zTXt" else text
    picture = read_bytes(
        tmp_path, png_with((name, f"Raw profile type {kind}".encode() + b"\0" + packed))
    )
    if kind == "iptc":
        assert picture.extras.iptc == IPTC
    elif kind == "xmp":
        assert b"GPano" in picture.extras.xmp
    else:
        assert picture.pixels.shape == (64, 48, 3)  # It is turned.
        write(tmp_path / "b.jpg", picture)
        with Image.open(tmp_path / "b.jpg") as image:
            assert image.getexif()[0x010F] == "Maker"


BROKEN_TEXTS = {
    "bomb": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(10**8))),
    "junk": (b"zTXt", b"Raw profile type exif\0\0junk"),
    "no hexadecimals": (b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzzzz"),
    "no keyword": (b"tEXt", b""),
    "xmp in Latin-1": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0\xe4\xff"),
    "packed junk": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0junk"),
    "short density": (b"pHYs", b"\0\0"),
    "no dots": (b"pHYs", bytes(9)),
}


@pytest.mark.parametrize("name", BROKEN_TEXTS)
def test_broken_chunks_do_not_cost_the_picture(name, tmp_path):
    picture = read_bytes(tmp_path, png_with(BROKEN_TEXTS[name]))
    np.testing.assert_array_equal(picture.pixels, smooth())
    write(tmp_path / "b.png", picture)
    np.testing.assert_array_equal(read(tmp_path / "b.png").pixels, smooth())


def exif_with_thumbnail(size=(64, 48), room=0):
    """An EXIF block of a camera: the picture's size, twice, and a dark thumbnail."""
    thumbnail = saved(Image.new("RGB", (32, 24), (3, 2, 1)), "JPEG", quality=95) + bytes(room)
    first = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    first[0x0100], first[0x0101], first[0x0112] = (*size, 1)
    first[0x8769] = {0xA002: size[0], 0xA003: size[1], 0x9003: "2024:01:02 03:04:05"}
    head = first.tobytes(8)
    block = bytearray(b"II*\0\x08\0\0\0" + head)
    count = struct.unpack_from("<H", block, 8)[0]
    struct.pack_into("<I", block, 10 + 12 * count, len(block))
    entries = [(0x0100, 3, 1, 32), (0x0101, 3, 1, 24), (0x0103, 3, 1, 6)]
    entries += [(0x0112, 3, 1, 6), (0x0201, 4, 1, 0), (0x0202, 4, 1, len(thumbnail))]
    start = len(block) + 2 + 12 * len(entries) + 4
    entries[4] = (0x0201, 4, 1, start)
    block += struct.pack("<H", len(entries))
    block += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0" + bytes(block) + bytes(4) + thumbnail, thumbnail


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_size_and_thumbnail_in_exif_follow(suffix, scale, tmp_path):
    block, dark = exif_with_thumbnail(room=4000)
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}", exif=block)
    picture = read(tmp_path / f"a{suffix}")
    write(tmp_path / f"b{suffix}", enlarged(picture, scale))
    with Image.open(tmp_path / f"b{suffix}") as image:
        found = image.getexif()
        camera, small = found.get_ifd(0x8769), found.get_ifd(ExifTags.IFD.IFD1)
        assert (found[0x0100], found[0x0101]) == image.size == (64 * scale, 48 * scale)
        assert (camera[0xA002], camera[0xA003]) == image.size
        assert camera[0x9003] == "2024:01:02 03:04:05"
        data = image.info["exif"].removeprefix(b"Exif\0\0")
    start = small[0x0201]
    with Image.open(io.BytesIO(data[start : start + small[0x0202]])) as thumbnail:
        assert thumbnail.size == (small[0x0100], small[0x0101])
        assert small[0x0112] == 1
        assert max(thumbnail.size) <= 160
        expected = np.asarray(Image.fromarray(smooth()).resize(thumbnail.size), float)
        assert np.abs(np.asarray(thumbnail, float) - expected).mean() < 12
    assert dark not in data


def test_thumbnail_without_room_is_taken_out(tmp_path):
    block, dark = exif_with_thumbnail()
    Image.fromarray(noise(48, 64, 3)).save(tmp_path / "a.png", exif=block)
    write(tmp_path / "b.png", read(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as image:
        assert 0x0201 not in image.getexif().get_ifd(ExifTags.IFD.IFD1)
        assert dark not in image.info["exif"]


def test_turned_picture_says_its_new_size(tmp_path):
    block = Image.Exif()
    block[0x0112], block[0x0100], block[0x0101] = 6, 64, 48
    block[0x8769] = {0xA002: 64, 0xA003: 48}
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=block)
    write(tmp_path / "b.jpg", read(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpg") as image:
        camera = image.getexif().get_ifd(0x8769)
        assert image.size == (camera[0xA002], camera[0xA003]) == (48, 64)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_may_be_left_out(suffix, tmp_path):
    block, _ = exif_with_thumbnail()
    extras = Extras(xmp=XMP, iptc=IPTC, density=(300, 300, True), comments=(b"secret",))
    write(tmp_path / f"a{suffix}", Picture(smooth(), exif=block, extras=extras), metadata="none")
    data = (tmp_path / f"a{suffix}").read_bytes()
    for word in (b"Exif", b"eXIf", b"EXIF", b"GPano", b"hello", b"secret", b"2024:01:02"):
        assert word not in data
    back = read(tmp_path / f"a{suffix}")
    assert (back.exif, back.extras.xmp, back.extras.iptc, back.extras.comments) == (
        None,
        None,
        None,
        (),
    )


def test_what_a_format_cannot_hold_is_told():
    extras = Extras(
        xmp=XMP, iptc=IPTC, density=(300, 300, True), comments=(b"c",), chunks=tuple(CHUNKS)
    )
    picture = Picture(noise(4, 5, 3, np.uint16), np.ones((4, 5), np.uint16), extras=extras)
    assert left_out("a.png", picture) == ()
    told = " ".join(left_out("a.bmp", picture))
    for word in ("uint16 samples become uint8", "XMP", "IPTC", "comments", "text", "colour chunks"):
        assert word in told
    assert "density" not in told
    assert "transparency is laid on white" in " ".join(left_out("a.jpg", picture))
    assert "XMP" not in " ".join(left_out("a.bmp", picture, metadata="none"))


@pytest.mark.parametrize("name", [n for n, f in formats.FORMATS.items() if f.encode])
def test_the_table_says_what_is_true(name, tmp_path):
    """Each kind of metadata that the table promises comes back, and no other."""
    block = Image.Exif()
    block[0x010F] = "Maker"
    extras = Extras(XMP, IPTC, (300, 150, True), (b"c",), tuple(CHUNKS[:1] + CHUNKS[3:4]))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture(smooth(), format=name, exif=block.tobytes(), icc=icc, extras=extras)
    path = tmp_path / f"a{formats.FORMATS[name].suffixes[0]}"
    write(path, picture)
    back = read(path)
    names = [name for name, _ in back.extras.chunks]
    extras = dataclasses.replace(extras, density=(2, 1, False))
    write(path, dataclasses.replace(picture, extras=extras))
    ratio = read(path).extras.density
    assert (ratio == (2, 1, False)) == ("pixel aspect ratio" in formats.FORMATS[name].keeps)
    told = " ".join(left_out(path, dataclasses.replace(picture, extras=extras)))
    assert ("pixel aspect ratio" in told) == (ratio is None)
    assert "density" not in told
    held = {"EXIF": back.exif, "XMP": back.extras.xmp, "IPTC": back.extras.iptc, "ICC": back.icc}
    held |= {"density": back.extras.density, "comments": back.extras.comments}
    held |= {"text": b"tEXt" in names, "colour chunks": b"gAMA" in names}
    for kind, value in held.items():
        assert bool(value) == (kind in formats.FORMATS[name].keeps), kind
    assert f"| {name} |" in formats.table()


def test_multi_picture_files_are_told(tmp_path):
    frames = [Image.fromarray(noise(9, 12, 3, seed=seed)) for seed in range(2)]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert "further pictures" in read_bytes(tmp_path, data).notes[0]


def test_segments_of_a_damaged_jpeg_end():
    assert list(jpeg.segments(b"\xff\xd8\xff\xe1\0\0\xff\xe1\0\0")) != []
    assert list(jpeg.segments(b"\xff\xd8\xff\xff\xff\xff")) == []


def test_text_of_a_tiff_keeps_its_bytes(tmp_path):
    text = "D\u00e4mmerung \u591c".encode()
    tags = [(315, "s", 0, text, True)]
    tifffile.imwrite(tmp_path / "a.tif", smooth(), photometric="rgb", metadata=None, extratags=tags)
    write(tmp_path / "b.tif", read(tmp_path / "a.tif"))
    assert text in (tmp_path / "b.tif").read_bytes()


def test_text_of_exif_keeps_its_bytes(tmp_path):
    """Whatever writes it anew: a TIFF, a file that was one, a packed or a raw picture."""
    text = "D\u00e4mmerung \u591c".encode()
    exif, same = Image.Exif(), "#" * len(text)
    exif[315], exif[0x8769], exif[0x8825] = same, {0xA434: same}, {8: same}
    block = exif.tobytes().replace(same.encode(), text)
    write(tmp_path / "a.tif", Picture(smooth(), exif=block))
    write(tmp_path / "b.jpg", read(tmp_path / "a.tif"))
    blocks = [read(tmp_path / name).exif for name in ("a.tif", "b.jpg")]
    preview = saved(Image.fromarray(smooth()), "JPEG", exif=block)
    fuji = b"FUJIFILMCCD-RAW".ljust(84, b"\0") + struct.pack(">II", 92, len(preview))
    blocks += [exif_blocks.compact(block)[0], raw._metadata(fuji + preview)[0]]
    for kept in blocks:
        found = Image.Exif()
        found.load(kept)
        texts = found[315], found.get_ifd(0x8769)[0xA434], found.get_ifd(0x8825)[8]
        assert [kept.encode("latin-1") for kept in texts] == [text] * 3


@pytest.mark.parametrize("kind", [1, 7])
def test_text_of_exif_that_is_declared_as_bytes(kind, tmp_path):
    tags = [(315, kind, 5, b"Maker", True)]
    tifffile.imwrite(tmp_path / "a.tif", smooth(), photometric="rgb", metadata=None, extratags=tags)
    picture = read(tmp_path / "a.tif")
    exif = Image.Exif()
    exif[315] = "Maker"
    as_bytes = exif.tobytes().replace(b"\1\x3b\0\2", b"\1\x3b\0" + bytes([kind]))
    for source in (picture, Picture(smooth(), exif=as_bytes)):
        write(tmp_path / "b.tif", source)
        with tifffile.TiffFile(tmp_path / "b.tif") as file:
            assert file.pages[0].tags[315].value == "Maker"


def test_png_signature_is_said_once():
    assert formats.png.SIGNATURE == PNG_START
    assert pictures.METADATA == ("keep", "none")


def test_what_is_not_kept_is_told(tmp_path):
    notes = read_bytes(tmp_path, png_with((b"bKGD", bytes(6)), (b"vpAg", bytes(9)))).notes
    assert notes == ("chunks left out: 'bKGD', 'vpAg'",)
    plain = saved(Image.fromarray(smooth()), "JPEG")
    segment = b"\xff\xeb" + struct.pack(">H", 12) + b"JP credits"
    assert read_bytes(tmp_path, plain[:2] + segment + plain[2:]).notes == (
        "segments left out: APP11",
    )
    assert read_bytes(tmp_path, plain).notes == ()
    broken = saved(Image.fromarray(smooth()), "PNG", exif=b"Exif\0\0junk", icc_profile=b"junk" * 50)
    assert [note.split(",")[0] for note in read_bytes(tmp_path, broken).notes] == [
        "its EXIF block",
        "its colour profile",
    ]
    inks = saved(Image.fromarray(smooth()).convert("CMYK"), "JPEG")
    assert read_bytes(tmp_path, inks).notes == (metadata.INKS_CONVERTED,)
    long = Picture(smooth(), extras=Extras(comments=(b"c" * 70_000,)))
    assert "over 64 kB" in left_out("a.jpg", long)[0]
    write(tmp_path / "a.jpg", long)
    assert read(tmp_path / "a.jpg").extras.comments == ()


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("exif", 65_533), ("xmp", 65_504), ("iptc", 65_506), ("comments", 65_533)],
)
def test_what_fits_in_a_segment_is_kept_and_else_told(kind, longest, tmp_path):
    exif = Image.Exif()
    exif[271] = "Maker"
    for length, fits in ((longest, True), (longest + 1, False)):
        body = (exif.tobytes() if kind == "exif" else b"").ljust(length, b" ")
        value = (body,) if kind == "comments" else body
        fields = {"exif": body} if kind == "exif" else {"extras": Extras(**{kind: value})}
        picture = Picture(smooth(), **fields)
        write(tmp_path / "a.jpg", picture)
        back = read(tmp_path / "a.jpg")
        assert ((back.exif if kind == "exif" else getattr(back.extras, kind)) == value) == fits
        assert ("over 64 kB" in " ".join(left_out("a.jpg", picture))) == (not fits)


VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(16)


@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_a_jpeg_is_told(progressive, tmp_path):
    plain = saved(Image.fromarray(noise(40, 50, 3)), "JPEG", progressive=progressive)
    for behind, told in {
        b"": (),
        bytes(99) + b"\xff\xff\r\n": (),
        b"SEFH of a phone": ("15 bytes behind the picture are left out",),
        VIDEO: ("the video behind the picture is left out",),
        # What looks like scans there is none.
        VIDEO + b"\xff\xda" * 9999: ("the video behind the picture is left out",),
    }.items():
        assert read_bytes(tmp_path, plain + behind).notes == told
    frames = [Image.fromarray(noise(9, 12, 3, seed=seed)) for seed in range(2)]
    several = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    further, video = read_bytes(tmp_path, several + VIDEO).notes
    assert "further pictures" in further
    assert "video" in video


def test_what_lies_behind_a_png_is_told(tmp_path):
    plain = saved(Image.fromarray(noise(40, 50, 3)), "PNG")
    for behind, told in {
        b"": (),
        bytes(9): (),
        b"notes": ("5 bytes behind the picture are left out",),
        VIDEO: ("the video behind the picture is left out",),
    }.items():
        assert read_bytes(tmp_path, plain + behind).notes == told


def test_a_png_inside_of_a_png_does_not_end_it(tmp_path):
    inner = saved(Image.fromarray(noise(4, 5, 3)), "PNG")
    picture = read_bytes(tmp_path, png_with((b"caBX", inner)))
    assert picture.notes == ("chunks left out: 'caBX'",)


def test_a_comment_keeps_its_letters(tmp_path):
    for text, stored in (
        ("plain", b"plain"),
        ("Größe", "Größe".encode()),
        ("Größe", b"Gr\xf6\xdfe"),
    ):
        write(tmp_path / "a.png", Picture(smooth(), extras=Extras(comments=(stored,))))
        with Image.open(tmp_path / "a.png") as image:
            assert image.info["Comment"] == text
        assert read(tmp_path / "a.png").extras.comments == (stored,)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_that_it_is_adobe_rgb_stays_told_without_metadata(suffix, tmp_path):
    for index, kept in (("R03", True), ("R98", False)):
        block = Image.Exif()
        block[0x010F], block[0x8769] = "Maker", {0xA001: 65535, 0xA005: {1: index}}
        write(tmp_path / f"a{suffix}", Picture(smooth(), exif=block.tobytes()), metadata="none")
        with Image.open(tmp_path / f"a{suffix}") as image:
            told = image.getexif()
            assert (0xA001 in told.get_ifd(0x8769), 0x010F in told) == (kept, False)
            assert not kept or told.get_ifd(0xA005)[1] == index


def test_boxes_beside_an_avif_are_told(tmp_path):
    plain = saved(Image.fromarray(noise(40, 50, 3)), "AVIF")
    assert read_bytes(tmp_path, plain).notes == ()
    video = struct.pack(">I4s", 12, b"mpvd") + b"film"
    assert read_bytes(tmp_path, plain + video).notes == ("boxes left out: 'mpvd'",)


def test_xmp_does_not_tell_of_what_is_left_out(tmp_path):
    packet = b"""<x:xmpmeta><rdf:Description GCamera:MotionPhoto="1" hdrgm:Version='1.0'
 GCamera:MotionPhotoPresentationTimestampUs="968644" xmp:Rating="4">
<Container:Directory><Container:Item Item:Mime="video/mp4"/></Container:Directory><a>b</a>
<GCamera:MicroVideo>1</GCamera:MicroVideo><Container:Directory></rdf:Description></x:xmpmeta>"""
    write(tmp_path / "a.jpg", Picture(smooth(), extras=Extras(xmp=packet)))
    kept = read(tmp_path / "a.jpg").extras.xmp
    assert not any(name in kept for name in (b"MotionPhoto", b"hdrgm", b"MicroVideo", b"video/mp4"))
    assert b'xmp:Rating="4"' in kept
    assert b"<a>b</a>" in kept
    # What is not closed ends nothing.
    assert kept.endswith(b"<Container:Directory></rdf:Description></x:xmpmeta>")


def test_xmp_of_other_parts_is_known_by_its_namespace(tmp_path):
    packet = b"""<x:xmpmeta><rdf:Description xmlns:Camera="http://ns.google.com/photos/1.0/camera/"
 xmlns:GContainer='http://ns.google.com/photos/1.0/container/' xmlns:Mine="http://mine/"
 Camera:MotionPhoto="1" Camera:Other="2" Mine:MotionPhoto="3">
<GContainer:Directory><GContainer:Item Item:Mime="video/mp4"/></GContainer:Directory>
<hdrgm:Version>1.0</hdrgm:Version><Mine:Directory>own</Mine:Directory></rdf:Description>"""
    write(tmp_path / "a.jpg", Picture(smooth(), extras=Extras(xmp=packet)))
    kept = read(tmp_path / "a.jpg").extras.xmp
    for gone in (b"Camera:MotionPhoto", b"video/mp4", b"GContainer:Directory", b"hdrgm"):
        assert gone not in kept
    for other in (b'Camera:Other="2"', b'Mine:MotionPhoto="3"', b"<Mine:Directory>own<"):
        assert other in kept


@pytest.mark.parametrize("suffix", HOLDS_XMP)
def test_xmp_that_is_no_utf8_is_told(suffix, tmp_path):
    extras = Extras(xmp=b"<x:xmpmeta>\xe4</x:xmpmeta>")
    write(tmp_path / f"a{suffix}", Picture(smooth(), extras=extras))
    picture = read(tmp_path / f"a{suffix}")
    assert picture.extras.xmp is None
    assert picture.notes == ("its XMP, which is no UTF-8 or too long, is left out",)


def test_resources_of_photoshop_are_told(tmp_path):
    def resource(number, body):
        return struct.pack(">4sHHI", b"8BIM", number, 0, len(body)) + body + bytes(len(body) % 2)

    body = b"Photoshop 3.0\0" + resource(1005, bytes(16)) + resource(2000, b"path")
    body += resource(0x0404, IPTC) + resource(1061, bytes(3)) + resource(1011, b"\1")
    plain = saved(Image.fromarray(smooth()), "JPEG")
    segment = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    picture = read_bytes(tmp_path, plain[:2] + segment + plain[2:])
    assert picture.notes == ("resources of Photoshop left out: 1011, 2000",)
    assert picture.extras.iptc == IPTC
    write(tmp_path / "b.jpg", picture)
    assert read(tmp_path / "b.jpg").notes == ()


@pytest.mark.parametrize("before", [0, 65_480])
def test_iptc_that_goes_on_in_the_next_segment_is_kept(before, tmp_path):
    start, iptc = b"Photoshop 3.0\0", b"\x1c\x02\x19\x75\x30" + b"k" * 30_000
    block = struct.pack(">4sHHI", b"8BIM", 2000, 0, before) + bytes(before)
    # What looks like a header may lie in what is kept.
    block += metadata.photoshop_of_iptc(iptc * 2 + start + IPTC)[14:]
    parts = [start + block[at : at + 65_519] for at in range(0, len(block), 65_519)]
    segments = b"".join(b"\xff\xed" + struct.pack(">H", len(p) + 2) + p for p in parts)
    plain = saved(Image.fromarray(smooth()), "JPEG")
    picture = read_bytes(tmp_path, plain[:2] + segments + plain[2:])
    assert picture.extras.iptc == iptc * 2 + start + IPTC
    assert picture.notes == ("resources of Photoshop left out: 2000",)


@pytest.mark.parametrize("how", ["checksum", "content"])
def test_a_damaged_profile_of_a_png_is_told(how):
    file = io.BytesIO()
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(np.full((4, 5, 3), 9, np.uint8)).save(file, "PNG", icc_profile=icc)
    data = file.getvalue()
    at = data.index(b"iCCP")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    if how == "checksum":
        new = data[at - 4 : at + 4 + length] + b"\0\0\0\0"
    else:
        new = chunk(b"iCCP", b"a\0\0" + bytes(9))
    back = pictures.decode("a", data[: at - 4] + new + data[at + 8 + length :])
    assert back.notes == ("damaged chunks left out: 'iCCP'",)
    assert back.icc is None
    assert pictures.decode("a", data).notes == ()


def test_chunks_of_a_webp_are_told(tmp_path):
    data = saved(Image.fromarray(smooth()), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    data += b"note" + struct.pack("<I", 4) + b"mine"
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert read_bytes(tmp_path, data).notes == ("chunks left out: 'note'",)


def test_tags_of_a_tiff_are_kept_or_told(tmp_path):
    kept = [(269, "s", 0, "the name", True), (285, "s", 0, "a page", True)]
    kept += [(18246, "H", 1, 4, True), (40091, "B", 6, "T\u00e4g".encode("utf-16-le"), True)]
    lost = [(318, "2I", 1, (1, 3), True), (65123, "s", 0, "mine", True)]
    options = {"photometric": "rgb", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", smooth(), extratags=kept, **options)
    assert read(tmp_path / "a.tif").notes == ()
    tifffile.imwrite(tmp_path / "b.tif", smooth(), extratags=kept + lost, **options)
    picture = read(tmp_path / "b.tif")
    assert picture.notes == ("65123, WhitePoint left out",)
    # To a TIFF, and by way of a JPEG.
    write(tmp_path / "c.jpg", picture)
    for number, source in enumerate((picture, read(tmp_path / "c.jpg"))):
        assert left_out(tmp_path / "d.tif", source) == ()
        write(tmp_path / f"{number}.tif", source)
        with tifffile.TiffFile(tmp_path / f"{number}.tif") as file:
            tags = file.pages[0].tags
            assert tags[269].value == "the name"
            assert tags[285].value == "a page"
            assert tags[18246].value == 4
            assert bytes(tags[40091].value).decode("utf-16-le") == "T\u00e4g"


def test_exif_that_a_tiff_does_not_hold_is_told():
    exif = Image.Exif()
    exif[0xC4A5], exif[271], exif[274] = b"PrintIM", "Maker", 1
    picture = Picture(smooth(), exif=exif.tobytes())
    assert left_out("a.tif", picture) == (
        "PrintImageMatching of its EXIF left out: TIFF holds none",
    )
    assert left_out("a.tif", picture, "none") == left_out("a.jpg", picture) == ()


def test_a_still_picture_beside_an_animation_is_told(tmp_path):
    frames = [Image.fromarray(noise(9, 12, 3, seed=seed)) for seed in range(3)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    still = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(still.pixels, np.asarray(frames[0]))
    assert (still.notes, left_out("a.png", still)) == ((), ())
    assert left_out("a.jpg", still) == ("2 of its frames are left out: JPEG holds none",)
    first, second = pictures.decode_all("a", data)
    assert first.notes == ("its still picture, which is no frame of its animation, is left out",)
    assert (second.notes, second.pages) == ((), 2)
