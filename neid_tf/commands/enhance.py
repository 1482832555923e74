"""neid enhance INPUT... --output=PATH [--scale=1|2] [--strength=S] [--weights=NAME|PATH]

Brightens low-light pictures and restores their details. INPUT: picture files (JPEG, PNG,
BMP, TIFF, WebP; 8 or 16 bit), videos (with the extra 'video'), folders with all pictures
and videos below them, and globs. PATH is a folder, which gets files of the same names and
formats, or a file where there is one input.

With --engine=ray (and the extra 'ray') the workers of a Ray cluster, or of this machine, share
the pictures. INPUT and PATH, a folder, may then be addresses of other file systems too
(s3://bucket/folder/**, gs://…). What is there already is left out, so a second run does what is
missing; what fails is listed in PATH/failures.jsonl.

Exit codes: 0 all done; 1 some input failed (each is named on stderr with its reason, the
rest is done); 2 wrong usage.
"""

import contextlib
import functools
import itertools
import sys

from absl import flags
from tqdm import tqdm

from neid_tf import pictures, video
from neid_tf.commands import common, on_ray
from neid_tf.inference import methods
from neid_tf.jobs import plan as folders
from neid_tf.jobs import storage as remote

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
_ENGINE = flags.DEFINE_enum(
    "engine", "local", ["local", "ray"], "local: this process; ray: workers of a Ray cluster."
)
common.declare(
    __name__, common.MAX_PIXELS, common.OUTPUT, common.OVERWRITE, common.WEIGHTS, common.METHOD
)
common.declare(__name__, *on_ray.FLAGS)


def main(inputs):
    """Enhance the inputs; return the exit code."""
    if not inputs:
        raise flags.ValidationError("no input: name pictures, folders or globs")
    output = common.required(common.OUTPUT)
    if _ENGINE.value == "ray":
        return _on_ray(inputs, output)
    for item in [*inputs, output]:
        if remote.is_address(item):
            raise flags.ValidationError(f"{item} is on another file system: add --engine=ray")
    jobs, failures = folders.plan(inputs, output, _SUFFIX.value)
    for name, reason in failures:
        _report(f"{name}: {reason}")
    failed = len(failures)
    if jobs:
        _tile()
        failed += _enhance_all(jobs)
        print(f"{len(jobs) + len(failures) - failed} written to {output}")
    return 1 if failed else 0


def _on_ray(inputs, output):
    scale, runtime, weights = int(_SCALE.value), _RUNTIME.value, common.WEIGHTS.value
    options = {"overwrite": common.OVERWRITE.value, "max_pixels": _max_pixels()}
    make = functools.partial(_maker(), threads=on_ray.CPUS.value)
    methods.check(common.METHOD.value, weights, scale, runtime)
    return on_ray.enhance(inputs, output, make, weights, _SUFFIX.value, **options)


def _maker():
    """Return the function from weights to a function of pixels that the flags ask for."""
    return functools.partial(
        methods.load,
        common.METHOD.value,
        scale=int(_SCALE.value),
        strength=_STRENGTH.value,
        tile=_tile(),
        runtime=_RUNTIME.value,
    )


def _function():
    """Return the function from pixels to enhanced pixels that the flags ask for."""
    return _maker()(common.WEIGHTS.value)


def _tile():
    if _TILE.value == "auto":
        return None
    if not _TILE.value.isdecimal() or int(_TILE.value) < 64:
        raise flags.ValidationError(f"--tile is auto or at least 64, not {_TILE.value!r}")
    return int(_TILE.value)


def _max_pixels():
    return common.MAX_PIXELS.value or pictures.DEFAULT_MAX_PIXELS


def _enhance_clip(job):
    """Enhance a video under a progress bar of its own; return its error or None."""
    model = methods.load_for_video(common.METHOD.value, common.WEIGHTS.value, _RUNTIME.value)
    options = {"scale": int(_SCALE.value), "strength": _STRENGTH.value}
    with tqdm(unit="frame", desc=job.source.name, disable=not sys.stderr.isatty()) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        try:
            summary = folders.enhance_clip(
                job, model, overwrite=common.OVERWRITE.value, progress=progress, **options
            )
        except (pictures.PictureError, video.VideoError) as error:
            return error
        except MemoryError:
            return pictures.PictureError(job.source, "not enough memory")
    for note in summary.notes:
        _report(f"{job.source}: {note}")
    return None


def _enhance_all(jobs):
    """Do the jobs under a progress bar; return how many failed."""
    failed = 0
    hidden = len(jobs) < 2 or not sys.stderr.isatty()
    with (
        contextlib.closing(_outcomes(jobs)) as outcomes,
        tqdm(outcomes, total=len(jobs), unit="picture", disable=hidden) as bar,
    ):
        for _, error in bar:
            if error:
                failed += 1
                _report(str(error))
    return failed


def _outcomes(jobs):
    """Do the jobs in their order; yield each and its error or None."""
    function = functools.cache(_function)
    options = {"overwrite": common.OVERWRITE.value, "max_pixels": _max_pixels()}
    for is_video, group in itertools.groupby(jobs, key=lambda job: job.is_video):
        if is_video:
            yield from ((job, _enhance_clip(job)) for job in group)
        else:
            yield from folders.enhance_pictures(list(group), function(), **options)


def _report(message):
    tqdm.write(f"neid: {message}", file=sys.stderr)
