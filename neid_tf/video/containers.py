"""The kinds of video files: what they are called, and how those that are written are made."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Container:
    """How a kind of file is written. The quality is what the eye cannot tell from the frames."""

    format: str
    codec: str = "libx264"
    codec_options: tuple = (("crf", "17"), ("preset", "medium"))
    options: tuple = ()
    audio: str = "aac"


_MP4 = Container("mp4", options=(("movflags", "+faststart"),))
_VP9 = (("crf", "15"), ("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1"))
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": dataclasses.replace(_MP4, format="mov"),
    ".mkv": Container("matroska"),
    ".webm": Container("webm", "libvpx-vp9", _VP9, audio="libopus"),
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
