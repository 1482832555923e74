import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from neid_tf.training import metrics
from tests.conftest import picture

A = np.stack([picture(24, 37, 1), picture(24, 37, 2)]) / np.float32(255)
B = np.clip(A + np.random.default_rng(0).normal(0, 0.08, A.shape), 0, 1).astype("float32")


def test_psnr_agrees_with_scikit_image():
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(A, B, strict=True)]
    np.testing.assert_allclose(metrics.psnr(A, B), expected, atol=1e-4)


def test_ssim_agrees_with_scikit_image():
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [
        structural_similarity(a, b, data_range=1, channel_axis=2, **options)
        for a, b in zip(A, B, strict=True)
    ]
    np.testing.assert_allclose(metrics.ssim(A, B), expected, atol=1e-5)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_properties(metric):
    np.testing.assert_allclose(metric(A, B), metric(B, A), rtol=1e-5)
    np.testing.assert_allclose(metric(A * 255, B * 255, 255.0), metric(A, B), rtol=1e-4)
    shifted = np.clip(A + 0.1, 0, 1)
    more = np.clip(A + 0.2, 0, 1)
    assert (np.asarray(metric(A, more)) < np.asarray(metric(A, shifted))).all()


def test_the_same_picture():
    assert np.isinf(metrics.psnr(A, A)).all()
    np.testing.assert_allclose(metrics.ssim(A, A), 1, atol=1e-6)


def test_known_psnr():
    np.testing.assert_allclose(metrics.psnr(A * 0, A * 0 + 0.1), 20, rtol=1e-5)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_sizes_must_agree(metric):
    with pytest.raises(ValueError, match="37"):
        metric(A, B[:, :, :-1])


def test_psnr_of_integers_does_not_wrap():
    dark, bright = np.full((1, 4, 4, 3), 5, np.uint8), np.full((1, 4, 4, 3), 250, np.uint8)
    expected = peak_signal_noise_ratio(dark, bright, data_range=255)
    np.testing.assert_allclose(metrics.psnr(dark, bright, 255.0), expected, rtol=1e-5)


def ten_bits(values):
    """Round as a graphics card does that multiplies matrices in TF32."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x1000) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def test_ssim_of_bright_pictures_with_operands_of_ten_bits(monkeypatch):
    flat = np.stack([np.full((16, 20, 3), level, np.float32) for level in (0.93, 0.71)])
    half = np.concatenate([flat[:1, :, :10] * 0.1, flat[:1, :, 10:]], axis=2)
    pictures = [(flat, flat + 0.002), (half, half * 0.995), (A, B)]
    exact = [np.asarray(metrics.ssim(*pair)) for pair in pictures]
    multiply = metrics.ops.matmul
    monkeypatch.setattr(metrics.ops, "matmul", lambda a, b: multiply(ten_bits(a), ten_bits(b)))
    for pair, expected in zip(pictures, exact, strict=True):
        rounded = np.asarray(metrics.ssim(*pair))
        assert (rounded <= 1 + 1e-6).all()
        np.testing.assert_allclose(rounded, expected, atol=5e-3)
