"""PNM: PBM, PGM and PPM, as text and as bytes, and PAM; 8 and 16 bit.

Read here and not with a library: OpenCV mixes up the channels of PAM and does not scale levels
(where the header says so, 1000 is white), and the header's pattern of netpbmfile takes for ever on
some broken files.
"""

from __future__ import annotations

import re

import numpy as np

from neid_tf.pictures import budget
from neid_tf.pictures.raster import Extras, FormatError, Raster
from neid_tf.pixels.samples import from_levels, white

_TOKEN = re.compile(rb"[ \t\r\n\v\f]*([0-9]{1,9})")
_COMMENT = re.compile(rb"[ \t\r\n\v\f]*#([^\r\n]*)")
_COMMENTS = re.compile(rb"#[^\r\n]*")
_NUMBERS = re.compile(rb"[0-9\s]*")
_LONGEST_HEADER = 2**24  # With comments.
_PAM_NAMES = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
_PAM_COLOURS = (b"BLACKANDWHITE", b"GRAYSCALE", b"RGB")
_PAM_KINDS = [[kind + end] for kind in _PAM_COLOURS for end in (b"", b"_ALPHA")]
_TUPLES = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}


def decode_pnm(data: bytes, max_pixels: int) -> Raster:
    """Decode a PBM, PGM, PPM or PAM; levels are scaled so that the header's largest is white.

    Args:
        data: the file; of several pictures in it the first is decoded.
        max_pixels: the largest width × height decoded.

    Raises:
        FormatError: if it is damaged, too short, or too large.
    """
    kind = data[:2]
    (width, height, depth, top), comments, at = (_pam_header if kind == b"P7" else _header)(data)
    budget.check_size(width, height, max_pixels)
    if not 1 <= depth <= 4:
        raise FormatError(f"{depth} channels are not supported")
    if not 1 <= top <= 65535:
        raise FormatError(f"levels up to {top} are not supported, only 1 to 65535")
    shape = height, width, depth
    if kind in (b"P1", b"P2", b"P3"):
        stored, end = _of_text(data, at, shape, kind == b"P1", max_pixels)
    elif kind == b"P4":
        stored, end = _of_bits(data, at, shape)
    else:
        stored, end = _of_bytes(data, at, shape, top)
    if int(stored.max()) > top:
        raise FormatError(f"damaged PNM: a level is over {top}")
    if kind in (b"P1", b"P4"):
        stored = 1 - stored  # Ink, not light.
    samples = from_levels(stored, top, np.uint8 if top <= 255 else np.uint16)
    further = ("the pictures behind its first are left out",) if data[end : end + 1] == b"P" else ()
    return Raster(samples, extras=Extras(comments=comments), notes=further)


def _header(data: bytes) -> tuple[tuple[int, int, int, int], tuple[bytes, ...], int]:
    """Return width, height, depth and largest level, comments, and where the samples begin."""
    numbers, comments, at = [], [], 2
    bilevel = data[:2] in (b"P1", b"P4")
    while len(numbers) < (2 if bilevel else 3):
        if comment := _COMMENT.match(data, at, _LONGEST_HEADER):
            at = comment.end()
            comments.append(comment[1].strip())
            continue
        token = _TOKEN.match(data, at, _LONGEST_HEADER)
        if not token:
            raise FormatError("truncated or damaged PNM: its header is not whole")
        numbers.append(int(token[1]))
        at = token.end()
    if not bilevel and data[at : at + 1] == b"#":  # Its end is the space before the samples.
        comment = _COMMENT.match(data, at, _LONGEST_HEADER)
        at = comment.end()
        comments.append(comment[1].strip())
    depth = 3 if data[:2] in (b"P3", b"P6") else 1
    return (*numbers[:2], depth, 1 if bilevel else numbers[2]), _said(comments), at + 1


def _pam_header(data: bytes) -> tuple[tuple[int, int, int, int], tuple[bytes, ...], int]:
    """Return what :func:`_header` does."""
    found, comments, at = {}, [], 3
    while (end := data.find(b"\n", at, _LONGEST_HEADER)) >= 0:
        line, at = data[at:end].strip(), end + 1
        words = line.split()
        if words[:1] == [b"ENDHDR"]:
            break
        if len(words) == 2 and words[0] in _PAM_NAMES and re.fullmatch(rb"[0-9]{1,9}", words[1]):
            found[words[0]] = int(words[1])
        elif words[:1] == [b"TUPLTYPE"] and words[1:] not in _PAM_KINDS:
            kind = b" ".join(words[1:])[:32].decode("latin-1")
            raise FormatError(f"a PAM of the kind {kind!r} is not supported")
        elif words and words[0].startswith(b"#"):
            comments.append(line[1:].strip())
    if end < 0 or len(found) < len(_PAM_NAMES):
        raise FormatError("truncated or damaged PAM: its header is not whole")
    width, height, depth, top = (found[name] for name in _PAM_NAMES)
    return (width, height, depth, top), _said(comments), at


def _said(comments: list[bytes]) -> tuple[bytes, ...]:
    """Return comments as one, a line each; none where nothing is in them."""
    text = b"\n".join(comments).strip()
    return (text,) if text else ()


def _of_text(
    data: bytes, at: int, shape: tuple[int, int, int], bilevel: bool, max_pixels: int
) -> tuple[np.ndarray, int]:
    size = shape[0] * shape[1] * shape[2]
    budget.check_bytes(len(data), max_pixels, "its text")
    text = _COMMENTS.sub(b"", data[at:])
    if bilevel:  # Zeros and ones need no space between them.
        levels = np.frombuffer(re.sub(rb"\s", b"", text), np.uint8)[:size] - np.uint8(ord("0"))
    else:
        levels = np.fromstring(_NUMBERS.match(text)[0], np.int64, sep=" ")[:size]
    if len(levels) < size:
        raise FormatError("truncated or damaged PNM: it has fewer samples than its header says")
    return levels.reshape(shape), len(data)


def _of_bits(data: bytes, at: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, int]:
    height, width, _ = shape
    row = -(-width // 8)
    packed = _part(data, at, height * row).reshape(height, row)
    return np.unpackbits(packed, axis=1)[:, :width, None], at + height * row


def _of_bytes(
    data: bytes, at: int, shape: tuple[int, int, int], top: int
) -> tuple[np.ndarray, int]:
    dtype = np.dtype(np.uint8 if top <= 255 else ">u2")
    size = shape[0] * shape[1] * shape[2] * dtype.itemsize
    return _part(data, at, size).view(dtype).reshape(shape), at + size


def _part(data: bytes, at: int, size: int) -> np.ndarray:
    if at + size > len(data):
        raise FormatError("truncated PNM: it has fewer samples than its header says")
    return np.frombuffer(data, np.uint8, size, at)


def encode_pnm(raster: Raster) -> bytes:
    """Encode gray as a PGM and RGB as a PPM, 8 or 16 bit."""
    height, width, channels = raster.samples.shape
    kind = b"P5" if channels == 1 else b"P6"
    sizes = f"{width} {height}\n{white(raster.samples.dtype)}\n".encode()
    return kind + b"\n" + _lines_of(raster) + sizes + _big_endian(raster.samples)


def encode_pam(raster: Raster) -> bytes:
    """Encode gray or RGB, with or without alpha, as a PAM, 8 or 16 bit."""
    height, width, channels = raster.samples.shape
    header = (
        f"WIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\n"
        f"MAXVAL {white(raster.samples.dtype)}\nTUPLTYPE {_TUPLES[channels]}\nENDHDR\n"
    )
    return b"P7\n" + _lines_of(raster) + header.encode() + _big_endian(raster.samples)


def _lines_of(raster: Raster) -> bytes:
    """Return the comments as lines of a header."""
    lines = [line for comment in raster.extras.comments for line in comment.splitlines()]
    return b"".join(b"# " + line + b"\n" for line in lines)


def _big_endian(samples: np.ndarray) -> bytes:
    return samples.astype(samples.dtype.newbyteorder(">")).tobytes()
