"""A local web page: a picture dropped in comes back beside the original.

Nothing is asked of other hosts. Gradio is imported when a page is made, not before.
"""

from neid_tf.demo.page import MAX_UPLOAD, build, launch, load_gradio
from neid_tf.demo.uploads import (
    MAX_STRENGTH,
    Enhancer,
    Result,
    Settings,
    sample_pictures,
)

__all__ = [
    "MAX_STRENGTH",
    "MAX_UPLOAD",
    "Enhancer",
    "Result",
    "Settings",
    "build",
    "launch",
    "load_gradio",
    "sample_pictures",
]
