"""neid benchmark [--output=benchmark.json] [--runs=N]

Measures speed as ratios within one run, what is compared in turns:
(a) neid against unet of the same width for the same output size: time, peak memory,
    parameters, operations; (b) the input pipeline alone against the training step alone;
(c) the arithmetic of a model against a large matrix product on the same machine.
Prints a table, and writes JSON where --output names a file.
"""

import json

from absl import flags

from neid_tf.commands import common, quiet

_HEIGHT = flags.DEFINE_integer(
    "output_height", 400, "Height of the output, in pixels.", lower_bound=2
)
_WIDTH = flags.DEFINE_integer("output_width", 600, "Width of the output, in pixels.", lower_bound=2)
_RUNS = flags.DEFINE_integer("runs", 7, "Counted turns.", lower_bound=1)
_FILTERS = flags.DEFINE_integer(
    "compared_filters", 16, "Filters of neid and unet in (a).", lower_bound=1
)
_DEPTH = flags.DEFINE_integer("compared_depth", 4, "Depth of neid and unet in (a).", lower_bound=1)
_CROP = flags.DEFINE_integer(
    "pipeline_crop", 128, "Side of the crops in (b), in pixels.", lower_bound=32
)
common.declare(__name__, common.OUTPUT, common.WEIGHTS)


def main(arguments):
    """Measure, print, write."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    quiet.load_keras()
    report = measure()
    print(table(report))
    if common.OUTPUT.value:
        from neid_tf.files import write_whole

        report["command"] = " ".join(common.command_line("benchmark"))
        write_whole(common.OUTPUT.value, (json.dumps(report, indent=2) + "\n").encode())


def measure():
    """Return the report of the three comparisons."""
    from neid_tf import benchmark
    from neid_tf.environment import environment
    from neid_tf.pretrained import load_pretrained
    from neid_tf.training import TrainConfig

    turns, size = _RUNS.value, (_HEIGHT.value // 2, _WIDTH.value // 2)
    settings = TrainConfig(crop=_CROP.value)
    fields = {"filters": _FILTERS.value, "depth": _DEPTH.value, "initializer": "he_normal"}
    model = load_pretrained(common.WEIGHTS.value)
    full = (_HEIGHT.value, _WIDTH.value)
    return {
        "environment": environment(),
        "neid_against_unet": benchmark.against_unet(_FILTERS.value, _DEPTH.value, *full, turns),
        "pipeline_against_step": benchmark.pipeline_against_step(settings, "neid", fields, turns),
        "model_against_matmul": benchmark.against_matrix_product(model, *size, turns),
    }


def table(report):
    """Return the report as text."""
    a, b, c = (report[name] for name in list(report)[1:])
    lines = [f"(a) neid against unet, {a['filters']} filters, same output size"]
    lines.append(f"    time         {_range(a['ratio']['time'])}")
    for key in ("operations", "parameters", "peak_bytes"):
        if a["ratio"][key]:
            pair = f"({a['neid'][key]:,} / {a['unet'][key]:,})"
            lines.append(f"    {key:<13}{a['ratio'][key]:.2f}  {pair}")
    rates = b["images_per_second"]
    lines.append("(b) input pipeline against training step, images per second")
    lines.append(f"    ratio        {_range(b['ratio'])}")
    lines += [f"    {name:<13}{_range(rates[name], 0)}" for name in rates]
    lines.append("(c) model against matrix product, 10⁹ operations per second")
    lines.append(f"    ratio        {_range(c['ratio'])}")
    lines += [f"    {n:<13}{_range(v, 0)}" for n, v in c["gigaflops_per_second"].items()]
    lines.append(f"    {_range(c['seconds_per_megapixel'], 3)} seconds per megapixel of output")
    return "\n".join(lines)


def _range(values, digits=2):
    low, median, high = (f"{values[key]:,.{digits}f}" for key in ("min", "median", "max"))
    return f"{median}  ({low} to {high})"
