"""The report of ``neid benchmark`` as text."""

from typing import Any


def table(report: dict[str, Any]) -> str:
    """Return the sections of a report as text, in its order."""
    lines = []
    for name, section in report.items():
        if name in _SECTIONS:
            title, rows = _SECTIONS[name]
            lines += [f"{name}: {title}", *(f"    {row}" for row in rows(section))]
    return "\n".join(lines)


def _range(values, digits=2):
    low, median, high = (f"{values[key]:,.{digits}f}" for key in ("min", "median", "max"))
    return f"{median}  ({low} to {high})"


def _unet(section):
    yield f"{section['filters']} filters, depth {section['depth']}"
    yield f"time         {_range(section['ratio']['time'])}"
    for key in ("operations", "parameters", "peak_bytes"):
        if section["ratio"][key]:
            pair = f"({section['neid'][key]:,} / {section['unet'][key]:,})"
            yield f"{key:<13}{section['ratio'][key]:.2f}  {pair}"


def _training(section):
    rates = section["images_per_second"]
    yield f"input pipeline alone  {_range(rates['pipeline'], 0)}"
    for name, ratio in section["pipeline_to_step"].items():
        step, both = (_range(rates[name][key], 0) for key in ("step", "together"))
        yield f"{name:<10} step alone {step}, together {both}, pipeline / step {_range(ratio)}"
    for name, ratio in section.get("step_to_float32", {}).items():
        yield f"{name:<10} step / float32 step {_range(ratio)}"


def _runtimes(section):
    height, width, _ = section["input"]
    yield f"network's input {width}×{height}, {section['threads']} threads"
    first, to_matmul = section.get("reference", "tensorflow"), section.get("to_matmul", {})
    yield f"{'':<16}{'ms':>8}{'to matmul':>11}{f'to {first}':>15}{'difference':>12}"
    for name, ratio in section["to_tensorflow"].items():
        milliseconds = 1e3 * section["seconds"][name]["median"]
        product = f"{to_matmul[name]['median']:11.2f}" if name in to_matmul else f"{'-':>11}"
        yield (
            f"{name:<16}{milliseconds:8.1f}{product}{ratio['median']:15.2f}"
            f"{section['largest_difference'][name]:12.1g}"
        )
    shares = section.get("share_of_the_peak", {})
    for name, values in shares.items():
        yield f"{name:<16}{_range(values, 3)} of the peak of {section['card']}"
    if not shares:
        card = section.get("card") or "no NVIDIA card is here"
        yield f"left out: the share of a card's peak ({card})"
    yield f"fastest: {section['fastest']}; --runtime=auto takes {section['auto']}"


def _cold(section):
    for name, values in section["seconds"].items():
        to_tensorflow = section["to_tensorflow"][name]
        first = section.get("reference", "tensorflow")
        yield f"{name:<12}{_range(values)} seconds, to {first} {_range(to_tensorflow)}"
        rest = [("to the picture", "to_the_picture"), ("CPU seconds", "cpu_seconds")]
        parts = [
            f"{label} {_range(section[key][name])}"
            for label, key in rest
            if name in section.get(key, ())
        ]
        if parts:
            yield f"{'':<12}{', '.join(parts)}"


def _growth(section):
    for name, rows in section.items():
        yield f"{name}: {'megapixels':>12}{'seconds':>10}{'s/MP':>8}{'GB':>8}"
        for row in rows:
            memory = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e9:8.2f}"
            yield (
                f"{'':<{len(name) + 2}}{row['megapixels']:12.1f}{row['seconds']:10.2f}"
                f"{row['seconds_per_megapixel']:8.3f}{memory}"
            )


def _whole(section):
    height, width = section["size"]
    for name, parts in section["runtimes"].items():
        milliseconds = 1e3 * parts["pass_seconds"]["median"]
        yield f"{name}: a pass of {width}×{height} takes {milliseconds:.1f} ms"
        titles = {
            "picture": f"{section['megapixels']:g} megapixels",
            "video": f"a frame of {width}×{height}, of {section['frames']}",
        }
        for kind in [kind for kind in titles if kind in parts]:
            ratio, seconds = parts[kind]["to_pass"], parts[kind]["seconds"]["median"]
            yield f"    {titles[kind]}: {_range(ratio)} passes; {seconds:.2f} s in all"
    if "left_out" in section:
        yield f"left out: {section['left_out']}"


def _tiles(section):
    height, width = section["size"]
    for name in section.keys() - {"size"}:
        mean, largest = section[name]["mean"], section[name]["largest"]
        yield f"{name:<12}{width}×{height}: mean {mean:.3f}, largest {largest:.0f} of 255"


_SECTIONS = {
    "unet": ("neid against unet, same output size", _unet),
    "training": ("images a second", _training),
    "runtimes": ("a forward pass in each runtime, warm", _runtimes),
    "cold_start": ("neid enhance of one JPEG, whole process", _cold),
    "growth": ("a JPEG file of so many megapixels, in a new process", _growth),
    "whole": ("neid enhance, whole processes, against a pass of the network", _whole),
    "tiles": ("a picture in tiles against the same in one piece", _tiles),
}
