"""neid benchmark [--output=benchmark.json] [--sections=…] [--runs=N] [--plot=growth.png]

Measures speed and memory as ratios within one run, what is compared in turns. Sections:

unet        neid against unet of the same width for the same output size: time, peak memory,
            parameters, operations
training    pictures a second of the input pipeline, of the training step, and of both together;
            with and without XLA and mixed precision
runtimes    a forward pass of one picture, warm, in TensorFlow (with and without XLA), ONNX
            Runtime and LiteRT, beside a large matrix product; same number of threads; with an
            NVIDIA card the share of its peak
cold_start  neid enhance of one JPEG in a new process with each --runtime: to the picture, to the
            end, and the processor's time; and neid --help
growth      time and peak memory of JPEG files from 0.1 to 100 megapixels, in new processes;
            from 10 megapixels on once
whole       neid enhance of one large JPEG and of one video, in new processes, against a pass of
            the network for one picture that lies in memory
tiles       how far a picture done in tiles is from the same done in one piece

Runtimes that are not installed are left out; so are unet and training without TensorFlow.
Prints tables, and writes JSON where --output names a file. With the defaults it takes about
three quarters of an hour on two cores. Where a section fails, what was measured before it is
written. A file that is there already is replaced with --overwrite only.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from absl import flags

from neid_tf import pictures
from neid_tf.benchmarks.training import VARIANTS
from neid_tf.commands import common, terminal
from neid_tf.inference import methods, tiles
from neid_tf.support import keras_start
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import optional_import
from neid_tf.support.machine import usable_cores

SECTIONS = ("unet", "training", "runtimes", "cold_start", "growth", "whole", "tiles")

_NEED_KERAS = {"unet", "training"}
_NEED_WEIGHTS = ("runtimes", "cold_start", "growth", "whole", "tiles")

_SECTIONS = flags.DEFINE_list(
    "sections", list(SECTIONS), "What to measure, of the list above, with commas."
)
_HEIGHT = flags.DEFINE_integer(
    "output_height",
    400,
    "unet, runtimes, cold_start, whole: height of the output, in pixels.",
    lower_bound=2,
)
_WIDTH = flags.DEFINE_integer(
    "output_width",
    600,
    "unet, runtimes, cold_start, whole: width of the output, in pixels.",
    lower_bound=2,
)
_RUNS = flags.DEFINE_integer(
    "runs",
    7,
    "How often each thing is measured; in growth and whole 3 times at most.",
    lower_bound=1,
)
_THREADS = flags.DEFINE_integer(
    "threads",
    None,
    "unet, training, runtimes: CPU threads of each runtime (default: one for each core).",
    lower_bound=1,
)
_FILTERS = flags.DEFINE_integer(
    "compared_filters", 16, "unet, training: channels of the networks' first level.", lower_bound=1
)
_DEPTH = flags.DEFINE_integer(
    "compared_depth", 4, "unet, training: levels of the networks' encoder.", lower_bound=1
)
_CROP = flags.DEFINE_integer(
    "pipeline_crop", 128, "training: side of the crops, in pixels.", lower_bound=32
)
_VARIANTS = flags.DEFINE_list("step_variants", list(VARIANTS), "training: how steps are computed.")
_LARGEST = flags.DEFINE_float(
    "largest", 100.0, "growth: the largest size, in megapixels.", lower_bound=0.1
)
_MEGAPIXELS = flags.DEFINE_float(
    "whole_megapixels", 24.0, "whole: the size of the picture.", lower_bound=0.01
)
_FRAMES = flags.DEFINE_integer(
    "whole_frames", 120, "whole: the frames of the video.", lower_bound=1
)
_PICTURE = common.define_path(
    "tiled_picture", None, "tiles: a picture file (default: a generated one of 6 megapixels)."
)
_PLOT = common.define_path("plot", None, "growth: a PNG file to draw it to.")
_SIZED = ("unet", "runtimes", "cold_start", "whole")
_NEEDED_BY = (
    *((_PLOT, ("growth",)), (_LARGEST, ("growth",)), (_PICTURE, ("tiles",))),
    *((_VARIANTS, ("training",)), (_CROP, ("training",)), (_MEGAPIXELS, ("whole",))),
    *((_FRAMES, ("whole",)), (_HEIGHT, _SIZED), (_WIDTH, _SIZED)),
    *((_THREADS, ("unet", "training", "runtimes")), (common.WEIGHTS, _NEED_WEIGHTS)),
    *((_FILTERS, ("unet", "training")), (_DEPTH, ("unet", "training"))),
)
"""Flags, and the sections that heed them."""
common.declare(__name__, common.OUTPUT, common.OVERWRITE, common.WEIGHTS)


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    _check(_SECTIONS, SECTIONS)
    _check(_VARIANTS, VARIANTS)
    for holder, heeding in _NEEDED_BY:
        if holder.present and not set(heeding) & set(_SECTIONS.value):
            named = " or ".join(heeding)
            raise flags.ValidationError(f"--{holder.name} needs the section {named}")
    if _PLOT.value and PurePath(_PLOT.value).suffix.lower() != ".png":
        raise flags.ValidationError(f"--plot={_PLOT.value}: it writes PNG files, named .png")
    written = [holder.value for holder in (common.OUTPUT, _PLOT) if holder.value]
    common.check_outputs(written, filter(None, [_PICTURE.value]))
    if _PICTURE.value:
        _check_picture(_PICTURE.value)
    if set(_NEED_WEIGHTS) & set(_SECTIONS.value):
        methods.check("neid", common.WEIGHTS.value)
    if _PLOT.value:
        with optional_import("--plot"):
            import matplotlib  # noqa: F401
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads())
    sections = _possible([name for name in SECTIONS if name in _SECTIONS.value])
    from neid_tf.support.environment import environment

    report = {"environment": environment()}
    try:
        for name, section in measured(sections):
            report[name] = section
    finally:  # What was measured before a section fails took long.
        _publish(report, [name for name in sections if name not in report])


def _publish(report, missing):
    """Print and write what was measured; say which sections are missing in it."""
    from neid_tf.benchmarks import plot, text
    from neid_tf.support.files import write_json, write_whole

    if missing:
        terminal.report(f"benchmark: not measured: {', '.join(missing)}")
    if len(report) == 1:
        return
    print(text.table(report))
    report["command"] = " ".join(common.command_line("benchmark"))
    if common.OUTPUT.value:
        write_json(common.OUTPUT.value, report, indent=2)
    if _PLOT.value and "growth" in report:
        write_whole(_PLOT.value, plot.growth(report["growth"]))


def _check(holder, known):
    unknown = [name for name in common.required(holder) if name not in known]
    if unknown:
        raise flags.ValidationError(f"--{holder.name} are of {', '.join(known)}: {unknown[0]!r}")


_NEEDS_KERAS = "neid benchmark --sections=unet,training"


def _check_picture(path):
    """Refuse what is no picture, and one that is enhanced in one piece: nothing is compared."""
    height, width = pictures.read(path).pixels.shape[:2]
    if max(height, width) <= 2 * tiles.TILE:
        larger = f"--tiled_picture needs one with a side of more than {2 * tiles.TILE} pixels"
        raise NeidError(f"{path}: {width}×{height} is enhanced in one piece: {larger}")


def _possible(sections):
    """Start Keras, and return the sections; without it on TensorFlow, those that don't need it.

    Raises:
        NeidError: where one that needs it was asked for by name.
    """
    try:
        with optional_import(_NEEDS_KERAS):
            backend = keras_start.import_keras().backend.backend()
        if backend != "tensorflow":
            raise NeidError(f"{_NEEDS_KERAS} computes in TensorFlow, and Keras in {backend} here")
    except NeidError as error:
        if not _NEED_KERAS & set(sections):
            return sections
        if flags.FLAGS["sections"].present:
            raise
        print(f"neid: left out: {error}", file=sys.stderr)
        return [name for name in sections if name not in _NEED_KERAS]
    return sections


def threads() -> int:
    """Return how many threads each runtime gets."""
    return _THREADS.value or usable_cores()


def measured(wanted: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure some of :data:`SECTIONS`; yield the name and the report of each."""
    from neid_tf.benchmarks import runtimes

    with tempfile.TemporaryDirectory() as folder:
        size, found = (_HEIGHT.value // 2, _WIDTH.value // 2), {}
        if set(_NEED_WEIGHTS) & set(wanted):
            found = runtimes.exports(common.WEIGHTS.value, folder, size)
        for name in wanted:
            yield name, _MEASURES[name](found)


def _unet(found):
    from neid_tf.benchmarks import networks

    del found
    size = (_HEIGHT.value, _WIDTH.value)
    return networks.against_unet(_FILTERS.value, _DEPTH.value, *size, _RUNS.value)


def _training(found):
    from neid_tf.benchmarks import training
    from neid_tf.data.sampling import Sampling
    from neid_tf.training.config import TrainConfig

    del found
    fields = {"filters": _FILTERS.value, "depth": _DEPTH.value, "initializer": "he_normal"}
    settings, variants = TrainConfig(sampling=Sampling(crop=_CROP.value)), _VARIANTS.value
    return training.rates(settings, "neid", fields, _RUNS.value, variants)


def _runtimes(found):
    from neid_tf.benchmarks import runtimes

    size = (_HEIGHT.value // 2, _WIDTH.value // 2)
    report = runtimes.warm(found, *size, _RUNS.value, threads())
    return report | {"auto": methods.choose_runtime(common.WEIGHTS.value)}


def _cold_start(found):
    from neid_tf.benchmarks import cold_start

    return cold_start.measured(found, _HEIGHT.value, _WIDTH.value, _RUNS.value)


def _growth(found):
    from neid_tf.benchmarks import sizes

    return sizes.growth(_of_any_size(found), _LARGEST.value, min(_RUNS.value, 3))


def _whole(found):
    from neid_tf.benchmarks import whole

    size = [side.value // 2 * 2 for side in (_HEIGHT, _WIDTH)]
    runs = min(_RUNS.value, 3)
    return whole.measured(_of_any_size(found), _MEGAPIXELS.value, _FRAMES.value, *size, runs)


def _tiles(found):
    from neid_tf.benchmarks import sizes

    return sizes.tiled_against_whole(_of_any_size(found), _PICTURE.value)


def _of_any_size(found):
    return {name: weights for name, weights in found.items() if name != "litert"}


_MEASURES = {
    "unet": _unet,
    "training": _training,
    "runtimes": _runtimes,
    "cold_start": _cold_start,
    "growth": _growth,
    "whole": _whole,
    "tiles": _tiles,
}
