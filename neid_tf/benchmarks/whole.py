"""Whole programs against one pass of the network: a large picture, and a video."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf import pictures
from neid_tf.benchmarks.cold_start import run_once
from neid_tf.benchmarks.fresh_process import network_of
from neid_tf.benchmarks.timing import interleaved, ratios, scene, spread
from neid_tf.inference.enhance import halves
from neid_tf.pixels.resample import halve
from neid_tf.pixels.samples import to_float
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import optional_import

_PASSES = 5  # Before a program and behind it; their median counts.


def measured(
    found: Mapping[str, str], megapixels: float, frames: int, height: int, width: int, runs: int
) -> dict[str, Any]:
    """Time ``neid enhance`` of one large JPEG and of one video, in new processes.

    They are compared with a pass of the network for one picture that lies in memory, with its
    refinement where it has one, taken before and behind each, since a machine's speed drifts.

    Args:
        found: dictionary from runtimes to what they run; see
            :func:`neid_tf.benchmarks.runtimes.exports`.
        megapixels: of the picture.
        frames: of the video.
        height: of the video and of the pass's picture, in pixels; even.
        width: likewise.
        runs: counted turns.

    Returns:
        Dictionary with the ``size`` of the pass's picture, the ``megapixels`` and ``frames``, and
        under ``runtimes`` for each runtime: the spread of the ``pass_seconds``; ``picture`` and
        ``video``, each with the spread of its ``seconds`` and ``to_pass``, those by one pass (of
        the video, a frame's). ``left_out`` says why there is no video.
    """
    report = {"size": [height, width], "megapixels": megapixels, "frames": frames, "runtimes": {}}
    with tempfile.TemporaryDirectory() as folder:
        sides = round((megapixels * 1e6 / 1.5) ** 0.5)
        sources = {"picture": Path(folder) / "dark.jpg"}
        pictures.write(sources["picture"], pictures.Picture(scene(sides, round(1.5 * sides))))
        try:
            _write_video(Path(folder) / "dark.mp4", frames, height, width)
            sources["video"] = Path(folder) / "dark.mp4"
        except NeidError as error:
            report["left_out"] = f"video: {error}"
        for name, weights in found.items():
            taken = _turns(name, weights, sources, (height, width), runs)
            counts = {"picture": 1, "video": frames}
            passes = [seconds for part in taken.values() for seconds in part["pass"]]
            report["runtimes"][name] = {"pass_seconds": spread(passes)}
            for kind, part in taken.items():
                each = [seconds / counts[kind] for seconds in part["seconds"]]
                report["runtimes"][name][kind] = {
                    "seconds": spread(part["seconds"]),
                    "to_pass": ratios(each, part["pass"]),
                }
    return report


def _turns(runtime, weights, sources, size, runs):
    """Return of each program its seconds, and those of a pass before and behind it, by turns."""
    network, picture = network_of(runtime, weights), scene(*size)
    batch = (halve(picture, 255) if halves(network, scale=1) else to_float(picture))[None]

    def one_pass():
        return interleaved({"pass": lambda: network(batch, picture[None])}, _PASSES)["pass"]

    taken = {kind: {"seconds": [], "pass": []} for kind in sources}
    for _ in range(runs):
        for kind, source in sources.items():
            target = source.with_stem("bright")
            options = [f"--output={target}", f"--runtime={runtime}", f"--weights={weights}"]
            before = one_pass()
            run = run_once(["enhance", str(source), *options], target)
            taken[kind]["seconds"].append(run["seconds"])
            taken[kind]["pass"].append(float(np.median([*before, *one_pass()])))
    return taken


def _write_video(path, frames, height, width):
    """Write a video that moves over a dark scene."""
    with optional_import("a video"):
        import av
    whole = scene(height + frames, width + frames)
    with contextlib.closing(av.open(str(path), "w")) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for start in range(frames):
            pixels = np.ascontiguousarray(whole[start : start + height, start : start + width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
