"""GeoTIFFs stay where they are on Earth, in all their bands. Checked with rasterio."""

import warnings

import numpy as np
import pytest
import tifffile

from neid_tf.pictures import PictureError, left_out, read, write
from tests.pictures.picture_files import noise

rasterio = pytest.importorskip("rasterio")
from rasterio.transform import Affine, from_origin  # noqa: E402

PLACE = from_origin(500000.0, 4000000.0, 10.0, 5.0)
TURNED = Affine(8.0, 3.0, 500000.0, 2.0, -9.0, 4000000.0)


def saved(path, samples, transform=PLACE, tags=None, **options):
    """A GeoTIFF as GDAL writes it."""
    height, width, count = samples.shape
    fields = {"height": height, "width": width, "count": count, "dtype": samples.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, **fields, **options
    ) as file:
        file.write(np.moveaxis(samples, -1, 0))
        file.update_tags(AREA="here", **(tags or {}))
    return path


def enlarged(pixels, scale):
    """What an enhancement might give."""
    return np.clip(pixels.repeat(scale, 0).repeat(scale, 1) + pixels.dtype.type(1), 1, None)


def test_a_small_file_for_the_cloud_becomes_a_plain_one_with_a_note(tmp_path):
    fields = {"height": 30, "width": 40, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", driver="COG", **fields) as file:
        file.write(np.moveaxis(noise(30, 40, 3), -1, 0))
    assert read(tmp_path / "a.tif").notes == ("its layout for the cloud (COG) is left out",)
    assert read(saved(tmp_path / "b.tif", noise(30, 40, 3))).notes == ()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("transform", [PLACE, TURNED])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_place_is_kept_and_pixels_shrink(dtype, transform, scale, tmp_path):
    samples = noise(30, 40, 3, np.uint16)
    samples = (samples / 65536).astype(dtype) if dtype == np.float32 else samples.astype(dtype)
    picture = read(saved(tmp_path / "a.tif", samples, transform))
    write(tmp_path / "b.tif", picture.with_pixels(enlarged(picture.pixels, scale)))
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(tmp_path / "b.tif") as after:
        assert after.crs == before.crs
        assert after.bounds == pytest.approx(before.bounds)
        assert after.transform.almost_equals(before.transform * Affine.scale(1 / scale))
        assert (after.height, after.width, after.count) == (30 * scale, 40 * scale, 3)
        assert after.dtypes == before.dtypes
        assert after.tags()["AREA"] == "here"


def test_points_lie_where_they_did(tmp_path):
    samples = noise(30, 40, 3)
    picture = read(saved(tmp_path / "a.tif", samples, tags={"AREA_OR_POINT": "Point"}))
    write(tmp_path / "b.tif", picture.with_pixels(enlarged(picture.pixels, 2)))
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(tmp_path / "b.tif") as after:
        assert after.tags()["AREA_OR_POINT"] == before.tags()["AREA_OR_POINT"] == "Point"
        assert after.bounds == pytest.approx(before.bounds)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "nodata"), [(np.uint8, 0), (np.uint16, 65535), (np.float32, -9999)]
)
def test_nodata_stays_nodata_and_nothing_else_becomes_it(dtype, nodata, scale, tmp_path):
    samples = noise(30, 40, 3, np.uint16).astype(np.float64) / 65535
    samples = samples.astype(dtype) if dtype == np.float32 else (samples * 250).astype(dtype)
    samples[:8, :10] = nodata
    path = saved(tmp_path / "a.tif", samples, nodata=nodata)
    picture = read(path)
    assert picture.valid.sum() == 30 * 40 - 80
    assert picture.pixels.min() >= 0
    dark = np.full_like(enlarged(picture.pixels, scale), max(nodata, 0))
    write(tmp_path / "b.tif", picture.with_pixels(dark))
    with rasterio.open(tmp_path / "b.tif") as after:
        assert after.nodata == nodata
        missing = (after.read() == nodata).all(axis=0)
    expected = np.zeros((30 * scale, 40 * scale), bool)
    expected[: 8 * scale, : 10 * scale] = True
    np.testing.assert_array_equal(missing, expected)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [(np.uint8, 0), (np.uint8, 255), (np.uint16, 77), (np.float32, -9999)]
)
def test_nodata_of_gray_whose_channels_come_to_differ(dtype, nodata, tmp_path):
    samples = noise(30, 40, 1, np.uint16).astype(np.float64) / 65535
    samples = samples.astype(dtype) if dtype == np.float32 else (samples * 200 + 1).astype(dtype)
    samples[:8, :10] = nodata
    expected = (samples == nodata)[..., 0]
    picture = read(saved(tmp_path / "a.tif", samples, nodata=nodata))
    pixels = np.full((30, 40, 3), max(nodata, 0), dtype)
    pixels[..., 0] = 0.001 if dtype == np.float32 else 254 if nodata == 255 else nodata + 1
    write(tmp_path / "b.tif", picture.with_pixels(pixels))
    with rasterio.open(tmp_path / "b.tif") as after:
        assert (after.nodata, after.count) == (nodata, 1)
        np.testing.assert_array_equal(after.read(1) == nodata, expected)
        assert ((after.dataset_mask() == 0) == expected).all()


def test_nan_may_be_the_nodata_of_floats(tmp_path):
    samples = np.full((8, 9, 3), 0.25, np.float32)
    samples[2, 3] = np.nan
    picture = read(saved(tmp_path / "a.tif", samples, nodata=np.nan))
    assert picture.pixels[2, 3].tolist() == [0.25] * 3
    write(tmp_path / "b.tif", picture)
    with rasterio.open(tmp_path / "b.tif") as after:
        np.testing.assert_array_equal(np.moveaxis(after.read(), 0, -1), samples)
    write(tmp_path / "b.png", picture)
    assert read(tmp_path / "b.png").pixels[2, 3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_further_bands_are_kept(count, scale, tmp_path):
    samples = noise(30, 40, count, np.uint16)
    picture = read(saved(tmp_path / "a.tif", samples))
    assert not picture.gray
    np.testing.assert_array_equal(picture.pixels, samples[..., :3])
    assert any("no declared colour" in note for note in picture.notes)
    pixels = enlarged(picture.pixels, scale)
    write(tmp_path / "b.tif", picture.with_pixels(pixels))
    with rasterio.open(tmp_path / "b.tif") as after:
        bands = np.moveaxis(after.read(), 0, -1)
    assert bands.shape == (30 * scale, 40 * scale, count)
    np.testing.assert_array_equal(bands[..., :3], pixels)
    if scale == 1:
        np.testing.assert_array_equal(bands[..., 3:], samples[..., 3:])
    elif count > 3:
        assert abs(bands[..., 3:].mean() / samples[..., 3:].mean() - 1) < 0.02
        inner = bands[..., 3].reshape(30, 2, 40, 2).mean((1, 3))
        assert np.corrcoef(inner.ravel(), samples[..., 3].ravel())[0, 1] > 0.9
    if count > 3:
        lines = left_out(tmp_path / "c.png", picture)
        assert any(f"{count - 3} further bands are left out" in line for line in lines)


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "lzw", "tiled": True, "blockxsize": 16, "blockysize": 32},
        {"compress": "deflate", "predictor": 2},
        {"compress": "packbits"},
        {"compress": "zstd", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {},
    ],
)
def test_tiles_and_compression_are_kept(options, tmp_path):
    path = saved(tmp_path / "a.tif", noise(60, 80, 3), **options)
    write(tmp_path / "b.tif", read(path))
    with rasterio.open(path) as before, rasterio.open(tmp_path / "b.tif") as after:
        assert after.compression == before.compression
        assert after.profile.get("tiled") == before.profile.get("tiled")
        if options.get("tiled"):
            assert after.block_shapes == before.block_shapes
        np.testing.assert_array_equal(after.read(), before.read())


@pytest.mark.parametrize("associated", [False, True])
def test_bands_before_alpha_stay_there(associated, tmp_path):
    """What GDAL's metadata say of a band goes by its place."""
    stored = noise(24, 32, 6, seed=3)
    stored[..., 4] = 255
    meanings = ["unspecified", "assocalpha" if associated else "unassalpha", "unspecified"]
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig="contig", extrasamples=meanings
    )
    source = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(source.alpha, stored[..., 4])
    write(tmp_path / "b.tif", source)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert tuple(file.pages[0].extrasamples) == (0, 2, 0)
        np.testing.assert_array_equal(file.asarray(), stored)


def test_statistics_of_the_dark_picture_are_taken_out(tmp_path):
    path = saved(tmp_path / "a.tif", noise(20, 30, 3))
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, STATISTICS_MEAN="12", NAME="red")
    write(tmp_path / "b.tif", read(path).with_pixels(noise(20, 30, 3, seed=1)))
    with rasterio.open(tmp_path / "b.tif") as after:
        assert after.tags(1) == {"NAME": "red"}


def test_overviews_are_told(tmp_path):
    path = saved(tmp_path / "a.tif", noise(64, 64, 3))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    picture = read(path)
    assert picture.pixels.shape == (64, 64, 3)
    assert any("reduced copies" in note for note in picture.notes)


def test_values_that_are_no_samples_of_pictures_are_refused(tmp_path):
    with pytest.raises(PictureError, match="int16 samples are not supported"):
        read(saved(tmp_path / "a.tif", noise(9, 9, 1, np.uint8).astype(np.int16)))


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
