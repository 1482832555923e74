"""Scores of one picture against its reference, by one protocol."""

import numpy as np

from neid_tf.pixels.samples import luminance, quantise, to_8_bit
from neid_tf.support.errors import NeidError

SMALLEST = 11
"""The least side of pictures that are scored, in pixels: that of SSIM's window."""

PROTOCOL = {
    "psnr": "dB, per picture over RGB, on uint8 pictures, data range 255; mean over pictures, "
    "but for those that equal their reference, whose score is infinite (null)",
    "ssim": "RGB, Gaussian 11×11 windows, sigma 1.5 (scikit-image, gaussian_weights=True)",
    "ssim_gray": "the same on luminance (0.299 R + 0.587 G + 0.114 B)",
    "psnr_gt_mean": "output scaled to the reference's mean brightness first: looks at the answer",
    "input": "NEID's is halved by antialiased bicubic (a = -0.5); all are compared at full size",
}


def score(reference: np.ndarray, output: np.ndarray) -> dict[str, float]:
    """Score a picture against its reference.

    Args:
        reference: H×W×3 RGB, at least 11×11; see :func:`neid_tf.pixels.samples.to_8_bit`.
        output: the same shape.

    Returns:
        ``psnr`` and ``psnr_gt_mean`` in dB, ``ssim`` and ``ssim_gray`` (at most 1).

    Raises:
        ValueError: where the shapes differ, or shape or type are not as said.
    """
    reference, output = to_8_bit(reference), to_8_bit(output)
    _check(reference, output, smallest=SMALLEST)
    gray = [luminance(picture) for picture in (reference, output)]
    return {
        "psnr": psnr(reference, output),
        "ssim": ssim(reference, output),
        "ssim_gray": _similarity(*gray),
        "psnr_gt_mean": psnr(reference, _with_mean_of(gray[0], gray[1], output)),
    }


def psnr(reference: np.ndarray, output: np.ndarray) -> float:
    """Compute the peak signal-to-noise ratio, data range 255.

    Args:
        reference: uint8 H×W×3 or H×W; :func:`neid_tf.pixels.samples.to_8_bit` makes it of others.
        output: the same shape and type.

    Returns:
        Decibels; infinite where both are equal.

    Raises:
        ValueError: where the shapes differ, or shape or type are not as said.
    """
    _check(reference, output)
    error = np.mean(np.square(reference.astype(np.float64) - output.astype(np.float64)))
    return float(10.0 * np.log10(255.0**2 / error)) if error else float("inf")


def ssim(reference: np.ndarray, output: np.ndarray) -> float:
    """Compute the structural similarity, data range 255 (see :data:`PROTOCOL`).

    Args:
        reference: uint8 H×W×3 or H×W, at least 11×11.
        output: the same shape and type.

    Returns:
        At most 1, the value of equal pictures.

    Raises:
        ValueError: where the shapes differ, or shape or type are not as said.
    """
    _check(reference, output, smallest=SMALLEST)
    return _similarity(reference, output)


def _check(reference, output, smallest=1):
    """Refuse what is no pair of pictures of 8 bits, which would get a score that says nothing."""
    if reference.shape != output.shape:
        raise NeidError(f"the output is {output.shape}, its reference {reference.shape}")
    if output.ndim != 2 and output.shape[2:] != (3,):
        raise NeidError(f"pictures are H×W×3 or H×W, not {output.shape}")
    if min(output.shape[:2]) < smallest:
        what = "SSIM needs pictures" if smallest > 1 else "PSNR needs a picture"
        raise NeidError(f"{what} of at least {smallest}×{smallest}, not {output.shape[:2]}")
    for name, picture in (("reference", reference), ("output", output)):
        if picture.dtype != np.uint8:
            raise NeidError(f"the {name} is to be uint8, 0 to 255, not {picture.dtype}")


def _similarity(reference, output):
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            reference,
            output,
            data_range=255,
            channel_axis=2 if reference.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _with_mean_of(
    reference_gray: np.ndarray, output_gray: np.ndarray, output: np.ndarray
) -> np.ndarray:
    factor = reference_gray.mean() / max(output_gray.mean(), 1e-6)
    return quantise(output * factor, np.uint8)
