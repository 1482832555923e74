"""The kinds of video files: what they are called, and how those that are written are made."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from neid_tf.pictures.raster import QUALITY


@dataclasses.dataclass(frozen=True)
class Container:
    """How a kind of file is written.

    Attributes:
        best: the constant-rate factor of the usual quality, which the eye can't tell from the
            frames.
        worst: the largest factor that the encoder takes.
    """

    format: str
    codec: str = "libx264"
    best: int = 16
    worst: int = 51
    codec_options: tuple = (("preset", "veryfast"),)
    options: tuple = ()
    audio: str = "aac"

    def rate_factor(self, quality: int | None) -> int:
        """Return the constant-rate factor for a quality: less makes larger files.

        Args:
            quality: 1 to 100, as for pictures; None for the usual, which is that of 95.
        """
        less = (QUALITY - (quality or QUALITY)) / (QUALITY - 1)
        return round(self.best + less * (self.worst - self.best))


_MP4 = Container("mp4", options=(("movflags", "+faststart"),))
_VP9 = (("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1"))
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": dataclasses.replace(_MP4, format="mov"),
    ".mkv": Container("matroska"),
    ".webm": Container("webm", "libvpx-vp9", 15, 63, _VP9, audio="libopus"),
}
WRITABLE = frozenset(CONTAINERS)
"""The suffixes, lower case, of the files that can be written."""
SUFFIXES = WRITABLE | {
    *(".3gp", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".wmv")
}
"""The suffixes, lower case, of the files that are taken for videos."""


def written_suffix(source: str | os.PathLike) -> str:
    """Return the suffix for a video's enhanced copy: its own if that can be written, or .mp4."""
    suffix = Path(source).suffix.lower()
    return suffix if suffix in WRITABLE else ".mp4"
