"""Measure a folder on Ray with one worker and with two, in turns, on this machine.

    python -m experiments.performance.ray_workers --output=experiments/performance/ray_workers.json

Each worker has one CPU. The rate is that of the middle half of the pictures, so that the start of
the workers, which is measured by itself, does not count. The pictures are those of
`experiments.performance.folders`.
"""

import functools
import tempfile
import time
from pathlib import Path

from absl import app, flags

from experiments.performance import folders
from experiments.record import command_line, publish
from neid_tf.benchmarks.timing import ratios, spread
from neid_tf.commands import common
from neid_tf.inference import methods
from neid_tf.jobs import cluster
from neid_tf.jobs.plan import plan
from neid_tf.support import keras_start

_COUNT = flags.DEFINE_integer("ray_pictures", 320, "Pictures in the folder.", lower_bound=64)
_TURNS = flags.DEFINE_integer("ray_turns", 3, "Turns.", lower_bound=1)
_MOST = flags.DEFINE_integer("most_workers", 2, "Workers to set against one.", lower_bound=2)
flags.declare_key_flag("weights")
flags.declare_key_flag("method")


def run(source: str, output: str, workers: int) -> tuple[float, float]:
    """Return the seconds until the first result, and pictures a second after the start.

    Args:
        source: folder of pictures.
        output: folder for the enhanced ones.
        workers: how many.
    """
    made = plan([source], output, on_cluster=True)
    make = functools.partial(methods.load, common.METHOD.value, threads=1)
    work = cluster.Work(make, common.WEIGHTS.value, tuple(made.storages), output, "overwrite")
    started, times = time.perf_counter(), []
    for _, error, _ in cluster.enhance(made.jobs, work, cluster.Cluster(workers=workers)):
        if error:
            raise error
        times.append(time.perf_counter() - started)
    low, high = len(times) // 4, 3 * len(times) // 4
    return times[0], (high - low) / (times[high] - times[low])


def main(_: list[str]) -> None:
    """Measure, print, write."""
    keras_start.import_keras()
    import ray

    from neid_tf.support.environment import environment

    counts, started = (1, _MOST.value), time.time()
    starts, rates = ({count: [] for count in counts} for _ in range(2))
    with tempfile.TemporaryDirectory() as root:
        source = folders.generate(Path(root) / "in", _COUNT.value, (240, 800))
        for count in counts * _TURNS.value:
            first, rate = run(str(source), str(Path(root) / "out"), count)
            starts[count].append(first)
            rates[count].append(rate)
    report = {
        "environment": environment() | {"ray": ray.__version__},
        "pictures": _COUNT.value,
        "seconds_to_the_first_result": {n: spread(values) for n, values in starts.items()},
        "pictures_per_second": {n: spread(values) for n, values in rates.items()},
        "ratio_to_one_worker": ratios(rates[_MOST.value], rates[1]),
        "seconds": round(time.time() - started),
        "command": command_line(__name__, "experiments.performance.ray_workers"),
    }
    publish(report)


if __name__ == "__main__":
    app.run(main)
