"""A check of LZW streams of TIFFs, whose decoder trusts them."""

from __future__ import annotations

import functools

import numpy as np

from neid_tf.pictures.raster import FormatError

_CLEAR, _END, _FIRST, _MOST = 256, 257, 258, 4096
_LONGEST = 4  # bytes that hold a code, wherever it begins in the first of them


def check(stream: bytes) -> None:
    """Refuse a stream that is damaged where a table of strings begins anew.

    The first code of a table stands for itself. imagecodecs takes any, and looks one that is none
    up in memory that is not its own: the process may end, or what lies there gets into the picture.
    All else it checks itself. (TIFF 6.0, section 13.)

    Args:
        stream: of a strip or tile, of either order of bits.

    Raises:
        FormatError: if it is so damaged.
    """
    is_old = stream[:1] == b"\0" and stream[1:2] > b"\0" and stream[1] & 1
    padded = stream + bytes(_LONGEST)
    words = np.ndarray(len(stream) + 1, "<u4" if is_old else ">u4", padded, strides=(1,))
    starts, widths = _codes(bool(is_old))
    at, end = 9, 8 * len(stream)  # It begins with a code of its own that clears the table.
    while True:
        count = int(np.searchsorted(starts + widths, end - at, "right"))
        places = at + starts[:count]
        shifts = places & 7 if is_old else 32 - (places & 7) - widths[:count]
        codes = words[places >> 3] >> shifts.astype(np.uint32) & ((1 << widths[:count]) - 1)
        if count and codes[0] >= _FIRST:
            raise FormatError("truncated or damaged TIFF: a code of its LZW stands for nothing")
        ends = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        if not len(ends) or codes[ends[0]] == _END:
            return
        at += int(starts[ends[0]] + widths[ends[0]])


@functools.cache
def _codes(is_old: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return where the codes of a table begin, in bits, and how many each has.

    Args:
        is_old: whether they get longer when the table is full, not one before that.
    """
    known = _FIRST - 1 + np.arange(_MOST - _FIRST + 2)  # strings when each code is read
    known[0] = _FIRST
    early = 0 if is_old else 1
    widths = 9 + sum((known >= length - early).astype(np.int64) for length in (512, 1024, 2048))
    return np.concatenate([[0], np.cumsum(widths)[:-1]]), widths
