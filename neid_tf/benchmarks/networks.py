"""NEID against the U-net that the paper starts from."""

from typing import Any

from neid_tf.benchmarks.fresh_process import in_fresh_process
from neid_tf.benchmarks.timing import batch, compiled, interleaved, ratios, spread


def against_unet(filters: int, depth: int, height: int, width: int, runs: int) -> dict[str, Any]:
    """Compare ``neid`` with ``unet`` of the same width for the same output size.

    ``neid`` is given the half-size picture, as section 2.2 has it. The paper claims less
    computation and memory.

    Args:
        filters: of the first level of both.
        depth: levels of both.
        height: of the output, in pixels; one less where it is odd.
        width: likewise.
        runs: counted turns.

    Returns:
        Dictionary with ``seconds``, ``parameters``, ``operations`` and ``peak_bytes`` of both, and
        ``ratio`` of the times.
    """
    from neid_tf import models
    from neid_tf.benchmarks.costs import count_operations

    half = height // 2, width // 2
    sizes = {"neid": half, "unet": (2 * half[0], 2 * half[1])}
    nets, calls, report = {}, {}, {}
    for name, size in sizes.items():
        net = models.build(name, filters=filters, depth=depth, initializer="he_normal")
        nets[name] = models.inference_model(net)
        calls[name] = _call(compiled(nets[name]), batch(*size))
    seconds = interleaved(calls, runs)
    for name, size in sizes.items():
        report[name] = {
            "input": [*size, 3],
            "seconds": spread(seconds[name]),
            "parameters": nets[name].count_params(),
            "operations": count_operations(nets[name], *size),
            "peak_bytes": in_fresh_process("forward", name, filters, depth, *size)["peak_bytes"],
        }
    measures = {"time": ratios(seconds["neid"], seconds["unet"])}
    for key in ("parameters", "operations", "peak_bytes"):
        a, b = (report[name][key] for name in ("neid", "unet"))
        measures[key] = a / b if a and b else None
    return report | {"ratio": measures, "filters": filters, "depth": depth}


def _call(function, pictures):
    return lambda: function(pictures).numpy()
