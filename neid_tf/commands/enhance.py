"""neid enhance INPUT... --output=PATH [--scale=1|2] [--strength=S] [--weights=NAME|PATH]

Brightens low-light pictures and restores their details.

INPUT is a picture file (JPEG, PNG, BMP, TIFF, WebP, AVIF, JPEG 2000, PNM; with the extras 'heif',
'jxl' and 'raw' HEIC, JPEG XL and camera raw; 8 or 16 bit, TIFF also of floats), a video (with the
extra 'video'), a folder, which means all pictures and videos below it, or a pattern in quotes such
as 'photos/**/*.jpg'. GIF is read too, and written as PNG, camera raw as TIFF. All pages of a TIFF
and all frames of an animation are done. Black or white bars at opposite sides stay as they are,
with text in them too, and so does a white strip for a caption. What neid pack made small gets the
size that it had before. PATH is a folder, which gets files of the same names and formats (or that
of --format, which is jpeg, png, tiff, webp, avif, heic or jxl); where there is one input file, it
may be the name of the file to write, whose suffix says the format. --quality is 95 if not given;
WebP, JPEG XL and JPEG 2000 are then written without loss where the source had none.

  neid enhance dark.jpg --output=bright.png
  neid enhance phone --output=bright --format=jpeg --quality=90
  neid enhance photos --output=photos-bright --existing=skip

What can't be done is named on stderr with its reason, and the rest is done; what a file had and
its output can't hold is named too. Files of a folder that are neither pictures nor videos are
counted at the end, and so are outputs of an earlier run that lie inside the input.

With --engine=ray (and the extra 'ray') the workers of a Ray cluster, or of this machine, share
the pictures. INPUT and PATH, a folder, may then be addresses of other file systems too
(s3://bucket/folder/**, gs://…). What exists already is left as it is, so a second run does what
is missing; what fails is listed in PATH/failures.jsonl.

Exit codes: 0 all done; 1 some input failed (each is named on stderr with its reason, the
rest is done); 2 wrong usage.
"""

import dataclasses
import functools
import math
import os
import sys
from typing import Any

from absl import flags

from neid_tf import pictures, video
from neid_tf.commands import common, on_ray, terminal
from neid_tf.commands.tally import Tally
from neid_tf.inference import methods
from neid_tf.inference.network import Network
from neid_tf.jobs import local
from neid_tf.jobs import plan as planning
from neid_tf.jobs.pipeline import Coding
from neid_tf.jobs.storage import is_address
from neid_tf.jobs.transfer import Transfer
from neid_tf.pictures import formats

_SCALE = flags.DEFINE_enum(
    "scale",
    None,
    ["1", "2"],
    "1: the output has the size of the input. 2: twice its width and height, for pictures that "
    "were made small to be sent. (default: 1; for pictures of neid pack the size that they had)",
)
_STRENGTH = flags.DEFINE_float(
    "strength",
    1.0,
    "How strong the effect is: 0 is the input, 1 what the network makes of it, values between a "
    "blend of both; each whole number above 1 doubles the light of dark parts once more.",
    lower_bound=0.0,
    upper_bound=8.0,
)
flags.register_validator("strength", math.isfinite, "must be a number from 0 to 8")
_TILE = flags.DEFINE_string(
    "tile",
    "auto",
    "Up to this side, in pixels of the input and at least 64, a picture is done whole, a larger "
    "one in tiles that are, with their margins, a little smaller than a square of it; auto: 1024 "
    "at --scale=1, 512 at --scale=2.",
)
_RUNTIME = flags.DEFINE_enum(
    "runtime",
    "auto",
    ["auto", *methods.RUNTIMES],
    "What runs the network. tensorflow takes weights; the others take --weights=PATH of what neid "
    "export wrote for them, and onnx the package's weights too. auto goes by what --weights is; "
    "for the package's it is the fastest that is installed: onnx (ONNX Runtime), which starts "
    "much sooner than TensorFlow and is faster on a CPU; else tensorflow. With an NVIDIA GPU "
    "tensorflow comes first, unless the ONNX Runtime is onnxruntime-gpu, which computes on the GPU "
    "too. tensorrt is onnx with NVIDIA's TensorRT, which first builds engines for minutes and "
    "keeps them. Large pictures are done in tiles by tensorflow, onnx and tensorrt.",
)
SUFFIX = flags.DEFINE_string(
    "suffix",
    "",
    "Text behind the name of each output, before its extension: with _bright, a.png becomes "
    "a_bright.png. --output is a folder then.",
)
_METADATA = flags.DEFINE_enum(
    "metadata",
    "keep",
    list(pictures.METADATA),
    "What becomes of metadata (of pictures EXIF, XMP, IPTC, comments, …; of videos title, place, "
    "date, chapters, …). keep: it is kept as far as the format of the output holds it, and what is "
    "lost is named; none: it is left out but for what tells how the colours are to be seen, and of "
    "videos how they are turned and in which languages they are.",
)
_JPEG_QUALITY = flags.DEFINE_integer(
    "jpeg_quality", None, "The old name of --quality.", lower_bound=1, upper_bound=100
)
FRAMES = (_SCALE, _STRENGTH, _RUNTIME, common.PRECISION)
"""The flags of what is done to frames."""
FILES = (*FRAMES, _TILE, SUFFIX, _METADATA, _JPEG_QUALITY, common.FORMAT, common.QUALITY)
"""The flags of what is done to files, and how they are written."""
_WHOLE = ("saved_model", "litert")
"""The runtimes that do every picture in one piece."""
BAR = {"unit": "tile", "delay": 1.0, "leave": False, "disable": None}
"""How the progress bar of the tiles of one large picture is, on a terminal."""
common.declare(__name__, common.EXISTING, common.MAX_PIXELS, common.OUTPUT, common.OVERWRITE)
common.declare(__name__, common.FORMAT, common.METHOD, common.PRECISION, common.QUALITY)
common.declare(__name__, common.WEIGHTS)
common.declare(__name__, *on_ray.FLAGS)


def main(inputs: list[str]) -> int:
    """Enhance the inputs; return the exit code."""
    inputs = [common.expanded(item) for item in inputs]
    if not inputs:
        raise flags.ValidationError("no input: name pictures, folders or patterns")
    common.required(common.WEIGHTS)
    output, on_cluster = common.required(common.OUTPUT), on_ray.asked_for()
    for item in [*inputs, output]:
        if is_address(item) and not on_cluster:
            raise flags.ValidationError(f"{item} is on another file system: add --engine=ray")
    check()
    if on_cluster:
        return _on_ray(inputs, output)
    plan = planning.plan(inputs, output, SUFFIX.value, extensions=extensions())
    tally = Tally(output, plan)
    _check_quality(plan)
    if plan.jobs:
        _enhance_all(plan, tally)
    return tally.close()


def _on_ray(inputs, output):
    options = {"existing": common.existing("skip"), "max_pixels": _max_pixels()}
    options["coding"] = _coding()
    make = functools.partial(_maker(), threads=on_ray.CPUS.value)
    plan = on_ray.plan(inputs, output, SUFFIX.value, extensions())
    _check_quality(plan)
    return on_ray.enhance(plan, output, make, common.WEIGHTS.value, **options)


def _maker():
    """Return the function from weights to a function of pixels that the flags ask for."""
    return functools.partial(
        methods.load,
        common.METHOD.value,
        scale=_scale(),
        strength=_STRENGTH.value,
        tile=_tile(),
        runtime=_RUNTIME.value,
        precision=common.PRECISION.value,
        shown=_tiles_shown,
    )


def _tiles_shown(tiles):
    """Show on a terminal how many of the tiles of a picture are done."""
    from tqdm import tqdm  # It takes a while to load.

    return tqdm(tiles, **BAR)


def _function():
    """Return the function from pixels to enhanced pixels that the flags ask for."""
    return terminal.with_notes_shown(_maker()(common.WEIGHTS.value))


def _scale():
    return int(_SCALE.value or 1)


def _tile():
    if _TILE.value == "auto":
        return None
    if not _TILE.value.isdecimal() or int(_TILE.value) < 64:
        raise flags.ValidationError(f"--tile is auto or at least 64, not {_TILE.value!r}")
    if common.METHOD.value != "neid":
        raise flags.ValidationError(f"--tile={_TILE.value} needs --method=neid")
    chosen = _RUNTIME.value
    runtime = methods.choose_runtime(common.WEIGHTS.value) if chosen == "auto" else chosen
    if runtime in _WHOLE:
        raise flags.ValidationError(f"--tile={_TILE.value}: {runtime} does pictures whole")
    return int(_TILE.value)


def _max_pixels():
    return common.MAX_PIXELS.value or pictures.DEFAULT_MAX_PIXELS


def _coding():
    old, quality = _JPEG_QUALITY.value, common.QUALITY.value
    if None not in (old, quality) and old != quality:
        raise flags.ValidationError(f"--quality={quality} and --jpeg_quality={old} differ")
    return Coding(_METADATA.value, quality or old, unpack=_SCALE.value is None)


def _check_quality(plan):
    """Say that a quality changes nothing, where nothing that is written has one."""
    quality = _coding().quality
    if quality and plan.jobs and not any(map(_has_quality, plan.jobs)):
        terminal.report(f"--quality={quality} changes nothing: all is written without loss")


def _has_quality(job):
    return job.is_video or pictures.has_quality(job.target)


def extensions() -> tuple[str, ...]:
    """Return what the names of pictures of the format that is asked for end in; empty for any.

    Raises:
        absl.flags.ValidationError: for an unknown format.
        MissingLibraryError: where its extra is not installed.
    """
    if not (name := formats.NAMES.get(common.chosen_format(formats.NAMES))):
        return ()
    formats.check_available(name)
    return formats.FORMATS[name].suffixes


def for_frames() -> tuple[Network, dict[str, Any]]:
    """Return the network for videos, and what else the flags ask for."""
    asked = common.METHOD.value, common.WEIGHTS.value, _RUNTIME.value, common.PRECISION.value
    model = terminal.with_notes_shown(methods.load_for_video(*asked))
    return model, {"scale": _scale(), "strength": _STRENGTH.value}


def _enhance_clip(job, check=lambda: None):
    """Enhance a video under a progress bar of its own; return its summary.

    Args:
        job: names it.
        check: called after each frame; what it raises ends the video.
    """
    model, options = for_frames()
    coding = _coding()
    options |= {"metadata": coding.metadata, "quality": coding.quality}
    options["max_pixels"] = _max_pixels()
    options["overwrite"] = common.existing() == "overwrite"
    name = terminal.printable(os.path.basename(job.source))
    from tqdm import tqdm

    with tqdm(unit="frame", desc=name, disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)
            check()

        made = video.enhance_video(job.source, job.target, model, progress=progress, **options)
    return dataclasses.replace(made, notes=(*made.notes, *_without_effect()))


def _without_effect():
    """Say which flags a video does not heed."""
    if _tile() is not None:
        yield f"--tile={_TILE.value} is for pictures: frames are done as with auto"
    if common.FORMAT.value:
        yield f"--format={common.FORMAT.value} is for pictures: a video is written as its name says"


def _enhance_all(plan, tally):
    """Do the jobs; take note of each."""
    transfer = Transfer(tuple(plan.storages), existing=common.existing())
    tally.note_all(local.enhance(plan.jobs, transfer, *how()))


def how() -> tuple:
    """Return what the flags ask for, as :func:`neid_tf.jobs.local.enhance` takes it."""
    return functools.cache(_function), _enhance_clip, _max_pixels(), _coding(), _TileBar()


class _TileBar:
    """A progress bar of the tiles of one large TIFF after the other."""

    def __init__(self) -> None:
        self._job, self._bar = None, None

    def __call__(self, job: planning.Job, done: int, total: int) -> None:
        if job is not self._job:
            name = terminal.printable(os.path.basename(job.source))
            from tqdm import tqdm

            if self._bar is not None:  # Of one that failed.
                self._bar.close()
            hidden = not sys.stderr.isatty()
            self._job, self._bar = job, tqdm(total=total, unit="tile", desc=name, disable=hidden)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()


def check() -> None:
    """Refuse flags that do not go together, and weights that can't be read."""
    common.existing(), _tile(), _coding(), extensions()
    planning.check_suffix(SUFFIX.value)
    asked = _scale(), _RUNTIME.value, common.PRECISION.value
    methods.check(common.METHOD.value, common.WEIGHTS.value, *asked)
