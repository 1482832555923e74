"""EXIF blocks: read, and brought up to date in place.

Maker notes hold absolute offsets, so no byte of a block moves: entries are changed where they lie.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from neid_tf.pixels.samples import to_type

EXIF_HEADER = b"Exif\0\0"
ORIENTATION = 0x0112
RESOLUTION, RESOLUTION_UNIT = (282, 283), 296
_WIDTH_TAGS, _HEIGHT_TAGS = (0x0100, 0xA002), (0x0101, 0xA003)
_FOCAL_PLANE = (0xA20E, 0xA20F)
SUB_DIRECTORIES = EXIF_DIRECTORY, PLACE_DIRECTORY = 0x8769, 0x8825
MAKER_NOTES, _INTEROPERABILITY, _INTEROPERABILITY_INDEX = 0x927C, 0xA005, 1
_COLOUR_SPACE, _UNCALIBRATED, _ADOBE_RGB = 0xA001, 0xFFFF, "R03"
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_INTEGER_FORMATS = {1: "B", 3: "H", 4: "I"}
_THUMBNAIL_SIDE = 160


class Text(str):
    """Text of EXIF, which keeps the bytes that it has in its file.

    Pillow reads text as Latin-1, whatever it is, and would write it as ASCII.
    """

    def encode(self, *_: str) -> bytes:
        """Return the bytes, whatever encoding is asked for."""
        return super().encode("latin-1", "replace")


def text_of(value: object) -> Text:
    """Return an entry of EXIF as text, of whatever type it is in its file."""
    if isinstance(value, bytes):
        value = value.decode("latin-1").rstrip("\0")
    return Text(value)


def with_texts(entries: Mapping[int, object]) -> dict[int, object]:
    """Return entries of EXIF as Pillow is to write them: their texts keep their bytes.

    Args:
        entries: as Pillow reads them, by their tags.
    """
    return {tag: Text(v) if isinstance(v, str) else v for tag, v in entries.items()}


class _Block:
    """The entries of an EXIF block, which lie in directories as in a TIFF."""

    def __init__(self, block: bytes) -> None:
        self.data = bytearray(block)
        order = {b"II": "<", b"MM": ">"}.get(bytes(self.data[:2]))
        if order is None:
            raise ValueError(f"EXIF starts with {bytes(self.data[:2])!r}, not with a byte order")
        self.order = order
        magic, self.first = self.unpack("HI", 2)
        if magic != 42:
            raise ValueError(f"EXIF has magic number {magic}, not 42")

    def unpack(self, layout: str, at: int) -> tuple:
        return struct.unpack_from(self.order + layout, self.data, at)

    def pack(self, layout: str, at: int, *values: int) -> None:
        struct.pack_into(self.order + layout, self.data, at, *values)

    def end(self, directory: int) -> int:
        """Return where the link to the next directory lies."""
        return directory + 2 + 12 * self.unpack("H", directory)[0]

    def next(self, directory: int) -> int:
        """Return where the next directory lies, or 0."""
        place = self.end(directory)
        return self.unpack("I", place)[0] if place + 4 <= len(self.data) else 0

    def places(self, directory: int) -> range:
        """Return where the entries lie."""
        return range(directory + 2, self.end(directory), 12)

    def integers(self, directory: int) -> Iterator[tuple[int, int, int]]:
        """Yield tag, value and place of each entry of one integer."""
        for place in self.places(directory):
            tag, kind, count = self.unpack("HHI", place)
            if kind in _INTEGER_FORMATS and count == 1:
                yield tag, self.unpack(_INTEGER_FORMATS[kind], place + 8)[0], place

    def set(self, place: int, value: int) -> None:
        """Give an entry an integer value, as a SHORT where it fits."""
        (tag,) = self.unpack("H", place)
        if value < 65536:
            self.pack("HHIHH", place, tag, 3, 1, value, 0)
        else:
            self.pack("HHII", place, tag, 4, 1, value)


def settle_exif(exif: bytes | None) -> tuple[bytes | None, int]:
    """Take the orientation out of an EXIF block.

    Args:
        exif: the block, with or without its `Exif` header, or None.

    Returns:
        The block with its header, its orientation reset to 1, its resolutions turned likewise and
        no thumbnail that is broken, or None where there was none or it is broken; and the
        orientation it asked for, 1 to 8.
    """
    if not exif:
        return None, 1
    try:
        block = _Block(exif.removeprefix(EXIF_HEADER))
        orientation = 1
        for tag, value, place in block.integers(block.first):
            if tag == ORIENTATION:
                orientation = value
                block.pack("HHIHH", place, ORIENTATION, 3, 1, 1, 0)
        if 5 <= orientation <= 8:
            _turn_resolutions(block)
        _check_thumbnail(block)
    except (struct.error, ValueError):
        return None, 1
    return EXIF_HEADER + bytes(block.data), orientation if 1 <= orientation <= 8 else 1


def _turn_resolutions(block: _Block) -> None:
    """Let what is told of rows and what is told of columns change places."""
    below = [value for tag, value, _ in block.integers(block.first) if tag == EXIF_DIRECTORY]
    for directory, tags in ((block.first, RESOLUTION), *((at, _FOCAL_PLANE) for at in below)):
        with contextlib.suppress(struct.error):  # A directory that is not in the block.
            found = [at for at in block.places(directory) if block.unpack("H", at)[0] in tags]
            if len(found) == 2:
                first, second = (slice(place + 2, place + 12) for place in found)
                block.data[first], block.data[second] = block.data[second], block.data[first]


def _check_thumbnail(block: _Block) -> None:
    try:
        sound = _thumbnail(block) is not None
    except struct.error:
        sound = False
    if not sound and block.end(block.first) + 4 <= len(block.data):
        block.pack("I", block.end(block.first), 0)


def _thumbnail(block: _Block) -> dict[int, tuple[int, int]] | None:
    """Return value and place of the thumbnail's entries, or None where there is no JPEG."""
    directory = block.next(block.first)
    if not directory:
        return None
    found = {tag: (value, place) for tag, value, place in block.integers(directory)}
    start, length = (found.get(tag, (0, 0))[0] for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH))
    inside = 0 < start < start + length <= len(block.data)
    return found if inside and block.data[start : start + 2] == b"\xff\xd8" else None


def refreshed(exif: bytes | None, pixels: np.ndarray) -> bytes | None:
    """Bring an EXIF block up to date: the picture's size, and its thumbnail.

    Args:
        exif: what :func:`settle_exif` gave, or None.
        pixels: H×W×3 or H×W×1 of the picture that is written.

    Returns:
        A block of the same length. A thumbnail for which there is no room is taken out; the old
        one's bytes are overwritten in any case.
    """
    if not exif:
        return exif
    try:
        block = _Block(exif.removeprefix(EXIF_HEADER))
        _set_size(block, block.first, *pixels.shape[:2])
        for tag, value, _ in list(block.integers(block.first)):
            if tag == EXIF_DIRECTORY:
                _set_size(block, value, *pixels.shape[:2])
        if found := _thumbnail(block):
            _replace_thumbnail(block, found, pixels)
    except (struct.error, ValueError):
        return exif
    return EXIF_HEADER + bytes(block.data)


def _set_size(block: _Block, directory: int, height: int, width: int) -> None:
    for tag, _, place in list(block.integers(directory)):
        if tag in (*_WIDTH_TAGS, *_HEIGHT_TAGS):
            block.set(place, width if tag in _WIDTH_TAGS else height)


def _replace_thumbnail(
    block: _Block, found: dict[int, tuple[int, int]], pixels: np.ndarray
) -> None:
    (start, _), (room, place) = found[_THUMBNAIL], found[_THUMBNAIL_LENGTH]
    small, size = _small_jpeg(pixels, room)
    block.data[start : start + room] = small.ljust(room, b"\0")
    if not small:
        block.pack("I", block.end(block.first), 0)
        return
    block.set(place, len(small))
    for tag, value in zip((_WIDTH_TAGS[0], _HEIGHT_TAGS[0], ORIENTATION), (*size, 1), strict=True):
        if tag in found:
            block.set(found[tag][1], value)


def _small_jpeg(pixels: np.ndarray, room: int) -> tuple[bytes, tuple[int, int]]:
    """Return a thumbnail of at most so many bytes, or none, and its width and height."""
    # Thinned out first, so that nothing of the picture's own size is made.
    step = max(min(pixels.shape[:2]) // (2 * _THUMBNAIL_SIDE), 1)
    thin = to_type(np.ascontiguousarray(pixels[::step, ::step]), np.uint8)
    image = Image.fromarray(thin if thin.shape[-1] == 3 else thin[..., 0])
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    for quality in (85, 60, 30):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        if file.tell() <= room:
            return file.getvalue(), image.size
    return b"", image.size


def density_of(exif: bytes | None) -> tuple[float, float, bool] | None:
    """Return the resolution that an EXIF block says, as :func:`as_density`; None for none.

    Args:
        exif: the block, with or without its header, or None.
    """
    with contextlib.suppress(Exception):
        entries = entries_of(exif)
        across, down = (float(entries[tag]) for tag in RESOLUTION)
        return as_density(across, down, entries.get(RESOLUTION_UNIT, 2))
    return None


def entries_of(exif: bytes | None) -> Image.Exif:
    """Return the entries of an EXIF block, with or without its header; none for None."""
    entries = Image.Exif()
    entries.load(exif or b"")
    return entries


def as_density(across: float, down: float, unit: int) -> tuple[float, float, bool] | None:
    """Return dots across and down and whether they are per inch, from the tags of a TIFF.

    Args:
        across: dots.
        down: likewise.
        unit: 1 for none, 2 for an inch, 3 for a centimetre.

    Returns:
        None where they say nothing.
    """
    factor = 2.54 if unit == 3 else 1.0
    across, down = across * factor, down * factor
    # What is larger can't be written.
    sound = all(0 < dots < 2**32 for dots in (across, down))
    return (across, down, unit != 1) if sound and (unit != 1 or across != down) else None


def directories(exif: Image.Exif) -> tuple[dict[int, dict], bool]:
    """Return the directories below the first, as they can be written elsewhere.

    Args:
        exif: as Pillow read it.

    Returns:
        The entries of each by its tag, without the maker's notes, whose addresses would be wrong;
        and whether there were such notes.
    """
    found = {tag: with_texts(exif.get_ifd(tag)) for tag in SUB_DIRECTORIES}
    camera = found[EXIF_DIRECTORY]
    had_notes = camera.pop(MAKER_NOTES, None) is not None
    if camera.pop(_INTEROPERABILITY, None) is not None:
        below = with_texts(exif.get_ifd(_INTEROPERABILITY))
        # Its address is wrong in files that others have written anew.
        if isinstance(below.get(_INTEROPERABILITY_INDEX), str):
            camera[_INTEROPERABILITY] = below
    return {tag: entries for tag, entries in found.items() if entries}, had_notes


def adobe_rgb_alone(exif: bytes | None) -> bytes | None:
    """Return a block that says that the picture is in Adobe RGB, where this one does; else None.

    Cameras say so by the index of interoperability, and embed no profile.

    Args:
        exif: with or without its header, or None.
    """
    # As in compact.
    with contextlib.suppress(Exception):
        camera = directories(entries_of(exif))[0].get(EXIF_DIRECTORY, {})
        told = camera.get(_INTEROPERABILITY, {}).get(_INTEROPERABILITY_INDEX, "")
        if told.startswith(_ADOBE_RGB):
            below = {_INTEROPERABILITY_INDEX: _ADOBE_RGB}
            made = Image.Exif()
            made[EXIF_DIRECTORY] = {_COLOUR_SPACE: _UNCALIBRATED, _INTEROPERABILITY: below}
            return made.tobytes()
    return None


def rewritten(block: bytes) -> tuple[Image.Exif, bool]:
    """Return the entries of an EXIF block as they can be written elsewhere, without thumbnail.

    Args:
        block: with or without its header.

    Returns:
        The entries; and whether there were maker's notes, which are not among them.
    """
    exif, made = Image.Exif(), Image.Exif()
    exif.load(block)
    below, had_notes = directories(exif)
    made.endian = exif.endian
    made.update({tag: v for tag, v in with_texts(exif).items() if tag not in SUB_DIRECTORIES})
    made.update(below)
    return made, had_notes


def compact(exif: bytes | None) -> tuple[bytes | None, bool]:
    """Return an EXIF block with its header, without thumbnail and maker's notes.

    Args:
        exif: what :func:`settle_exif` gave, or None.

    Returns:
        The block, or None where there is none, nothing is left of it, or it can't be written anew;
        and whether it had maker's notes.
    """
    # Broken or strange metadata must not cost the user the picture.
    with contextlib.suppress(Exception):
        entries, had_notes = rewritten(exif or b"")
        return entries.tobytes() if len(entries) else None, had_notes
    return None, False
