"""Scores of enhanced pictures against their references, by one protocol."""

import time
from pathlib import Path

import numpy as np

from neid_tf import pictures
from neid_tf.pixels.resample import halve, pad_to_even
from neid_tf.pixels.samples import from_float, luminance, quantise, to_8_bit, to_float
from neid_tf.support.errors import NeidError

PROTOCOL = {
    "psnr": "dB, per picture over RGB, on uint8 pictures, data range 255; mean over pictures",
    "ssim": "RGB, Gaussian 11×11 windows, sigma 1.5 (scikit-image, gaussian_weights=True)",
    "ssim_gray": "the same on luminance (0.299 R + 0.587 G + 0.114 B)",
    "psnr_gt_mean": "output scaled to the reference's mean brightness first: looks at the answer",
    "input": "NEID's is halved by antialiased bicubic (a = -0.5); all are compared at full size",
}


def score(reference, output):
    """Score a picture against its reference.

    Args:
        reference: H×W×3 RGB, at least 11×11; see :func:`to_8_bit`.
        output: the same shape.

    Returns:
        Dictionary of ``psnr``, ``ssim``, ``ssim_gray`` and ``psnr_gt_mean``.

    Raises:
        ValueError: where the shapes differ, or shape or type are not as said.
    """
    if reference.shape != output.shape:
        raise NeidError(f"the output is {output.shape}, its reference {reference.shape}")
    if min(reference.shape[:2]) < 11:
        raise NeidError(f"SSIM needs pictures of at least 11×11, not {reference.shape[:2]}")
    reference, output = to_8_bit(reference), to_8_bit(output)
    gray = [luminance(picture) for picture in (reference, output)]
    return {
        "psnr": psnr(reference, output),
        "ssim": ssim(reference, output),
        "ssim_gray": ssim(*gray),
        "psnr_gt_mean": psnr(reference, _with_mean_of(gray[0], gray[1], output)),
    }


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


def _with_mean_of(reference_gray, output_gray, output):
    factor = reference_gray.mean() / max(output_gray.mean(), 1e-6)
    return quantise(output * factor, np.uint8)


def evaluate(rows, predict=None, save=None):
    """Score pictures, or what a method makes of them.

    Args:
        rows: iterable of (name, picture, reference), both H×W×3 RGB of one size; or with None
            for all references.
        predict: function from a low-light picture to an enhanced one of the same size; None to
            score the pictures as they are.
        save: a folder to write the enhanced pictures to, as NAME.png; None for nowhere.

    Returns:
        The report: ``protocol``, ``mean`` (of every score) and ``images`` (one dictionary of
        ``name``, scores, ``megapixels`` and, with a method, ``seconds`` each). The scores are
        those of :func:`score`, or without references of :mod:`neid_tf.evaluation.niqe`.

    Raises:
        ValueError: naming the picture that can't be scored.
    """
    # Not before it is needed: it loads large libraries, and --help does not wait for them.
    from neid_tf.evaluation import niqe

    images, protocol = [], niqe.PROTOCOL
    for name, picture, reference in rows:
        started = time.perf_counter()
        output = picture if predict is None else predict(picture)
        seconds = time.perf_counter() - started
        if save is not None:
            Path(save).mkdir(parents=True, exist_ok=True)
            pictures.write(Path(save) / f"{name}.png", pictures.Picture(output))
        protocol = niqe.PROTOCOL if reference is None else PROTOCOL
        image = {"name": name} | _scores(name, output, reference)
        image["megapixels"] = output.shape[0] * output.shape[1] / 1e6
        images.append(image if predict is None else image | {"seconds": seconds})
    return {"protocol": protocol, "mean": mean_scores(images), "images": images}


def _scores(name, output, reference):
    try:
        if reference is None:
            from neid_tf.evaluation import niqe

            return niqe.score(luminance(to_8_bit(output)))
        return score(reference, output)
    except ValueError as error:
        raise NeidError(f"{name}: {error}") from error


def mean_scores(images):
    """Return the mean over pictures of each score that they have; None where none has it."""
    names = [n for n in images[0] if n not in ("name", "megapixels", "seconds")] if images else []
    means = {}
    for name in names:
        values = [image[name] for image in images if image[name] is not None]
        means[name] = float(np.mean(values)) if values else None
    if images and "seconds" in images[0]:
        seconds = sum(image["seconds"] for image in images)
        means["seconds_per_megapixel"] = seconds / sum(image["megapixels"] for image in images)
    return means


def half_and_back(reference):
    """Return the control ``bicubic ÷2×2``: the ceiling of what a half-size input can hold."""
    batch = pad_to_even(to_float(reference))
    import cv2

    full = cv2.resize(halve(batch), batch.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    full = full[: reference.shape[0], : reference.shape[1]]
    return from_float(full, np.uint8)
