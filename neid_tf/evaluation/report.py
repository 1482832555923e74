"""Reports of many pictures: rows in, scores and their means out, with two controls."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf import pictures
from neid_tf.evaluation import niqe, scores
from neid_tf.pixels.resample import double, halve
from neid_tf.pixels.samples import from_float, luminance, to_8_bit, to_float
from neid_tf.support.errors import NeidError

Row = tuple[str, np.ndarray, np.ndarray | None]
"""A picture's name, its pixels and its reference's: H×W×3 RGB of one size, or None for that."""

COLUMNS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "ssim_gray": ("gray", 3),
    "psnr_gt_mean": ("GT mean*", 2),
    "niqe": ("NIQE", 2),
    "brightness": ("brightness", 1),
    "contrast": ("contrast", 1),
    "seconds_per_megapixel": ("s/MP", 2),
}
"""The columns of :func:`table`: score, (title, decimals)."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Pictures that are read when their turn comes, as often as they are gone through.

    Attributes:
        names: the stems.
        read: function from a name to the picture and its reference, or None for that.
    """

    names: tuple[str, ...]
    read: Callable[[str], Sequence[np.ndarray | None]]

    def __iter__(self) -> Iterator[Row]:
        return ((name, *self.read(name)) for name in self.names)


def evaluate(
    rows: Iterable[Row],
    predict: Callable[[np.ndarray], np.ndarray] | None = None,
    save: Path | str | None = None,
    traced: bool = False,
) -> dict[str, Any]:
    """Score pictures, or what a method makes of them.

    Args:
        rows: the pictures; with references for all, or for none.
        predict: function from a low-light picture to an enhanced one of the same size; None to
            score the pictures as they are.
        save: a folder to write the enhanced pictures to, as NAME.png; None for nowhere.
        traced: whether the method makes itself ready for each new size, as Keras does. Its time
            is taken the second time then.

    Returns:
        The report: ``protocol``, ``mean`` (of every score) and ``images`` (one dictionary of
        ``name``, scores, ``megapixels`` and, with a method, ``seconds`` each). The scores are
        those of :func:`neid_tf.evaluation.scores.score`, or without references of
        :mod:`neid_tf.evaluation.niqe`.

    Raises:
        ValueError: naming the picture that can't be scored, or the first that has a reference
            where others have none.
    """
    images, protocol, sizes = [], niqe.PROTOCOL, set()
    for name, picture, reference in _alike(rows):
        if traced and predict and picture.shape not in sizes:
            sizes.add(picture.shape)
            with _named(name):
                predict(picture)
        started = time.perf_counter()
        with _named(name):
            output = picture if predict is None else predict(picture)
        seconds = time.perf_counter() - started
        if save is not None:
            Path(save).mkdir(parents=True, exist_ok=True)
            pictures.write(Path(save) / f"{name}.png", pictures.Picture(output))
        protocol = niqe.PROTOCOL if reference is None else scores.PROTOCOL
        image = _scored(name, output, reference)
        images.append(image if predict is None else image | {"seconds": seconds})
    return {"protocol": protocol, "mean": mean_scores(images), "images": images}


def _alike(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows; refuse the first that has a reference where others have none, or no other."""
    names: dict[bool, str] = {}
    for name, picture, reference in rows:
        names.setdefault(reference is None, name)
        if len(names) == 2:
            raise NeidError(f"{names[True]}: has no reference, but {names[False]} has one")
        yield name, picture, reference


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the picture in what is said of it."""
    try:
        yield
    except ValueError as error:
        raise NeidError(f"{name}: {error}") from error


def _scored(name: str, output: np.ndarray, reference: np.ndarray | None) -> dict[str, Any]:
    """Return a picture's name, scores and size."""
    with _named(name):
        if reference is None:
            found = niqe.score(luminance(to_8_bit(output)))
        else:
            found = scores.score(reference, output)
    return {"name": name, **found, "megapixels": output.shape[0] * output.shape[1] / 1e6}


def mean_scores(images: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the mean over pictures of each score that they have; None where none has it.

    Infinite ones, of pictures that equal their reference, are left out where others are finite.

    Args:
        images: the ``images`` of a report.
    """
    names = [n for n in images[0] if n not in ("name", "megapixels", "seconds")] if images else []
    means = {}
    for name in names:
        values = [image[name] for image in images if image[name] is not None]
        values = [value for value in values if np.isfinite(value)] or values
        means[name] = float(np.mean(values)) if values else None
    if images and "seconds" in images[0]:
        seconds = sum(image["seconds"] for image in images)
        means["seconds_per_megapixel"] = seconds / sum(image["megapixels"] for image in images)
    return means


def controls(rows: Iterable[Row]) -> dict[str, dict[str, float | None]]:
    """Score the input as it is and, with references, these halved and enlarged again.

    Args:
        rows: the pictures.

    Returns:
        The mean scores of ``input`` and of ``bicubic_half_and_back``.
    """
    images: dict[str, list[dict[str, Any]]] = {"input": []}
    for name, picture, reference in _alike(rows):
        images["input"].append(_scored(name, picture, reference))
        if reference is not None:
            ceiling = _scored(name, half_and_back(reference), reference)
            images.setdefault("bicubic_half_and_back", []).append(ceiling)
    return {name: mean_scores(scored) for name, scored in images.items()}


def half_and_back(reference: np.ndarray) -> np.ndarray:
    """Return the control ``bicubic ÷2×2``: the ceiling of what a half-size input can hold."""
    full = double(halve(to_float(reference)))
    return from_float(full[: reference.shape[0], : reference.shape[1]], np.uint8)


def table(report: Mapping[str, Any]) -> str:
    """Return the means of a report as text: a row for the method and for each control.

    Args:
        report: what :func:`evaluate` gave, with ``method`` (its ``name``) and ``controls``.
    """
    rows = {report["method"]["name"]: report["mean"]} | report["controls"]
    columns = {name: COLUMNS[name] for name in COLUMNS if name in report["mean"]}
    lines = [f"{'':<24}" + "".join(f"{title:>11}" for title, _ in columns.values())]
    for name, mean in rows.items():
        cells = [_cell(mean.get(score), places) for score, (_, places) in columns.items()]
        lines.append(f"{name:<24}" + "".join(cells))
    note = " * looks at the reference's brightness." if "psnr" in report["mean"] else ""
    for name, (title, _) in columns.items():
        if without := sum(image.get(name, 0) is None for image in report["images"]):
            note += f" {title}: without {without} that have none."
        equal = sum(image.get(name, 0) == np.inf for image in report["images"])
        if 0 < equal < len(report["images"]):
            note += f" {title}: {equal} infinite (equal pictures), left out of the mean."
    return "\n".join([*lines, f"{len(report['images'])} pictures.{note}"])


def _cell(value: float | None, places: int) -> str:
    return f"{'-':>11}" if value is None else f"{value:11.{places}f}"
