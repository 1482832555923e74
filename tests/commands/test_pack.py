"""Pictures sent over a narrow link: what ``neid pack`` writes, and what ``neid enhance`` reads."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import neid_tf
from neid_tf import demo, pictures
from neid_tf.pictures.codecs import CODECS
from neid_tf.pictures.packing import Packing, packet
from neid_tf.pixels.curve import Curve
from neid_tf.pixels.resample import halve
from tests.conftest import darkened, picture, write
from tests.pictures.test_metadata import GRAY

QUICK = "--method=mf"
SIZE = (123, 187)
"""Odd sides: what is halved is 62×94."""


def textured(height, width, seed=0):
    """Return a dark picture with detail."""
    grain = np.random.default_rng(seed).integers(0, 40, (height, width, 1))
    return np.clip(darkened(picture(height, width, seed)) + grain // 4, 0, 255).astype(np.uint8)


def halved(pixels):
    return halve(pixels, np.iinfo(pixels.dtype).max)


@pytest.fixture
def dark(tmp_path, monkeypatch):
    """The path of a dark picture of :data:`SIZE`, seen from its folder."""
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "dark.png", textured(*SIZE)).relative_to(tmp_path)


def packed(neid, *arguments, code=0):
    got, out, err = neid("pack", *arguments)
    assert got == code, err
    return out.splitlines(), err.splitlines()


def enhanced(neid, *arguments, code=0):
    got, out, err = neid("enhance", *arguments)
    assert got == code, err
    return out.splitlines(), err.splitlines()


def needs(codec):
    if CODECS[codec].plugin:
        pytest.importorskip(CODECS[codec].plugin, reason="needs the extra 'jxl'")


@pytest.mark.parametrize("codec", CODECS)
def test_a_round_trip_gives_the_halved_picture_back(neid, dark, codec):
    needs(codec)
    packed(neid, dark, "--output=best", f"--codec={codec}", "--quality=100")
    packed(neid, dark, "--output=small", f"--codec={codec}", "--quality=95")
    [path], [best] = Path("small").iterdir(), Path("best").iterdir()
    assert best.stat().st_size > path.stat().st_size
    assert path.suffix == CODECS[codec].extensions[0]
    back = pictures.read(path)
    assert (back.pixels.shape, back.pixels.dtype) == ((62, 94, 3), np.uint16)
    error = np.abs(back.pixels / 65535 - halved(textured(*SIZE)))
    assert error.mean() < 1 / 255
    assert error.max() < 8 / 255
    assert (back.packing.height, back.packing.width, back.packing.halvings) == (*SIZE, 1)
    assert back.extras.xmp is None


@pytest.mark.parametrize("codec", CODECS)
def test_budgets_are_kept_and_used(neid, tmp_path, monkeypatch, codec):
    needs(codec)
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        write(tmp_path / "in" / f"{seed}.png", textured(160, 240 + seed, seed))
    for most in (2000, 5000):
        packed(neid, "in", f"--output={most}", f"--bytes={most}", f"--codec={codec}")
        sizes = [path.stat().st_size for path in Path(str(most)).iterdir()]
        assert len(sizes) == 3
        assert max(sizes) <= most
        assert most > 2000 or min(sizes) > 0.7 * most


def test_any_viewer_shows_a_packed_file(neid, dark):
    for name in ("small.jpg", "small.webp", "small.avif"):
        packed(neid, dark, f"--output={name}")
        with Image.open(name) as image:
            seen = np.asarray(image.convert("RGB"))
        assert seen.shape == (62, 94, 3)
        assert seen.mean() > 1.5 * halved(textured(*SIZE)).mean() * 255
        if not name.endswith(".avif"):  # OpenCV has no AVIF on every machine.
            assert np.abs(cv2.imread(name)[..., ::-1].astype(int) - seen).mean() < 2


@pytest.mark.parametrize(("height", "width"), [SIZE, (124, 187), (123, 186), (124, 186), (33, 1)])
def test_the_result_has_the_size_from_before(neid, tmp_path, monkeypatch, height, width):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dark.png", textured(height, width))
    packed(neid, "dark.png", "--output=small.jpg")
    for how in (QUICK, "--weights=neid_s"):
        _, err = enhanced(neid, "small.jpg", "--output=bright.png", "--overwrite", how)
        bright = pictures.read("bright.png")
        assert (bright.pixels.shape, bright.pixels.dtype) == ((height, width, 3), np.uint8)
        assert (err, bright.packing) == ([], None)
    assert bright.pixels.mean() > 2 * textured(height, width).mean()


@pytest.mark.parametrize("level", [0, 1, 255])
def test_flat_pictures(neid, tmp_path, monkeypatch, level):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "flat.png", np.full((20, 30, 3), level, np.uint8))
    packed(neid, "flat.png", "--output=small.jpg")
    back = pictures.read("small.jpg")
    assert np.abs(back.pixels / 257 - level).max() < 0.1
    assert back.packing.curve.gain == (255 / level if level else 65535)


def test_further_halvings_are_told_and_undone(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noisy = np.random.default_rng(0).integers(0, 60, (403, 605, 3)).astype(np.uint8)
    write(tmp_path / "dark.png", noisy)
    _, err = packed(neid, "dark.png", "--output=small.jpg", "--bytes=900")
    times = int(re.fullmatch(r"neid: dark.png: halved (\d) times, to fit in 900 bytes", err[0])[1])
    small = pictures.read("small.jpg")
    assert small.packing.halvings == times > 1
    assert small.pixels.shape[:2] == (-(-403 // 2**times), -(-605 // 2**times))
    for how in (QUICK, "--weights=neid_s"):
        enhanced(neid, "small.jpg", "--output=bright.jpg", "--overwrite", how)
        assert pictures.read("bright.jpg").pixels.shape == (403, 605, 3)


def test_sides_that_a_codec_does_not_know_are_halved_once_more(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (33000, 80), (30, 40, 50)).save("dark.png")
    _, told = packed(neid, "dark.png", "--output=small.webp", "--quality=50")
    assert told == ["neid: dark.png: halved 2 times, to fit in a WEBP"]
    with Image.open("small.webp") as small:
        assert small.size == (8250, 20)
    Image.new("RGB", (140000, 20), (30, 40, 50)).save("dark.png")
    _, told = packed(neid, "dark.png", "--output=no.webp", code=1)
    assert told == ["neid: dark.png: a WEBP's sides are at most 16383 pixels"]


def test_what_fits_at_no_quality_is_named_with_the_least_bytes(neid, dark):
    write(Path("other.png"), textured(40, 60))
    out, err = packed(neid, dark, "other.png", "--output=small", "--bytes=300", code=1)
    assert out == ["0 written to small, 2 failed"]
    least = int(
        re.fullmatch(r"neid: other.png: does not fit in 300 bytes: the smallest has (\d+)", err[1])[
            1
        ]
    )
    packed(neid, "other.png", "--output=small", f"--bytes={least - 1}", code=1)
    packed(neid, "other.png", "--output=small", f"--bytes={least}")
    assert Path("small/other.jpg").stat().st_size == least


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 7, 8])
def test_pictures_come_out_upright(neid, tmp_path, monkeypatch, orientation):
    monkeypatch.chdir(tmp_path)
    upright = textured(51, 80)
    upright[:20, :30] += 60  # A corner that is told from the others.
    upright[:20, -30:, 0] += 60
    turned = Image.fromarray(upright).transpose
    ways = {
        **{1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
        **{6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE},
        8: Image.Transpose.ROTATE_270,
    }
    lying = turned(ways[orientation]) if orientation > 1 else Image.fromarray(upright)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    lying.save("dark.png", exif=exif)
    for option in ("--noexif", "--exif"):
        packed(neid, "dark.png", "--output=small.jpg", "--quality=95", "--overwrite", option)
        with Image.open("small.jpg") as image:
            assert image.size == (40, 26)
            assert image.getexif().get(0x0112, 1) == 1
            assert image.getexif().get(0x010F) == ("Maker" if option == "--exif" else None)
        small = pictures.read("small.jpg").pixels / 65535
        assert np.abs(small - halved(upright)).mean() < 1.5 / 255
        enhanced(neid, "small.jpg", "--output=bright.jpg", "--overwrite", QUICK)
        assert pictures.read("bright.jpg").pixels.shape == (51, 80, 3)


def test_what_is_not_sent_is_said(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = textured(40, 60)
    clear = np.dstack([pixels, np.full((40, 60), 255, np.uint8)])
    clear[:, :20, 3] = 0
    cv2.imwrite("clear.png", clear[..., [2, 1, 0, 3]])
    cv2.imwrite("gray.png", pixels[..., 0])
    deep = pixels.astype(np.uint16) * 16
    cv2.imwrite("deep.png", deep[..., ::-1])
    frames = [Image.fromarray(pixels), Image.fromarray(pixels[::-1])]
    frames[0].save("pages.tif", save_all=True, append_images=frames[1:])
    frames[0].save("told.jpg", comment=b"hello")
    names = ("clear.png", "gray.png", "deep.png", "pages.tif", "told.jpg")
    _, err = packed(neid, *names, "--output=small", "--quality=90")
    assert [line for line in err if "density" not in line] == [
        "neid: clear.png: its transparency is laid on white",
        "neid: deep.png: its uint16 samples become uint8, behind a curve",
        "neid: pages.tif: 1 of its pages are left out",
        "neid: told.jpg: comments left out",
    ]
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "Maker", {0x927C: b"notes" * 9}
    frames[0].save("noted.jpg", exif=exif)
    for option, left in (("--exif", "MakerNote of its EXIF"), ("--noexif", "EXIF")):
        _, err = packed(neid, "noted.jpg", "--output=small", "--overwrite", option)
        assert err == [f"neid: noted.jpg: {left} left out"]
    assert pictures.read("small/clear.jpg").pixels[:, :8].min() > 60000
    assert pictures.read("small/gray.jpg").gray
    with Image.open("small/gray.jpg") as image:
        assert image.mode == "L"
    back = pictures.read("small/deep.jpg").pixels / 65535
    assert np.abs(back - halved(deep)).mean() < 0.1 / 255  # Finer than levels of 8 bits.
    for name, mode in (("gray", "L"), ("deep", "RGB")):
        enhanced(neid, f"small/{name}.jpg", f"--output={name}_bright.png", QUICK)
        with Image.open(f"{name}_bright.png") as image:
            assert (image.mode, image.size) == (mode, (60, 40))


def test_profiles_are_kept_where_they_are_small(neid, dark):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(dark) as image:
        image.save("profiled.png", icc_profile=profile)
    _, err = packed(neid, "profiled.png", "--output=a.jpg", f"--bytes={4 * len(profile)}")
    assert (err, pictures.read("a.jpg").icc) == ([], profile)
    _, err = packed(neid, "profiled.png", "--output=b.jpg", f"--bytes={4 * len(profile) - 1}")
    assert err == ["neid: profiled.png: ICC left out"]
    assert pictures.read("b.jpg").icc is None


@pytest.mark.parametrize(("suffix", "kept"), [(".jpg", True), (".webp", False), (".avif", False)])
def test_profiles_of_gray_are_sent_where_gray_is(suffix, kept, neid, dark):
    with Image.open(dark) as image:
        image.convert("L").save("gray.png", icc_profile=GRAY)
    _, err = packed(neid, "gray.png", f"--output=a{suffix}", "--bytes=20000")
    assert err == ([] if kept else ["neid: gray.png: ICC left out"])
    assert pictures.read(f"a{suffix}").icc == (GRAY if kept else None)
    assert pictures.read(f"a{suffix}").notes == ()
    _, err = enhanced(neid, "gray.png", f"--output=b{suffix}", QUICK)
    assert err == (
        []
        if kept
        else [
            "neid: gray.png: its colour profile of gray is left out: "
            f"gray is RGB in {suffix[1:].upper()}"
        ]
    )


def xmp_of(path):
    with Image.open(path) as image:
        return image.info["xmp"]


def save_with(path, xmp, source="small.jpg", **options):
    with Image.open(source) as image:
        image.save(path, xmp=xmp, quality=95, **options)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rb'Packed="\S+ ', b'Packed="nan '),
        (rb'Packed="\S+ ', b'Packed="1e300 '),
        (rb'Packed="\S+ ', b'Packed="'),
        (rb'Packed="(\S+) \S+ ', rb'Packed="\1 -1 '),
        (rb" 187 123 ", b" 0 123 "),
        (rb" 187 123 ", b" 1.5 123 "),
        (rb' 1"/', b' 60"/'),
        (rb' 1"/', b" " + b"9" * 9000 + b'"/'),
        (rb"neid:Packed", b"neid:Other"),
        (rb' 1"/.*', b""),
    ],
)
def test_damaged_xmp_is_said(neid, dark, before, after):
    packed(neid, dark, "--output=small.jpg")
    xmp, count = re.subn(before, after, xmp_of("small.jpg"))
    assert count == 1
    save_with("damaged.jpg", xmp)
    _, err = enhanced(neid, "damaged.jpg", "--output=bright.png", QUICK)
    note = "its XMP, which tells how it was packed, is damaged: it is taken as it looks"
    assert err[0] == f"neid: damaged.jpg: {note}"
    assert pictures.read("bright.png").pixels.shape == (62, 94, 3)
    assert pictures.read("bright.png").extras.xmp is None


def test_without_its_xmp_it_is_an_ordinary_picture(neid, dark):
    packed(neid, dark, "--output=small.jpg")
    save_with("stripped.jpg", b"")
    _, err = enhanced(neid, "stripped.jpg", "--output=bright.png", QUICK)
    assert (err, pictures.read("bright.png").pixels.shape) == ([], (62, 94, 3))
    stripped = pictures.read("stripped.jpg")
    assert (stripped.pixels.dtype, stripped.packing) == (np.uint8, None)
    os.rename("small.jpg", "small.png")  # The name does not matter.
    enhanced(neid, "small.png", "--output=renamed.png", QUICK)
    assert pictures.read("renamed.png").pixels.shape == (*SIZE, 3)


def test_what_other_programs_do_to_a_packed_file(neid, dark):
    packed(neid, dark, "--output=small.jpg", "--quality=90")
    before, xmp = pictures.read("small.jpg"), xmp_of("small.jpg")
    # As elements, in a packet with properties of others.
    moved = re.sub(
        rb' neid:Packed="([^"]*)"/>',
        rb' xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg">'
        rb"<neid:Packed>\1</neid:Packed></rdf:Description>",
        xmp,
    )
    save_with("moved.png", None, pnginfo=_text(moved))
    after = pictures.read("moved.png")
    assert after.packing == before.packing
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert b"dc:format" in after.extras.xmp
    assert b"neid:" not in after.extras.xmp
    with Image.open("small.jpg") as image:
        image.transpose(Image.Transpose.ROTATE_90).save("turned.jpg", xmp=xmp)
        image.resize((50, 40)).save("resized.jpg", xmp=xmp)
    _, err = enhanced(neid, "turned.jpg", "resized.jpg", "--output=bright", QUICK)
    assert err == ["neid: resized.jpg: was resized since it was packed: it becomes 100x80"]
    assert pictures.read("bright/turned.jpg").pixels.shape == (*SIZE[::-1], 3)
    assert pictures.read("bright/resized.jpg").pixels.shape == (80, 100, 3)


def _text(xmp):
    from PIL import PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return text


def test_the_size_from_before_is_bounded(neid, dark):
    packed(neid, dark, "--output=small.jpg")
    _, err = enhanced(neid, "small.jpg", "--output=o.png", "--max_pixels=23000", QUICK, code=1)
    assert err == ["neid: small.jpg: 187x123 is 23001 pixels, over the limit of 23000"]
    enhanced(neid, "small.jpg", "--output=o.png", "--max_pixels=23001", QUICK)


def test_the_size_from_before_is_bounded_on_each_page(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = darkened(picture(2, 3))
    with tifffile.TiffWriter("a.tif") as file:
        for tags in ([], [(700, 1, 0, packet(Packing(Curve(3.0, 1.5), 123, 187, 6)), True)]):
            file.write(page, photometric="rgb", metadata=None, contiguous=False, extratags=tags)
    _, err = enhanced(neid, "a.tif", "--output=o.tif", "--max_pixels=23000", QUICK, code=1)
    assert err == ["neid: a.tif: 187x123 is 23001 pixels, over the limit of 23000"]
    enhanced(neid, "a.tif", "--output=o.tif", "--max_pixels=23001", QUICK)
    sizes = [page.pixels.shape for page in pictures.decode_all("o", Path("o.tif").read_bytes())]
    assert sizes == [(2, 3, 3), (123, 187, 3)]


def test_a_scale_that_is_asked_for_is_given(neid, dark):
    packed(neid, dark, "--output=small.jpg")
    for scale, shape in (("1", (62, 94, 3)), ("2", (124, 188, 3))):
        enhanced(neid, "small.jpg", f"--output={scale}.png", f"--scale={scale}", "--weights=neid_s")
        bright = pictures.read(f"{scale}.png")
        assert (bright.pixels.shape, bright.pixels.dtype) == (shape, np.uint8)
    enhanced(neid, "small.jpg", "--output=o.png", "--weights=neid_s")
    np.testing.assert_array_equal(pictures.read("o.png").pixels, bright.pixels[:123, :187])


def test_from_python_and_in_the_demo(neid, dark, tmp_path):
    packed(neid, dark, "--output=small.jpg")

    def network(batch):
        return np.clip(4 * batch, 0, 1).repeat(2, axis=1).repeat(2, axis=2)

    enhancer = demo.Enhancer(lambda _: network, tmp_path / "page")
    shapes = {None: (*SIZE, 3), 1: (62, 94, 3), 2: (124, 188, 3)}
    for scale, shape in shapes.items():
        bright = neid_tf.enhance("small.jpg", network, scale=scale)
        assert (bright.shape, bright.dtype) == (shape, np.uint8)
        with Image.open("small.jpg") as image:
            np.testing.assert_array_equal(neid_tf.enhance(image, network, scale=scale), bright)
        if scale != 1:
            result = enhancer("small.jpg", demo.Settings(scale=scale or 1))
            np.testing.assert_array_equal(pictures.read(result.download).pixels, bright)


def test_folders_and_what_can_not_be_packed(neid, dark):
    write(Path("in/sub/b.webp"), textured(30, 40))
    write(Path("in/a.png"), textured(30, 40))
    write(Path("in/a.bmp"), textured(30, 40))
    Path("in/notes.txt").write_text("x")
    Path("in/broken.png").write_bytes(Path("in/a.png").read_bytes()[:200])
    Path("in/clip.mp4").write_bytes(b"x")
    out, err = packed(neid, "in", "none.jpg", "--output=small", code=1)
    files = sorted(path.as_posix() for path in Path("small").rglob("*.*"))
    assert files == ["small/a.jpg", "small/sub/b.jpg"]
    assert out == ["2 written to small, 4 failed, 1 left out"]
    told = "\n".join(err)
    assert "in/a.png: small/a.jpg is already the output of in/a.bmp" in told
    assert "neid: in/broken.png: truncated" in told
    assert "neid: in/clip.mp4: is a video: only pictures are packed" in told
    assert "neid: none.jpg: no such file" in told
    out, err = packed(neid, "small", "--output=again", code=1)
    assert err == [f"neid: {name}: is packed already" for name in files]
    _, err = packed(neid, "in/a.png", "--output=small", code=1)
    assert "small/a.jpg: is there already" in err[0]
    packed(neid, "in/a.png", "--output=small", "--overwrite")
    out, _ = packed(neid, "in/a.png", "--output=small", "--existing=skip")
    assert out == ["0 written to small, 1 skipped"]
    out, _ = enhanced(neid, "small", "--output=bright", QUICK)
    assert out == ["2 written to bright"]
    assert pictures.read("bright/sub/b.jpg").pixels.shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no input"),
        (["dark.png"], "--output is missing"),
        (["dark.png", "--output=o", "--bytes=9000", "--quality=3"], "give one of them"),
        (["dark.png", "--output=o", "--bytes=0"], "bytes"),
        (["dark.png", "--output=o", "--quality=101"], "quality"),
        (["dark.png", "--output=o", "--codec=gif"], "codec"),
        (
            ["dark.png", "--output=o.png"],
            ".png can be written, only .avif, .jfif, .jpe, .jpeg, .jp",
        ),
        (["dark.png", "--output=o.webp", "--codec=jpeg"], ".webp can be written, only .jfif, .jpe"),
        (["s3://bucket/a.png", "--output=o"], "is no file or folder of this machine"),
    ],
)
def test_usage(neid, dark, arguments, message):
    code, out, err = neid("pack", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert os.listdir() == ["dark.png"]


CHILD = r"""
import re, sys
from neid_tf.commands import main
code = main.main(["neid", "pack", *sys.argv[1:]])
heavy = {"tensorflow", "keras", "onnxruntime", "cv2", "scipy", "av"} & set(sys.modules)
weights = [name for name in sys.modules if name.startswith("neid_tf.models")]
[peak] = re.findall(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())
print(code, int(peak) // 1024, *heavy, *weights)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is counted otherwise")
def test_large_pictures_take_little_memory_and_no_network(tmp_path):
    """12 megapixels in under 150 MB, whatever is in the folder before."""
    coarse = Image.fromarray(textured(300, 400))
    for name, size in (("a.jpg", (4000, 3000)), ("b.jpg", (3001, 3999))):
        coarse.resize(size).save(tmp_path / name, quality=85)
    arguments = [tmp_path / "a.jpg", tmp_path / "b.jpg", f"--output={tmp_path / 'small'}"]
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, megabytes, *loaded = done.stdout.splitlines()[-1].split()
    assert (code, loaded) == ("0", [])
    assert int(megabytes) < 150
    assert max(path.stat().st_size for path in (tmp_path / "small").iterdir()) <= 5000


def test_dark_pictures_lose_less_with_the_curve(neid, tmp_path, monkeypatch):
    """At equal bytes, metadata counted, what was dark is nearer to what it was, in light."""
    monkeypatch.chdir(tmp_path)
    pixels = textured(240, 360) // 2
    write(tmp_path / "dark.png", pixels)
    packed(neid, "dark.png", "--output=small.jpg", "--bytes=3000")
    curve, small = Curve(4.0, 2.0), halved(pixels)
    plain, quality = None, 1
    while plain is None or plain.tell() <= 3000:
        best, plain = plain, io.BytesIO()
        quality += 1
        Image.fromarray(np.rint(small * 255).astype(np.uint8)).save(plain, "JPEG", quality=quality)
    with Image.open(best) as image:
        straight = np.asarray(image) / 255
    through = pictures.read("small.jpg").pixels / 65535
    errors = [np.square(curve.lifted(x) - curve.lifted(small)).mean() for x in (straight, through)]
    assert errors[1] < 0.8 * errors[0]
