"""Animated PNG: frames between chunks and whole pictures."""

from __future__ import annotations

import dataclasses
import fractions
import struct
from collections.abc import Iterable, Iterator

import numpy as np

from neid_tf.pictures import budget
from neid_tf.pictures.png import chunks_of, decode_png, encode_png, png_file, samples_of, size_of
from neid_tf.pictures.raster import FormatError, Raster
from neid_tf.pixels.samples import from_float, to_float, white

_STILL_LEFT_OUT = "its still picture, which is no frame of its animation, is left out"
_MOST = 65535  # Of what a frame's time is the quotient of.


def decode_frames(data: bytes, max_pixels: int) -> Iterator[Raster]:
    """Yield the frames of an animation, each as the whole picture that is shown.

    Args:
        data: the file, which has frames.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, or too large.
    """
    first, controls = decode_png(data, max_pixels), [control for control, _ in _frames(data)]
    still = (_STILL_LEFT_OUT,) if first.pages > len(controls) else ()
    first = dataclasses.replace(first, pages=len(controls), notes=first.notes + still)
    budget.check_effort(first.pages * first.samples[..., 0].size, max_pixels, "its frames")
    canvas, has_alpha = None, first.samples.shape[-1] in (2, 4) or _leaves_uncovered(data, controls)
    for control, body in _frames(data):
        width, height, left, top, wait, unit, dispose, blend = control
        part = _rgba(samples_of([*_head(data, width, height), (b"IDAT", body), (b"IEND", b"")]))
        if canvas is None:
            canvas = np.zeros((*first.samples.shape[:2], 4), part.dtype)
            dispose = 1 if dispose == 2 else dispose
        place = np.s_[top : top + height, left : left + width]
        if canvas[place].shape != part.shape:
            raise FormatError("damaged PNG: a frame lies beyond the picture")
        before = canvas[place].copy()
        canvas[place] = _over(part, before) if blend else part
        extras = dataclasses.replace(first.extras, duration=wait / (unit or 100))
        samples = _like(first.samples, canvas, has_alpha)
        yield dataclasses.replace(first, samples=samples, extras=extras)
        first = dataclasses.replace(first, notes=())  # They are told once.
        if dispose:
            canvas[place] = 0 if dispose == 1 else before


def _frames(data: bytes) -> Iterator[tuple[tuple, bytes]]:
    """Yield the control fields of each frame and its compressed samples."""
    control, parts = None, []
    for name, body in chunks_of(data):
        if name in (b"fcTL", b"IEND"):
            if control:
                yield control, b"".join(parts)
            if name == b"fcTL":
                if len(body) != 26:
                    raise FormatError("damaged PNG: a frame's header has the wrong length")
                control, parts = struct.unpack(">4x4I2H2B", body), []
        elif control and name == b"IDAT":
            parts.append(body)
        elif control and name == b"fdAT":
            parts.append(body[4:])


def _leaves_uncovered(data: bytes, controls: list[tuple]) -> bool:
    """Tell whether a part of the picture may be seen through, whatever its frames hold."""
    places = [(control[:4], control[6]) for control in controls]
    whole = (*size_of(data), 0, 0)
    first_cleared = places[0][1] == 2 and len(places) > 1
    return places[0][0] != whole or first_cleared or any(dispose == 1 for _, dispose in places[:-1])


def _head(data: bytes, width: int, height: int) -> list[tuple[bytes, bytes]]:
    """Return the header and palette for a frame of another size."""
    full = size_of(data)
    if not (0 < width <= full[0] and 0 < height <= full[1]):
        raise FormatError("damaged PNG: a frame lies beyond the picture")
    head = []
    for name, body in chunks_of(data):
        if name == b"IDAT":
            return head
        if name == b"IHDR":
            head.append((name, struct.pack(">II", width, height) + body[8:]))
        elif name in (b"PLTE", b"tRNS"):
            head.append((name, body))
    return head


def _rgba(samples: np.ndarray) -> np.ndarray:
    top = white(samples.dtype)
    channels = samples.shape[-1]
    colours = np.repeat(samples[..., :1], 3, -1) if channels < 3 else samples[..., :3]
    alpha = samples[..., -1:] if channels in (2, 4) else np.full_like(samples[..., :1], top)
    return np.concatenate([colours, alpha], -1)


def _over(part: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Lay a frame, straight RGBA, over what was shown before."""
    upper, lower = to_float(part), to_float(below)
    alpha, rest = upper[..., 3:], lower[..., 3:] * (1 - upper[..., 3:])
    total = alpha + rest
    colours = (upper[..., :3] * alpha + lower[..., :3] * rest) / np.maximum(total, 1e-9)
    return from_float(np.concatenate([colours, total], -1), part.dtype)


def _like(samples: np.ndarray, canvas: np.ndarray, has_alpha: bool) -> np.ndarray:
    """Return the canvas in gray where the default picture is, with its alpha or without."""
    kept = ([0] if samples.shape[-1] < 3 else [0, 1, 2]) + [3] * has_alpha
    return np.ascontiguousarray(canvas[..., kept])


def encode_frames(rasters: Iterable[Raster]) -> bytes:
    """Encode pictures of one size, type and number of channels as an animated PNG."""
    parts, count, number, loops = [], 0, 0, 0
    for raster in rasters:
        plain = encode_png(raster)
        height, width = raster.samples.shape[:2]
        if not parts:
            parts.append([c for c in chunks_of(plain) if c[0] not in (b"IDAT", b"IEND")])
            loops = raster.extras.loops
        wait = _quotient(raster.extras.duration)
        control = struct.pack(">5I2H2B", number, width, height, 0, 0, *wait, 0, 0)
        body = b"".join(body for name, body in chunks_of(plain) if name == b"IDAT")
        number += 1
        if count:
            body, name = struct.pack(">I", number) + body, b"fdAT"
            number += 1
        else:
            name = b"IDAT"
        parts.append([(b"fcTL", control), (name, body)])
        count += 1
    header, *rest = parts[0]
    chunks = [header, (b"acTL", struct.pack(">II", count, loops)), *rest]
    chunks += [chunk for part in parts[1:] for chunk in part]
    return png_file([*chunks, (b"IEND", b"")])


def _quotient(seconds: float) -> tuple[int, int]:
    """Return numerator and denominator of a time, or of the longest that a frame can have."""
    seconds = min(seconds, float(_MOST))
    most = min(int(_MOST / max(seconds, 1e-3)), 1000)
    return fractions.Fraction(seconds).limit_denominator(most).as_integer_ratio()
