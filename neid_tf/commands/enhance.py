"""neid enhance INPUT... --output=PATH [--scale=1|2] [--strength=S] [--weights=NAME|PATH]

Brightens low-light pictures and restores their details. INPUT: picture files (JPEG, PNG,
BMP, TIFF, WebP; 8 or 16 bit), videos (with the extra 'video'), folders with all pictures
and videos below them, and globs. PATH is a folder, which gets files of the same names and
formats, or a file where there is one input.

Exit codes: 0 all done; 1 some input failed (each is named on stderr with its reason, the
rest is done); 2 wrong usage.
"""

import functools
import sys

from absl import flags
from tqdm import tqdm

from neid_tf import folders, pictures, video
from neid_tf.commands import common, methods

_SCALE = flags.DEFINE_enum(
    "scale", "1", ["1", "2"], "1: an output of the input's size; 2: of twice its size."
)
_STRENGTH = flags.DEFINE_float(
    "strength", 1.0, "0 is the input, 1 the full effect, above 1 more light.", lower_bound=0.0
)
_TILE = flags.DEFINE_string(
    "tile", "auto", "Side of the tiles of large pictures, in pixels of the input; or auto."
)
_RUNTIME = flags.DEFINE_enum(
    "runtime",
    "auto",
    ["auto", *methods.RUNTIMES],
    "What runs the network. tensorflow takes weights; the others take --weights=PATH of what neid "
    "export wrote for them, and onnx the package's weights too. auto goes by what --weights is; "
    "for the package's it is the fastest that is installed: onnx (ONNX Runtime), which starts "
    "much sooner than TensorFlow and then is as fast on a CPU; else tensorflow. With an NVIDIA GPU "
    "tensorflow comes first. Large pictures are done in tiles by tensorflow and onnx.",
)
_SUFFIX = flags.DEFINE_string("suffix", "", "Text behind each name, before its extension.")
common.declare(
    __name__, common.MAX_PIXELS, common.OUTPUT, common.OVERWRITE, common.WEIGHTS, common.METHOD
)


def main(inputs):
    """Enhance the inputs; return the exit code."""
    if not inputs:
        raise flags.ValidationError("no input: name pictures, folders or globs")
    try:
        jobs, failures = folders.plan(inputs, common.required(common.OUTPUT), _SUFFIX.value)
    except folders.UsageError as error:
        raise flags.ValidationError(str(error)) from error
    for name, reason in failures:
        _report(f"{name}: {reason}")
    failed = len(failures)
    if jobs:
        _tile()
        failed += _enhance_all(jobs)
        print(f"{len(jobs) + len(failures) - failed} written to {common.OUTPUT.value}")
    return 1 if failed else 0


def _function():
    """Return the function from pixels to enhanced pixels that the flags ask for."""
    return methods.load(
        common.METHOD.value,
        common.WEIGHTS.value,
        scale=int(_SCALE.value),
        strength=_STRENGTH.value,
        tile=_tile(),
        runtime=_RUNTIME.value,
    )


def _tile():
    if _TILE.value == "auto":
        return None
    if not _TILE.value.isdecimal() or int(_TILE.value) < 64:
        raise flags.ValidationError(f"--tile is auto or at least 64, not {_TILE.value!r}")
    return int(_TILE.value)


def _max_pixels():
    return common.MAX_PIXELS.value or pictures.DEFAULT_MAX_PIXELS


def _enhance_one(job, function):
    if job.is_video:
        return _enhance_clip(job)
    options = {"overwrite": common.OVERWRITE.value, "max_pixels": _max_pixels()}
    loaded = function()
    try:
        return folders.enhance_file(job, loaded, **options)
    except pictures.PictureError:
        raise
    except ValueError as error:
        # Such as a picture that is too large for a model of one size.
        raise pictures.PictureError(job.source, str(error)) from error


def _enhance_clip(job):
    """Enhance a video under a progress bar of its own."""
    model = methods.load_for_video(common.METHOD.value, common.WEIGHTS.value, _RUNTIME.value)
    options = {"scale": int(_SCALE.value), "strength": _STRENGTH.value}
    with tqdm(unit="frame", desc=job.source.name, disable=not sys.stderr.isatty()) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        summary = folders.enhance_clip(
            job, model, overwrite=common.OVERWRITE.value, progress=progress, **options
        )
    for note in summary.notes:
        _report(f"{job.source}: {note}")


def _enhance_all(jobs):
    """Do the jobs under a progress bar; return how many failed."""
    failed = 0
    function = functools.cache(_function)
    with tqdm(jobs, unit="picture", disable=len(jobs) < 2 or not sys.stderr.isatty()) as bar:
        for job in bar:
            try:
                _enhance_one(job, function)
            except (pictures.PictureError, video.VideoError) as error:
                failed += 1
                _report(str(error))
            except MemoryError:
                failed += 1
                _report(f"{job.source}: not enough memory")
    return failed


def _report(message):
    tqdm.write(f"neid: {message}", file=sys.stderr)
