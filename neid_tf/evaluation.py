"""Scores of enhanced pictures against their references, by one protocol."""

import time
from pathlib import Path

import numpy as np

from neid_tf import pictures
from neid_tf.downsample import halve, pad_to_even

PROTOCOL = {
    "psnr": "dB, per picture over RGB, on uint8 pictures, data range 255; mean over pictures",
    "ssim": "RGB, Gaussian 11×11 windows, sigma 1.5 (scikit-image, gaussian_weights=True)",
    "ssim_gray": "the same on luminance (0.299 R + 0.587 G + 0.114 B)",
    "psnr_gt_mean": "output scaled to the reference's mean brightness first: looks at the answer",
    "input": "halved by antialiased bicubic (a = -0.5) before the model; compared at full size",
}


def score(reference, output):
    """Score a picture against its reference.

    Args:
        reference: uint8 H×W×3 RGB, at least 11×11.
        output: the same shape and type.

    Returns:
        Dictionary of ``psnr``, ``ssim``, ``ssim_gray`` and ``psnr_gt_mean``.

    Raises:
        ValueError: where shape or type differ or are not as said.
    """
    _check(reference, output)
    gray = [luminance(picture) for picture in (reference, output)]
    return {
        "psnr": psnr(reference, output),
        "ssim": ssim(reference, output),
        "ssim_gray": ssim(*gray),
        "psnr_gt_mean": psnr(reference, _with_mean_of(gray[0], gray[1], output)),
    }


def _check(reference, output):
    if reference.shape != output.shape:
        raise ValueError(f"the output is {output.shape}, its reference {reference.shape}")
    for picture in (reference, output):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"pictures are uint8 H×W×3, not {picture.dtype} {picture.shape}")
    if min(reference.shape[:2]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11×11, not {reference.shape[:2]}")


def psnr(reference, output):
    """Return the PSNR in dB of two arrays of one shape, data range 255 (inf if equal)."""
    error = np.mean(np.square(reference.astype(np.float64) - output.astype(np.float64)))
    return float(10.0 * np.log10(255.0**2 / error)) if error else float("inf")


def ssim(reference, output):
    """Return the SSIM of two pictures, H×W×3 or H×W, data range 255."""
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


def luminance(picture):
    """Return the luminance of an RGB picture, float64 H×W (Rec. 601)."""
    return picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _with_mean_of(reference_gray, output_gray, output):
    factor = reference_gray.mean() / max(output_gray.mean(), 1e-6)
    return np.clip(np.rint(output * factor), 0, 255).astype(np.uint8)


def evaluate(pairs, predict, save=None):
    """Score a method on pairs.

    Args:
        pairs: iterable of (name, low, reference), both uint8 H×W×3.
        predict: function from a low-light picture to an enhanced one of the same size.
        save: a folder to write the enhanced pictures to, as NAME.png; None for nowhere.

    Returns:
        The report: ``protocol``, ``mean`` (of every score) and ``images`` (one dictionary of
        ``name``, scores, ``seconds`` and ``megapixels`` each).
    """
    images = []
    for name, low, reference in pairs:
        started = time.perf_counter()
        output = predict(low)
        seconds = time.perf_counter() - started
        if save is not None:
            _save(Path(save), name, output)
        size = {"seconds": seconds, "megapixels": reference.shape[0] * reference.shape[1] / 1e6}
        images.append({"name": name} | score(reference, output) | size)
    return {"protocol": PROTOCOL, "mean": mean_scores(images), "images": images}


def _save(folder, name, output):
    folder.mkdir(parents=True, exist_ok=True)
    picture = pictures.Picture(output, alpha=None, gray=False, format="PNG", exif=None, icc=None)
    pictures.write(folder / f"{name}.png", picture)


def mean_scores(images):
    """Return the mean over pictures of each score."""
    names = ("psnr", "ssim", "ssim_gray", "psnr_gt_mean")
    means = {name: float(np.mean([image[name] for image in images])) for name in names}
    seconds = sum(image["seconds"] for image in images)
    means["seconds_per_megapixel"] = seconds / sum(image["megapixels"] for image in images)
    return means


def half_and_back(reference):
    """Return the control ``bicubic ÷2×2``: the ceiling of what a half-size input can hold."""
    batch = pad_to_even(reference.astype(np.float32) / 255.0)
    import cv2

    full = cv2.resize(halve(batch), batch.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    full = full[: reference.shape[0], : reference.shape[1]]
    return np.rint(np.clip(full, 0.0, 1.0) * 255.0).astype(np.uint8)
