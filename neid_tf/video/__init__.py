"""Videos: read, enhanced without flicker, and written with all that can be kept beside them."""

import importlib
import typing

from neid_tf.video.containers import SUFFIXES, WRITABLE, written_suffix

if typing.TYPE_CHECKING:
    from neid_tf.video.enhance import Summary, enhance_video
    from neid_tf.video.frames import (
        SCENE_CUT,
        SMOOTHING,
        Enhancer,
        Frame,
        TimeAverage,
        scene_change,
        thumbnail,
    )
    from neid_tf.video.reader import VideoError

__all__ = [
    "SCENE_CUT",
    "SMOOTHING",
    "SUFFIXES",
    "WRITABLE",
    "Enhancer",
    "Frame",
    "Summary",
    "TimeAverage",
    "VideoError",
    "enhance_video",
    "scene_change",
    "thumbnail",
    "written_suffix",
]
_HOMES = {"Summary": "enhance", "VideoError": "reader", "enhance_video": "enhance"}


def __getattr__(name: str) -> typing.Any:
    # Loaded when it is asked for: who enhances pictures plans with the names of videos alone.
    if name not in __all__:
        raise AttributeError(f"module 'neid_tf.video' has no attribute {name!r}")
    return getattr(importlib.import_module(f"neid_tf.video.{_HOMES.get(name, 'frames')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
