"""Measure a folder of pictures against the model alone, and the memory that it takes.

    python -m experiments.performance.folders --output=experiments/performance/folders.json

The pictures are generated: the samples at random sizes with noise, as JPEG, PNG, WebP and TIFF.
For each runtime: --memory_pictures of them, all of other sizes, and the resident memory after each
hundred; then in turns the model alone, with its refinement, on pictures and batches that lie in
memory, the folder one picture after the other (read, enhance, write), and the folder as `neid
enhance` does it; then, in CPU time, which a busy machine hardly changes, what each stage takes.
Last, in CPU time too, the encoders with the settings that they had before.
"""

import io
import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.record import command_line, publish
from neid_tf import pictures
from neid_tf.benchmarks.timing import interleaved, ratios, spread
from neid_tf.commands import common
from neid_tf.inference import methods, tiles
from neid_tf.inference.enhance import Enhancement
from neid_tf.inference.network import KerasNetwork, Network
from neid_tf.jobs import pipeline
from neid_tf.jobs.plan import Job, plan
from neid_tf.jobs.transfer import Transfer
from neid_tf.support import keras_start
from neid_tf.support.machine import usable_cores

SAMPLES = Path(__file__).resolve().parent.parent.parent / "data" / "samples" / "low"
SUFFIXES = (".jpg", ".png", ".jpg", ".webp", ".jpg", ".png", ".jpg", ".tif")

STAGES = ("read", "decode", "prepare", "model", "encode", "write")

_COUNT = flags.DEFINE_integer("pictures", 200, "Pictures in the folder.", lower_bound=1)
_RUNS = flags.DEFINE_integer("turns", 3, "Counted turns.", lower_bound=1)
_MEMORY = flags.DEFINE_integer(
    "memory_pictures", 1000, "Pictures while memory is watched.", lower_bound=1
)
_RUNTIMES = flags.DEFINE_list(
    "folder_runtimes", None, "Runtimes (default: ONNX Runtime where installed, and TensorFlow)."
)
flags.declare_key_flag("weights")
_SIDES = flags.DEFINE_list("sides", ["240", "800"], "Shortest and longest side, in pixels.")


def generate(folder: Path, count: int, sides: Sequence[int], seed: int = 0) -> Path:
    """Write dark pictures of random sizes and various formats; return their folder.

    Args:
        folder: to make.
        count: of pictures.
        sides: the shortest and the longest side, in pixels.
        seed: of sizes and noise.
    """
    import cv2

    rng, shortest, longest = np.random.default_rng(seed), *sides
    samples = [pictures.read(path).pixels for path in sorted(SAMPLES.iterdir())]
    folder.mkdir(parents=True)
    for number, suffix in zip(range(count), itertools.cycle(SUFFIXES), strict=False):
        width, height = (int(side) for side in rng.integers(shortest, longest + 1, 2))
        pixels = cv2.resize(samples[number % len(samples)], (width, height)).astype(np.float32)
        noisy = pixels + rng.normal(0.0, 2.0, pixels.shape)
        pixels = np.rint(np.clip(noisy, 0.0, 255.0)).astype(np.uint8)
        lossless = suffix != ".webp"
        picture = pictures.Picture(pixels, lossless=lossless)
        pictures.write(folder / f"{number:05}{suffix}", picture)
    return folder


def one_after_the_other(jobs: list[Job], function: Enhancement) -> None:
    """Do the jobs without any overlap.

    Args:
        jobs: pictures to read and to write.
        function: from pixels to enhanced pixels.
    """
    local = Transfer(existing="overwrite")
    for job in jobs:
        picture = pictures.decode(job.source, local.read(job))
        enhanced = picture.with_pixels(function(picture.pixels))
        local.write(job, pictures.encode(job.target, enhanced))


def overlapped(jobs: list[Job], function: Enhancement) -> None:
    """Do the jobs as `neid enhance` does.

    Args:
        jobs: pictures to read and to write.
        function: from pixels to enhanced pixels.
    """
    for _, error, _ in pipeline.enhance_files(jobs, function, Transfer(existing="overwrite")):
        if error:
            raise error


def speed(source: Path, output: Path, function: Enhancement, turns: int) -> dict[str, Any]:
    """Return pictures a second of the three ways, and the ratios to the model alone.

    Args:
        source: folder of pictures.
        output: folder for the enhanced ones.
        function: from pixels to enhanced pixels.
        turns: that are counted.
    """
    jobs = plan([str(source)], output).jobs
    decoded = [pictures.read(job.source).pixels for job in jobs]
    batches = [function.prepare(pixels) for pixels in decoded]

    def model():
        for pixels, batch in zip(decoded, batches, strict=True):
            function.compute(pixels, batch)

    ways = {
        "model": model,
        "one_after_the_other": lambda: one_after_the_other(jobs, function),
        "folder": lambda: overlapped(jobs, function),
    }
    seconds = interleaved(ways, turns, warmup=1)
    rates = {name: [len(jobs) / s for s in values] for name, values in seconds.items()}
    return {
        "pictures": len(jobs),
        "pictures_per_second": {name: spread(values) for name, values in rates.items()},
        "ratio_to_the_model": {
            name: ratios(rates[name], rates["model"]) for name in rates if name != "model"
        },
    }


def memory(source: Path, output: Path, function: Enhancement) -> dict[str, int]:
    """Return the resident megabytes after each hundred pictures of a folder.

    Args:
        source: folder of pictures.
        output: folder for the enhanced ones.
        function: from pixels to enhanced pixels.
    """
    jobs = plan([str(source)], output).jobs
    rows = {}
    for done, (_, error, _) in enumerate(
        pipeline.enhance_files(jobs, function, Transfer()), start=1
    ):
        if error:
            raise error
        if done % 100 == 0 or done == len(jobs):
            rows[str(done)] = resident()
    return rows


def resident() -> int:
    """Return the resident memory of this process, in megabytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def stages(source: Path, output: Path, function: Enhancement) -> dict[str, Any]:
    """Return the CPU seconds of each stage, over all pictures, one after the other.

    Args:
        source: folder of pictures.
        output: folder for the enhanced ones.
        function: from pixels to enhanced pixels.
    """
    jobs = plan([str(source)], output).jobs
    local, seconds = Transfer(existing="overwrite"), dict.fromkeys(STAGES, 0.0)

    def timed(stage, *arguments):
        started = time.process_time()
        result = calls[stage](*arguments)
        seconds[stage] += time.process_time() - started
        return result

    functions = (local.read, pictures.decode, function.prepare, function.compute)
    calls = dict(zip(STAGES, (*functions, pictures.encode, local.write), strict=True))
    for job in jobs:
        picture = timed("decode", job.source, timed("read", job))
        batch = timed("prepare", picture.pixels)
        enhanced = picture.with_pixels(timed("model", picture.pixels, batch))
        timed("write", job, timed("encode", job.target, enhanced))
    share = seconds["model"] / sum(seconds.values())
    return {"cpu_seconds": seconds, "share_of_the_model": share}


def encoders(source: Path, function: Enhancement) -> dict[str, dict]:
    """Return CPU seconds a megapixel and bytes a pixel of the encoders, before and now.

    Args:
        source: folder of pictures.
        function: from pixels to enhanced pixels.
    """
    import imagecodecs
    import tifffile
    from PIL import Image

    def pillow(pixels, **how):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", **how)
        return file.getvalue()

    def tiff(pixels):
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, photometric="rgb", compression="zlib", predictor=True)
        return file.getvalue()

    kept, lost = {"lossless": True}, {"lossless": False}
    ways = {
        "png": (lambda p: imagecodecs.png_encode(p, 4), "x.png", kept),
        "tiff": (tiff, "x.tif", kept),
        "webp": (lambda p: pillow(p, quality=95), "x.webp", lost),
        "webp_lossless": (
            lambda p: pillow(p, lossless=True, exact=True, quality=0),
            *("x.webp", kept),
        ),
    }
    paths = sorted(source.iterdir())[:16]
    outputs = [function(pictures.read(path).pixels) for path in paths]
    rows = {}
    for name, (before, target, fields) in ways.items():
        made = [pictures.Picture(pixels, **fields) for pixels in outputs]
        rows[name] = {
            "before": _coded(before, outputs, outputs),
            "now": _coded(lambda p, t=target: pictures.encode(t, p), made, outputs),
        }
    return rows


def _coded(encode, inputs, outputs):
    pixels, started = sum(o.shape[0] * o.shape[1] for o in outputs), time.process_time()
    size = sum(len(encode(item)) for item in inputs)
    seconds = time.process_time() - started
    return {"cpu_seconds_per_megapixel": seconds * 1e6 / pixels, "bytes_per_pixel": size / pixels}


def runtimes() -> list[str]:
    """Return the names of the runtimes to measure, what ``neid enhance`` takes first."""
    auto = methods.choose_runtime(common.WEIGHTS.value)
    return _RUNTIMES.value or list(dict.fromkeys([auto, "tensorflow"]))


def traces(network: Network) -> int | None:
    """Return how often TensorFlow traced the part that was most; None for another runtime's."""
    if not isinstance(network, KerasNetwork):
        return None
    functions = [part.predict_function for part in network.parts.values()]
    return max(f.experimental_get_tracing_count() for f in functions if f)


def measure(root: Path) -> dict[str, Any]:
    """Return the report on pictures that are generated below a folder."""
    models = {name: methods.load_network(common.WEIGHTS.value, name) for name in runtimes()}
    calls = {name: Enhancement(tiles.Tiled(model)) for name, model in models.items()}
    sides, report = [int(side) for side in _SIDES.value], {}
    source = generate(root / "in", _COUNT.value, sides)
    many = generate(root / "many", _MEMORY.value, sides, seed=1)
    for name, function in calls.items():
        rows = report[name] = {"resident_megabytes": memory(many, root / name, function)}
        rows["speed"] = speed(source, root / "out", function, _RUNS.value)
        rows["stages"] = stages(source, root / "out", function)
        rows["traces"] = traces(models[name])
    return report | {"encoders": encoders(source, function)}


def main(_: list[str]) -> None:
    """Measure, print, write."""
    keras_start.import_keras()
    from neid_tf.support.environment import environment

    started = time.time()
    with tempfile.TemporaryDirectory() as root:
        report = measure(Path(root))
    here = environment() | {"cores_used": usable_cores()}
    report = {"environment": here} | report
    report["seconds"] = round(time.time() - started)
    report["command"] = command_line(__name__, "experiments.performance.folders")
    publish(report)


if __name__ == "__main__":
    app.run(main)
