"""Large TIFFs by windows: the same result as in memory, with place, bands, mask and layout kept."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from neid_tf import pictures
from neid_tf.commands import enhance as command
from neid_tf.inference import methods, tiles, windows
from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.network import FunctionNetwork
from neid_tf.inference.tiles import Tiled
from neid_tf.jobs import large
from neid_tf.pictures import windows as reading
from neid_tf.pictures.raster import FormatError
from tests.conftest import darkened, picture
from tests.pictures.picture_files import noise

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rasterio.shutil")
pytest.importorskip("onnxruntime")
from rasterio.enums import ColorInterp, MaskFlags  # noqa: E402
from rasterio.transform import Affine, from_origin  # noqa: E402

PLACE = from_origin(500000.0, 4000000.0, 10.0, 5.0)
SMALL = ("--tile=128", "--max_pixels=9999", "--weights=neid_s")
"""What makes a picture of 301×277 a large one of several tiles."""
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 2}


@pytest.fixture(autouse=True)
def _in_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def doubled(batch):
    """What stands for a network where it does not matter what it makes."""
    return np.sqrt(batch.repeat(2, axis=1).repeat(2, axis=2))


@pytest.fixture
def quick(monkeypatch):
    """The command does without the network."""

    def make():
        return Enhancement(Tiled(FunctionNetwork(doubled), 32), int(command._SCALE.value or 1))

    monkeypatch.setattr(command, "_function", make)


def samples_of(count, dtype=np.uint16, height=301, width=277):
    """Dark samples of smooth colours with some grain; no one is 0."""
    dark = np.concatenate([darkened(picture(height, width, seed)) for seed in range(4)], -1)
    dark = dark[..., :count] / 255 + noise(height, width, count) / 255 * 0.02
    if dtype == np.float32:
        return dark.astype(dtype)
    return np.rint(dark * np.iinfo(dtype).max).clip(1, None).astype(dtype)


def saved(path, samples, mask=None, describe=None, **options):
    """A GeoTIFF as GDAL writes it."""
    height, width, count = samples.shape
    fields = {"height": height, "width": width, "count": count, "dtype": samples.dtype}
    fields |= {"crs": "EPSG:32633", "transform": PLACE, **TILED, **options}
    fields = {key: value for key, value in fields.items() if value is not None}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", **fields) as file,
    ):
        if describe:
            describe(file)
        file.write(np.moveaxis(samples, -1, 0))
        if mask is not None:
            file.write_mask(mask.astype(np.uint8) * 255)
    return path


def enhanced(neid, path, *flags, name="out.tif", code=0):
    """What the command makes of a file by windows, and what it says of it."""
    got, _, err = neid("enhance", path, f"--output={name}", "--overwrite", *SMALL, *flags)
    assert got == code, err
    return err


def in_memory(neid, path, *flags):
    got, _, err = neid(
        "enhance",
        path,
        "--output=whole.tif",
        "--overwrite",
        "--tile=128",
        "--weights=neid_s",
        *flags,
    )
    assert got == 0, err
    with rasterio.open("whole.tif") as file:
        return file.read()


def by_windows(name="out.tif"):
    with rasterio.open(name) as file:
        return file.read()


@pytest.mark.parametrize(
    ("count", "dtype", "options", "flags"),
    [
        (3, np.uint8, {"photometric": "rgb"}, ()),
        (3, np.uint8, {"photometric": "rgb"}, ("--scale=2", "--strength=0.5")),
        (4, np.uint16, {}, ("--strength=0.5",)),
        (1, np.uint16, {"interleave": "band"}, ("--scale=2",)),
        (3, np.float32, {"predictor": 3}, ("--strength=2",)),
        (3, np.uint16, {"photometric": "rgb"}, ("--tile=1024",)),
        (3, np.uint16, {"photometric": "rgb", "interleave": "band"}, ()),
        (4, np.uint16, {"photometric": "rgb", "alpha": "yes"}, ()),
    ],
)
def test_the_result_is_that_of_a_picture_in_memory(count, dtype, options, flags, neid, monkeypatch):
    path = saved("a.tif", samples_of(count, dtype), **options)
    whole = in_memory(neid, path, *flags)
    monkeypatch.setattr(pictures, "decode", None)  # Nothing is read whole.
    enhanced(neid, path, *flags)
    level = 1e-6 if dtype == np.float32 else 1
    np.testing.assert_allclose(by_windows(), whole, atol=level, rtol=0)
    with rasterio.open("whole.tif") as one, rasterio.open("out.tif") as other:
        assert one.transform == other.transform
        assert one.crs == other.crs
        assert one.dtypes == other.dtypes
    with tifffile.TiffFile(path) as one, tifffile.TiffFile("out.tif") as other:
        old, new = one.pages[0], other.pages[0]
        assert (new.photometric, new.extrasamples) == (old.photometric, old.extrasamples)


def test_a_gray_picture_in_three_channels_stays_gray(neid):
    gray = samples_of(1, np.uint16).repeat(3, axis=-1)
    path = saved("a.tif", gray, photometric="rgb")
    whole = in_memory(neid, path)
    enhanced(neid, path)
    np.testing.assert_allclose(by_windows(), whole, atol=1)
    assert (by_windows() == by_windows()[:1]).all()


def hidden_corner(height=301, width=277):
    """Where a picture that was turned ends; whole rows of it are empty."""
    y, x = np.mgrid[:height, :width]
    return (x + 0.7 * y < 150) | (y > height - 40) | (y < 9)


@pytest.mark.parametrize(
    ("how", "scale"), [("nodata", 1), ("nodata", 2), ("mask", 1), ("mask", 2), ("alpha", 2)]
)
def test_what_is_no_picture(how, scale, neid, request):
    if (how, scale) not in (("nodata", 1), ("mask", 2)):
        request.getfixturevalue("quick")  # What a network reads off the whole is tested with two.
    hidden, options, samples = hidden_corner(), {}, samples_of(3)
    if how == "nodata":
        samples[hidden], options = 0, {"nodata": 0}
    elif how == "mask":
        samples[hidden], options = 60000, {"mask": ~hidden}
    else:
        alpha = np.where(hidden, 0, 65535).astype(np.uint16)[..., None]
        samples = np.concatenate([samples, alpha], -1)
        options = {"photometric": "rgb", "alpha": "yes"}
    path = saved("a.tif", samples, **options)
    enhanced(neid, path, f"--scale={scale}")
    seen = ~hidden.repeat(scale, 0).repeat(scale, 1)
    with rasterio.open("out.tif") as file:
        got = file.dataset_mask() > 0
        bright = file.read()[:3]
        assert file.nodata == options.get("nodata")
        assert (MaskFlags.per_dataset in file.mask_flag_enums[0]) == (how != "nodata")
    assert (got != seen).mean() < (0.02 if how == "alpha" and scale == 2 else 1e-9)
    whole = in_memory(neid, path, f"--scale={scale}")[:3]
    with rasterio.open("whole.tif") as file:
        assert (MaskFlags.per_dataset in file.mask_flag_enums[0]) == (how != "nodata")
        assert ((file.dataset_mask() > 0) == got).mean() > (0.98 if how == "alpha" else 1 - 1e-9)
    off = np.abs(bright.astype(int) - whole)[:, seen & got]
    # Beside what is not seen, that is continued from other pixels.
    assert off.mean() < 20
    assert np.quantile(off, 0.98) < 100


def describe(file):
    file.descriptions = ("red", "green", "blue", "near infrared", "height")
    file.update_tags(AREA_OR_POINT="Point", FROM="here")
    file.update_tags(4, STATISTICS_MEAN="12", WAVELENGTH="842")
    file.scales, file.offsets = (0.1,) * 5, (2.0,) * 5
    file.units = ("", "", "", "", "metre")
    file.update_tags(ns="OWN", KEY="value")


@pytest.mark.parametrize("scale", [1, 2])
def test_place_bands_and_descriptions_are_kept(scale, neid, quick):
    samples = samples_of(5)
    path = saved("a.tif", samples, describe=describe, photometric="rgb")
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    told = enhanced(neid, path, f"--scale={scale}")
    assert told == ""
    with rasterio.open(path) as old, rasterio.open("out.tif") as new:
        assert new.crs == old.crs
        assert new.bounds == pytest.approx(old.bounds)
        assert new.transform.almost_equals(old.transform * Affine.scale(1 / scale))
        for name in ("descriptions", "scales", "offsets", "units", "colorinterp"):
            assert getattr(new, name) == getattr(old, name), name
        assert new.colorinterp[0] == ColorInterp.red
        assert new.tags() == old.tags()
        assert new.tags(4) == {"WAVELENGTH": "842"}
        assert new.tags(ns="OWN") == {"KEY": "value"}
        assert (new.compression, new.block_shapes) == (old.compression, old.block_shapes)
        assert new.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert new.overviews(1) == [2, 4]
        further = new.read([4, 5])
    if scale == 1:
        np.testing.assert_array_equal(np.moveaxis(further, 0, -1), samples[..., 3:])
    assert sorted(os.listdir()) == ["a.tif", "out.tif"]


def test_ground_points_and_camera_models_grow(neid, quick):
    points = [
        rasterio.control.GroundControlPoint(row, column, 10.0 + column, 50.0 - row, 0.0)
        for row, column in ((0, 0), (0, 277), (301, 0), (301, 277))
    ]
    model = rasterio.rpc.RPC(
        **dict.fromkeys(("height_off", "lat_off", "long_off", "err_bias", "err_rand"), 1.0),
        **dict.fromkeys(("height_scale", "lat_scale", "long_scale"), 2.0),
        **{"line_off": 150.0, "samp_off": 138.0, "line_scale": 150.0, "samp_scale": 138.0},
        **dict.fromkeys(
            ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff"), [0.5] * 20
        ),
    )

    def place(file):
        file.gcps, file.rpcs = (points, rasterio.crs.CRS.from_epsg(4326)), model

    path = saved("a.tif", samples_of(3), describe=place, crs=None, transform=None)
    enhanced(neid, path, "--scale=2")
    with rasterio.open("out.tif") as file:
        assert [(p.row, p.col, p.x, p.y) for p in file.gcps[0]] == [
            (2 * p.row, 2 * p.col, p.x, p.y) for p in points
        ]
        assert (file.rpcs.line_off, file.rpcs.line_scale) == (300.5, 300.0)


@pytest.mark.parametrize("compress", ["deflate", "jpeg", "webp"])
def test_a_cog_stays_one(compress, neid, quick):
    samples = samples_of(3, np.uint8)
    saved("plain.tif", samples, photometric="rgb")
    options = {"compress": compress, "blocksize": 128, "overview_count": 2}
    rasterio.shutil.copy("plain.tif", "a.tif", driver="COG", **options)
    enhanced(neid, "a.tif", "--quality=90")
    with rasterio.open("a.tif") as old, rasterio.open("out.tif") as new:
        assert new.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert new.compression == old.compression
        assert new.block_shapes == old.block_shapes
        assert new.overviews(1)
        assert new.bounds == pytest.approx(old.bounds)
        assert new.read().mean() > 1.5 * old.read().mean()
    assert sorted(os.listdir()) == ["a.tif", "out.tif", "plain.tif"]


@pytest.mark.parametrize("compress", ["lzw", "zstd", "jpeg", "webp", None])
def test_strips_become_tiles_and_compression_is_kept(compress, neid, quick):
    layout = {"tiled": None, "blockxsize": None, "blockysize": 16, "predictor": None}
    photometric = "ycbcr" if compress == "jpeg" else "rgb"
    path = saved(
        "a.tif",
        samples_of(3, np.uint8),
        **layout | ({} if compress != "webp" else {"WEBP_LOSSLESS": "YES"}),
        compress=compress,
        photometric=photometric,
    )
    enhanced(neid, path)
    with rasterio.open("a.tif") as old, rasterio.open("out.tif") as new:
        assert new.compression == old.compression
        assert new.block_shapes == [(512, 512)] * 3
    if compress not in ("jpeg", "webp"):
        np.testing.assert_array_equal(by_windows(), in_memory(neid, path))
    assert by_windows().mean() > 50


@pytest.mark.parametrize("is_cog", [False, True])
def test_profile_density_and_text_are_kept_and_the_rest_told(is_cog, neid, quick):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = [
        (315, "s", 0, "me", True),
        (700, 1, 12, b"<x:xmpmeta/>", True),
        (33723, 7, 2, b"ab", True),
    ]
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "extratags": tags}
    tifffile.imwrite("a.tif", samples_of(3), iccprofile=icc, resolution=(300, 300), **options)
    if is_cog:
        rasterio.shutil.copy("a.tif", "b.tif", driver="COG", blocksize=128)
        os.replace("b.tif", "a.tif")
    err = enhanced(neid, "a.tif", "--scale=2")
    with rasterio.open("out.tif") as file:
        assert file.transform.is_identity  # It had no place.
    assert is_cog or "a.tif: IPTC, XMP left out: a TIFF that is done by windows holds none" in err
    kept = pictures.read("out.tif")
    assert (kept.icc, kept.extras.density) == (icc, (300, 300, True))
    assert b"me" in kept.exif
    assert enhanced(neid, "a.tif", "--metadata=none", "--overwrite") == ""


def test_a_description_of_the_layout_is_not_carried_on(neid, quick):
    options = {"photometric": "rgb", "tile": (64, 64)}
    tifffile.imwrite("a.tif", samples_of(3), **options)
    enhanced(neid, "a.tif", "--scale=2")
    with tifffile.TiffFile("a.tif") as old, tifffile.TiffFile("out.tif") as new:
        assert old.pages[0].description.startswith('{"shape": ')
        assert new.pages[0].description == ""


def test_metadata_may_be_left_out(neid, quick):
    path = saved("a.tif", samples_of(5), describe=describe, photometric="rgb")
    enhanced(neid, path, "--metadata=none")
    with rasterio.open("out.tif") as file:
        assert file.crs is None
        assert "FROM" not in file.tags()
        assert file.descriptions == (None,) * 5


BIMEF = ("--method=bimef", "--tile=auto", "--weights=neid")
REFUSED = {
    "format": ({}, ("--format=png",), "out.png", "of this size only TIFF is written"),
    "method": ({}, BIMEF, "out.tif", "needs it whole"),
    "colours": ({"photometric": "cielab", "predictor": None}, (), "out.tif", "the kind CIELAB"),
    "a turn": ({"turned": 6}, (), "out.tif", "it is to be turned"),
    "parts": ({"blockxsize": 64, "blockysize": 64}, (), "out.tif", "its parts are of 64x64 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_by_windows_is_refused_by_name(name, neid, monkeypatch):
    options, flags, output, reason = REFUSED[name]
    path, turned = "a.tif", options.get("turned")
    if turned:
        tags = [(274, 3, 1, turned, True)]
        tifffile.imwrite(path, samples_of(3, np.uint8), photometric="rgb", extratags=tags)
    else:
        saved(path, samples_of(3, np.uint8), **{"photometric": "rgb", **options})
    if name == "parts":
        monkeypatch.setattr(reading, "LARGEST_BLOCK", 64 * 63)
    err = enhanced(neid, path, *flags, name=output, code=1)
    assert err.startswith("neid: a.tif: 83377 pixels, over the limit of 9999, and by windows")
    assert reason in err
    assert os.listdir() == ["a.tif"]


def test_without_rasterio_it_is_named(neid, monkeypatch):
    path = saved("a.tif", samples_of(3))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    err = enhanced(neid, path, code=1)
    assert "a TIFF of this size needs rasterio: " in err
    assert "install" in err


def test_below_the_limit_it_is_read_whole_where_it_must_be(neid, quick, monkeypatch):
    path = saved("a.tif", samples_of(3))
    monkeypatch.setattr(large, "LARGE", 9999)
    got, _, err = neid("enhance", path, "--output=out.png", "--weights=neid_s")
    assert got == 0, err
    assert pictures.read("out.png").pixels.shape == (301, 277, 3)


@pytest.mark.parametrize("kind", ["truncated", "floats"])
def test_nothing_is_left_of_what_fails(kind, neid, quick):
    samples = samples_of(3, np.float32)
    samples[290:] = 7.0 if kind == "floats" else samples[290:]
    path = saved("a.tif", samples, compress=None, predictor=None)
    if kind == "truncated":
        os.truncate(path, os.path.getsize(path) - 50_000)
    err = enhanced(neid, path, code=1)
    reason = "must lie in [0, 1]" if kind == "floats" else "truncated or damaged TIFF"
    assert err.startswith("neid: a.tif: ")
    assert reason in err
    assert len(err.splitlines()) == 1
    assert os.listdir() == ["a.tif"]


@pytest.mark.parametrize("at", ["a tile", "the end"])
def test_an_interruption_leaves_nothing(at, neid, quick, monkeypatch):
    saved("plain.tif", samples_of(3))
    rasterio.shutil.copy("plain.tif", "a.tif", driver="COG", blocksize=128)
    seen = []

    def interrupted(*_, **__):
        seen.append(sorted(os.listdir()))
        if at == "the end" or len(seen) == 5:
            raise KeyboardInterrupt

    places = {"a tile": (command._TileBar, "__call__"), "the end": (rasterio.shutil, "copy")}
    monkeypatch.setattr(*places[at], interrupted)
    code, _, err = neid("enhance", "a.tif", "--output=out.tif", *SMALL)
    assert (code, "interrupted" in err) == (130, True)
    assert seen[-1][0].startswith(".neid-")
    assert sorted(os.listdir()) == ["a.tif", "plain.tif"]


def test_rows_in_which_nothing_is_seen_are_as_those_in_memory():
    samples, hidden = samples_of(3), hidden_corner()
    samples[hidden] = samples[100:140] = 0
    path = saved("a.tif", samples, nodata=0)
    whole = pictures.read(path).pixels
    with reading.Windows(path) as source:
        rows = [source.read_across(slice(top, min(top + 37, 301))) for top in range(0, 301, 37)]
        np.testing.assert_array_equal(np.concatenate(rows), whole)


def test_the_same_downsampler_in_pieces():
    from neid_tf.pixels.resample import AreaMean, area_reduce

    pixels = np.random.default_rng(0).random((211, 157, 3), np.float32)
    for size in (7, 64, 157, 300):
        mean = AreaMean(211, 157, size)
        for top in range(0, 211, 50):
            for left in range(0, 157, 60):
                mean.add(pixels[top : top + 50, left : left + 60], top, left)
        np.testing.assert_allclose(mean.result(), area_reduce(pixels, size), atol=1e-6)


def test_the_context_is_that_of_the_picture_in_memory(monkeypatch):
    """Also of one that is not larger than a tile once it is halved."""
    monkeypatch.setattr(tiles, "SAMPLE", 96)  # Smaller than the picture, also once it is halved.
    monkeypatch.setattr(tiles, "_PIECE", 24)
    path = saved("a.tif", samples_of(3))
    whole = pictures.read(path).pixels
    for tile in (64, 1024):
        enhancement = methods.load("neid", "neid_s", tile=tile, runtime="onnx")
        expected = enhancement.model.whole_context(enhancement.prepare(whole))
        with reading.Windows(path) as source:
            got = windows._Work(source, enhancement).context()
        for name, array in expected.items():
            np.testing.assert_allclose(got[name], array, atol=1e-4)


def test_several_pages_are_not_done_by_windows():
    pages = [pictures.Picture(noise(9, 12, 3)) for _ in range(2)]
    with open("a.tif", "wb") as file:
        file.write(pictures.encode_all("a.tif", pages))
    with pytest.raises(FormatError, match="several pages"):
        reading.Windows("a.tif")
    assert reading.pixels_of("a.tif") == 108
    assert reading.pixels_of("nothing.tif") == 0


def with_page_below(mask):
    with tifffile.TiffWriter("a.tif") as file:
        file.write(samples_of(3), photometric="rgb", tile=(64, 64), metadata=None, subifds=2)
        file.write(samples_of(3)[::2, ::2], photometric="rgb", metadata=None, subfiletype=1)
        below = samples_of(1)[..., 0]
        kind = {"subfiletype": 4, "photometric": "mask"} if mask else {}
        file.write(below > below.mean() if mask else below, metadata=None, **kind)


def test_what_lies_below_a_page(neid, quick):
    """A mask there is kept, overviews are made anew, another picture is told."""
    with_page_below(mask=False)
    err = enhanced(neid, "a.tif")
    assert "a.tif: 1 page below it left out" in err
    assert "reduced" not in err
    with_page_below(mask=True)
    assert "left out" not in enhanced(neid, "a.tif", "--overwrite")
    seen = pictures.read("a.tif").valid
    assert 0 < seen.mean() < 1
    np.testing.assert_array_equal(pictures.read("out.tif").valid, seen)


def test_a_mask_behind_a_page_below_that_cannot_be_read(neid, quick):
    with_page_below(mask=True)
    with tifffile.TiffFile("a.tif") as file:
        at = file.pages[0].tags[330].valueoffset
    with open("a.tif", "r+b") as file:
        file.seek(at)
        file.write(b"\xff\xff\xff\x7f")
    assert "not all pages below it can be read" in enhanced(neid, "a.tif", code=1)


@pytest.mark.parametrize("nodata", [None, 0])
def test_empty_tiles(nodata, neid, quick):
    """A sparse file has none where there is nothing; it is told, whole and by windows."""
    fields = {"height": 192, "width": 192, "count": 3, "dtype": "uint16", "nodata": nodata, **TILED}
    with rasterio.open("a.tif", "w", driver="GTiff", SPARSE_OK=True, **fields) as file:
        samples = np.moveaxis(samples_of(3, height=128, width=192), -1, 0)
        file.write(samples, window=((0, 128), (0, 192)))
    assert "a.tif: 3 of its 9 tiles are empty" in enhanced(neid, "a.tif")
    whole = pictures.read("a.tif")
    assert "3 of its 9 tiles are empty" in whole.notes
    filled = whole.valid is not None
    assert filled == (nodata is not None)
    assert filled or not whole.pixels[128:].any()
    assert by_windows()[:, :128].all()
    assert not by_windows()[:, 132:].any()  # A resampler looks a little across.


@pytest.mark.parametrize("tag", [324, 325])
def test_a_tile_that_is_not_there(tag, neid, quick):
    """It has an address or a length, not both, which no sparse file has."""
    saved("a.tif", samples_of(3))
    with tifffile.TiffFile("a.tif") as file:
        found = file.pages[0].tags[tag]
    with open("a.tif", "r+b") as file:
        file.seek(found.valueoffset)
        file.write(bytes(found.valuebytecount // found.count))
    assert "not in the file" in enhanced(neid, "a.tif", code=1)


MEASURED = """
import resource, sys, warnings
import numpy as np, rasterio
from neid_tf.inference import tiles
from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.network import FunctionNetwork
from neid_tf.jobs import large
from neid_tf.jobs.plan import Job
from neid_tf.jobs.transfer import Transfer

warnings.simplefilter("ignore")
steps = Enhancement(tiles.Tiled(FunctionNetwork(lambda b: b.repeat(2, 1).repeat(2, 2)), 256))
for size in map(int, sys.argv[1:]):
    fields = {"driver": "GTiff", "height": size, "width": size, "count": 8, "dtype": "uint16"}
    with rasterio.open("a.tif", "w", tiled=True, compress="zstd", **fields) as file:
        for top in range(0, size, 256):
            rows = min(256, size - top)
            file.write(np.full((8, rows, size), 99, "u2"), window=((top, top + rows), (0, size)))
    job = Job("a.tif", "b.tif")
    large.enhance(job, large.opened(job, steps, 9999), Transfer(existing="overwrite"), steps)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_picture():
    sizes = (1000, 3000)
    program = "from neid_tf.pictures import windows\nwindows.CACHE_MEGABYTES = 16\n" + MEASURED
    command = [sys.executable, "-c", program, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peaks = list(map(int, done.stdout.split()))
    in_picture = 8 * 2 * (sizes[1] ** 2 - sizes[0] ** 2)
    assert peaks[1] - peaks[0] < 0.2 * in_picture


@pytest.mark.parametrize("limit", [999, 9999])
def test_the_sizes_of_a_microscopes_description_follow(neid, quick, limit):
    """By windows and in memory."""
    flags = ("--overwrite", f"--max_pixels={limit}")
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25}
    samples = darkened(picture(40, 60))
    tifffile.imwrite("a.ome.tif", samples, photometric="rgb", metadata={"axes": "YXS", **sizes})
    with tifffile.TiffFile("a.ome.tif") as file:
        said = file.ome_metadata
    larger = said.replace('"60" SizeY="40"', '"120" SizeY="80"').replace('"0.25"', '"0.125"')
    for scale, expected in ((1, said), (2, larger.replace('"0.5"', '"0.25"'))):
        code, _, err = neid("enhance", "a.ome.tif", "--output=out", f"--scale={scale}", *flags)
        assert code == 0, err
        with tifffile.TiffFile("out/a.ome.tif") as file:
            assert file.ome_metadata == expected
            assert file.series[0].shape == (40 * scale, 60 * scale, 3)
