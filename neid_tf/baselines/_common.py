"""Helpers that several classical methods share: input checks, filters, edge-aware smoothing."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

EPSILON = 1e-3  # ε of the smoothing weights: LIME, CRM and BIMEF all use 0.001


def check_image(image: np.ndarray) -> np.ndarray:
    """Return `image` as a new float64 array.

    Args:
        image: float RGB, H×W×3, values in [0, 1].

    Raises:
        ValueError: not a float array, not H×W×3, empty, not finite or out of [0, 1].
    """
    if not isinstance(image, np.ndarray) or not np.issubdtype(image.dtype, np.floating):
        kind = getattr(image, "dtype", type(image).__name__)
        raise ValueError(f"image must be a float array with values in [0, 1], got {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must have shape (H, W, 3), got {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError(f"image must be finite, got {image[~np.isfinite(image)][0]}")
    if image.min() < 0 or image.max() > 1:
        raise ValueError(f"image must lie in [0, 1], got [{image.min()}, {image.max()}]")
    return image.astype(np.float64)


def check_range(low: float, high: float, **parameters: float) -> None:
    """Check that parameters lie in a range.

    Args:
        low: the least value allowed.
        high: the largest.
        **parameters: values by name.

    Raises:
        ValueError: naming parameter and value, for one outside [low, high] or NaN.
    """
    for name, value in parameters.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must lie in [{low}, {high}], got {value}")


def check_positive(**parameters: float) -> None:
    """Check that parameters, given by name, are finite and above 0.

    Raises:
        ValueError: naming parameter and value, for one that is not.
    """
    for name, value in parameters.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")


def check_odd(**parameters: int) -> None:
    """Raise a ValueError, naming parameter and value, for one that is not 1, 3, 5, …"""
    for name, value in parameters.items():
        if value < 1 or value % 2 != 1:
            raise ValueError(f"{name} must be a positive odd number of pixels, got {value}")


def lightness(image: np.ndarray) -> np.ndarray:
    """The largest of the three channels, H×W: the V of HSV."""
    return image.max(axis=2)


def solve_smoothing(
    plane: np.ndarray, weight_x: np.ndarray, weight_y: np.ndarray, strength: float
) -> np.ndarray:
    """Solve min_t Σ (t − plane)² + strength · Σ (weight_x (∂x t)² + weight_y (∂y t)²).

    The linear system of LIME's sped-up solver (Guo, Li, Ling 2017, section II-C), which CRM and
    BIMEF share, by conjugate gradients.

    Args:
        plane: H×W in [0, 1].
        weight_x: H×(W−1), non-negative: one weight per pair of horizontal neighbours.
        weight_y: (H−1)×W, non-negative: one weight per pair of vertical neighbours.
        strength: non-negative.
    """
    weight_x, weight_y = strength * weight_x, strength * weight_y
    diagonal = np.ones_like(plane)
    _add_to_ends(diagonal, weight_x, weight_y, sign=1)

    def system(flat: np.ndarray) -> np.ndarray:
        t = flat.reshape(plane.shape)
        result = t.copy()
        _add_to_ends(result, weight_x * np.diff(t, axis=1), weight_y * np.diff(t, axis=0), sign=-1)
        return result.ravel()

    def jacobi(flat: np.ndarray) -> np.ndarray:
        return flat / diagonal.ravel()

    size = (plane.size, plane.size)
    # A residual of 1e-3 leaves the map within about 1e-4 of the exact one; the authors of all
    # three methods stop at 0.1.
    solution, _ = cg(
        LinearOperator(size, system, dtype=plane.dtype),
        plane.ravel(),
        x0=plane.ravel(),
        rtol=1e-3,
        M=LinearOperator(size, jacobi, dtype=plane.dtype),
    )
    # The exact solution is a weighted mean of `plane`: stay within its range as well.
    return np.clip(solution, plane.min(), plane.max()).reshape(plane.shape)


def smooth_illumination(plane: np.ndarray, strength: float, window: int) -> np.ndarray:
    """Compute the illumination map of CRM and BIMEF: `plane` without its texture, edges kept.

    Weights 1 / (|Σ_window ∂t| · |∂t| + ε), solved at half size and enlarged again, as in the
    authors' code. Its borders wrap around; ours end, so that the left edge of a picture has no
    say in the right one.

    Args:
        plane: H×W in [0, 1].
        strength: λ of the smoothing, non-negative.
        window: length of the gradient sums, in pixels of the half-size plane.
    """
    height, width = plane.shape
    half = (-(-width // 2), -(-height // 2))  # rounded up: never empty
    small = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
    step_x, step_y = np.diff(small, axis=1), np.diff(small, axis=0)
    weight_x = 1 / (np.abs(filter_sum(step_x, np.ones((1, window))) * step_x) + EPSILON)
    weight_y = 1 / (np.abs(filter_sum(step_y, np.ones((window, 1))) * step_y) + EPSILON)
    smooth = solve_smoothing(small, weight_x, weight_y, strength)
    # Bilinear, where the authors enlarge bicubically: it cannot overshoot below zero, and the
    # map becomes a divisor.
    return cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)


def filter_sum(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate a plane with a small kernel, zero beyond the borders.

    Args:
        plane: H×W.
        kernel: the weights, a small array.

    Returns:
        H×W.
    """
    if plane.size == 0:  # the steps of a picture one pixel wide or high; OpenCV would raise
        return plane
    return cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_CONSTANT)


def expose(image: np.ndarray, ratio: np.ndarray | float, a: float, b: float) -> np.ndarray:
    """Compute what the camera would have recorded at `ratio` times the exposure, not clipped.

    The beta-gamma brightness transform g(P, k) = e^{b(1 − kᵃ)} · P^{kᵃ} of Ying, Li, Ren, Wang,
    Wang 2017 (CRM, section 2). It composes as exposures do: g(g(P, k), m) = g(P, k·m).

    Args:
        image: any shape, in [0, 1].
        ratio: exposure ratio k, positive: a number, or an array that broadcasts against `image`.
        a, b: camera parameters.
    """
    gamma = np.power(ratio, a)
    return np.exp(b * (1 - gamma)) * np.power(image, gamma)


def _add_to_ends(plane: np.ndarray, flow_x: np.ndarray, flow_y: np.ndarray, sign: int) -> None:
    """Add each pair's flow to its second pixel and `sign` times it to its first, in place."""
    plane[:, :-1] += sign * flow_x
    plane[:, 1:] += flow_x
    plane[:-1] += sign * flow_y
    plane[1:] += flow_y
