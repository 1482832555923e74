"""Measure files on the card that is here against the CPU of the same machine, in ONNX Runtime.

    python -m experiments.performance.card_files \
        --output=experiments/performance/card_files.json

Needs onnxruntime-gpu. In turns, whole processes of `neid enhance` of one picture of 600×400 pixels,
of a folder of them and of one of 12 megapixels, on the card and where it is hidden; how far what
they wrote differs; and in a process each how long a picture that lies in memory takes, and batches.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.record import command_line, publish, save, table
from neid_tf import pictures
from neid_tf.benchmarks import cards
from neid_tf.benchmarks.fresh_process import in_fresh_process
from neid_tf.benchmarks.timing import interleaved, scene, spread
from neid_tf.commands import common
from neid_tf.models import pretrained
from neid_tf.support.environment import environment

WAYS = {"card": {}, "CPU": {"CUDA_VISIBLE_DEVICES": ""}}
"""What computes, and the environment that makes it do so."""

_COUNT = flags.DEFINE_integer("card_pictures", 64, "Pictures of the folder.", lower_bound=2)
_SIZE = flags.DEFINE_list("card_size", ["600", "400"], "Width and height of those, even.")
_LARGE = flags.DEFINE_list("card_large", ["4000", "3000"], "Width and height of the large one.")
_TURNS = flags.DEFINE_integer("file_turns", 2, "Counted turns of each process.", lower_bound=1)
_BATCHES = flags.DEFINE_list("card_batches", ["1", "8", "32"], "Pictures at a time, in memory.")
flags.declare_key_flag("weights")
flags.FLAGS.register_key_flag_for_module(__name__, flags.FLAGS["output"])


def generate(folder: Path) -> dict[str, list[Path]]:
    """Write dark PNGs, each of its own, and return the paths of each set."""
    (small_width, small_height), large = (map(int, one.value) for one in (_SIZE, _LARGE))
    width, height = large
    (folder / "in").mkdir()
    small, whole = scene(small_height, small_width), scene(height, width)
    made = [(folder / "in" / f"{n}.png", np.roll(small, 7 * n, 1)) for n in range(_COUNT.value)]
    for path, pixels in (*made, (folder / "large.png", whole)):
        pictures.write(path, pictures.Picture(pixels))
    paths = [path for path, _ in made]
    return {"one": paths[:1], "folder": paths, "large": [folder / "large.png"]}


@contextmanager
def surroundings(way: str) -> Iterator[None]:
    """Let new processes compute in one of :data:`WAYS` meanwhile."""
    before = dict(os.environ)
    os.environ.update(WAYS[way])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def enhance(paths: list[Path], output: Path, way: str) -> str:
    """Run `neid enhance` in a process of its own, and return what it told on stderr."""
    command = [sys.executable, "-m", "neid_tf.commands.main", "enhance", *map(str, paths)]
    command += [f"--output={output}/", "--overwrite", "--runtime=onnx"]
    command.append(f"--weights={common.WEIGHTS.value}")
    with surroundings(way):
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:4])} on the {way}: {done.stderr.strip()[-500:]}")
    return done.stderr.strip()


def processes(sets: dict[str, list[Path]], folder: Path, turns: int) -> dict[str, Any]:
    """Return the seconds of whole processes by set and way, and what they told."""
    report: dict[str, Any] = {"seconds": {}, "told": {}}

    def once(name, way):
        report["told"][way] = enhance(sets[name], folder / way, way)

    for name in sets:
        calls = {way: lambda name=name, way=way: once(name, way) for way in WAYS}
        seconds = interleaved(calls, turns, warmup=0)
        report["seconds"][name] = {way: spread(taken) for way, taken in seconds.items()}
    rates = {}
    for way in WAYS:
        first, all_ = (report["seconds"][name][way]["median"] for name in ("one", "folder"))
        rates[way] = (len(sets["folder"]) - 1) / max(all_ - first, 1e-9)
    return report | {"pictures_a_second_after_the_start": rates}


def differences(sets: dict[str, list[Path]], folder: Path) -> dict[str, dict[str, float]]:
    """Return how far what the ways wrote differs, in levels of 255, by set."""
    report = {}
    for name, paths in sets.items():
        largest, differing, samples = 0, 0, 0
        for path in paths:
            made = [pictures.read(folder / way / path.name).pixels.astype(int) for way in WAYS]
            apart = np.abs(made[0] - made[1])
            largest = max(largest, int(apart.max()))
            differing, samples = differing + int((apart > 0).sum()), samples + apart.size
        report[name] = {"largest": largest, "share_of_samples": differing / samples}
    return report


def in_memory(way: str) -> dict[str, Any]:
    """Return what :func:`neid_tf.benchmarks.fresh_process.latency` measures in a way."""
    weights = pretrained.onnx_file(common.WEIGHTS.value)
    width, height = _SIZE.value
    with surroundings(way):
        given = ("onnx", weights, height, width, ",".join(_BATCHES.value), 5)
        return in_fresh_process("latency", *given)


def rows(report: dict[str, Any]) -> str:
    """Return the table of what was measured with files.

    Args:
        report: what the program wrote.

    Raises:
        ValueError: for a record that no card has part in.
    """
    whole, memory = report["processes"], report["in_memory"]
    if not memory["card"]["on_card"]:
        raise ValueError(f"no card computed: {memory['card']['notes']}")
    width, height = report["size"]
    count, (wide, high) = report["folder_pictures"], report["large"]

    def row(label, value):
        cells = [value(way) for way in WAYS]
        return label, *(f"{cell:,.3f}" if cell < 10 else f"{cell:,.0f}" for cell in cells)

    def process(name):
        return lambda way: whole["seconds"][name][way]["median"]

    apart = report["differences"]
    largest = max(one["largest"] for one in apart.values())
    lines = [
        ("", f"ONNX Runtime on {report['card']}", f"on {report['cores']} cores"),
        row(f"`neid enhance` of one picture of {width}×{height}, s", process("one")),
        row(f"of a folder of {count}, s", process("folder")),
        row(f"of one of {wide}×{high}, s", process("large")),
        row(
            "pictures a second of the folder after the start",
            lambda way: whole["pictures_a_second_after_the_start"][way],
        ),
        *(row(*one) for one in _rows_in_memory(memory)),
    ]
    share = max(one["share_of_samples"] for one in apart.values())
    sentence = (
        f"What both wrote differs by {largest} of 255 at most, in {share:.3%} of the samples."
    )
    return f"{table(*lines)}\n\n{sentence}"


def _rows_in_memory(memory):
    """Yield the label of each row of pictures in memory, and the function from a way to its cell.

    In turns, :func:`neid_tf.enhance` follows the last of the batches, and one of 1 follows it.
    Records from before ``repeated`` was measured lack that.
    """
    *_, last = counts = list(memory["card"]["batches"])
    turns = {way: {"enhance": memory[way]["enhance"], **memory[way]["batches"]} for way in WAYS}

    def milliseconds(taken):
        return lambda way: 1e3 * taken[way]["enhance"]["median"]

    def rate(taken, count):
        return lambda way: int(count) / taken[way][count]["median"]

    yield f"`neid_tf.enhance` after a batch of {last}, ms", milliseconds(turns)
    for one in counts:
        before = "the same" if one == counts[0] == "1" else "another"
        yield f"network, pictures a second, {one} at a time after {before} number", rate(turns, one)
    if "repeated" in memory["card"]:
        repeated = {way: memory[way]["repeated"] for way in WAYS}
        yield "`neid_tf.enhance` again and again, ms", milliseconds(repeated)
        for one in counts:
            label = f"network, pictures a second, {one} at a time, again and again"
            yield label, rate(repeated, one)


def main(_: list[str]) -> None:
    """Measure, print, write."""
    started = time.time()
    report: dict[str, Any] = {"environment": environment(), "card": cards.name()}
    report |= {"cores": os.cpu_count(), "weights": common.WEIGHTS.value}
    report |= {"size": _SIZE.value, "large": _LARGE.value, "folder_pictures": _COUNT.value}
    report["in_memory"] = {way: in_memory(way) for way in WAYS}
    save(report)  # What is there stays where the rest is cut off.
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sets = generate(folder)
        report["processes"] = processes(sets, folder, _TURNS.value)
        report["differences"] = differences(sets, folder)
    report["seconds_in_all"] = round(time.time() - started)
    publish(report | {"command": command_line(__name__, "experiments.performance.card_files")})


if __name__ == "__main__":
    app.run(main)
