"""Videos: read, enhanced without flicker, and written with all that can be kept beside them."""

from neid_tf.video.enhance import SUFFIXES, Summary, enhance_video, written_suffix
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
from neid_tf.video.writer import WRITABLE

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
