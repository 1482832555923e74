"""Fill the tables of the README and of docs/ from the records that programs wrote.

    python -m experiments.documents [--check]

Each number is stated once, in its record. A table stands between ``<!-- table: NAME -->`` and
``<!-- end -->``; --check changes nothing and fails where a page and a record differ.
"""

import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags

from experiments import cross_data, in_use, link, link_curves, peers
from experiments.performance import card_files, install, on_card, roofline
from experiments.record import spread, table
from neid_tf.commands import main as program
from neid_tf.models import pretrained
from neid_tf.pictures import formats

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "experiments"
_BETWEEN = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_CHECK = flags.DEFINE_bool("check", False, "Change nothing; fail where a page is not as filled.")


def pages() -> list[Path]:
    """Return the pages for users; each may have tables, as have those of the records."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """Return the text of a page with its tables as the records have them.

    Raises:
        KeyError: for a table of an unknown name.
    """
    return _BETWEEN.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", text)


def drifted() -> Iterator[Path]:
    """Yield the pages whose tables are not what the records say."""
    folders = (RECORDS, RECORDS / "quality", RECORDS / "performance")
    for page in (*pages(), *(folder / "README.md" for folder in folders)):
        text = page.read_text("utf-8")
        if filled(text) != text:
            yield page


def _record(name):
    return json.loads((RECORDS / name).read_text("utf-8"))


def _commands():
    rows = [(f"`neid {name}`", text) for name, text in program.COMMANDS.items()]
    return table(("command", "what it does"), *rows)


def _formats():
    return formats.table()


def _scores(mean):
    return [f"{mean['psnr']:.2f}", *(f"{mean[key]:.3f}" for key in ("ssim", "ssim_gray"))]


def _weights():
    """Return the table of the package's weights: scores on held-out scenes, work and time."""
    heads = ("", "PSNR, dB", "SSIM", "SSIM of luminance", "10⁹ operations", "MB")
    rows, controls = [heads], {}
    for name in pretrained.names():
        score = RECORDS / "quality" / f"{name}.json"
        if not score.exists():
            continue
        report = json.loads(score.read_text("utf-8"))
        controls = report["controls"]
        rows.append((f"`{name}`", *_scores(report["mean"]), _operations(report), _megabytes(name)))
        halved = _record(f"cross_data/{name}.json")["sets"]["sent"]["PNG"]["mean"]
        rows.append((f"`{name}`, from the halved picture alone", *_scores(halved), "", ""))
    for name, label in (
        ("input", "the input as it is"),
        ("bicubic_half_and_back", "the reference halved and enlarged"),
    ):
        rows.append((label, *_scores(controls[name]), "", ""))
    return table(*rows)


def _operations(report):
    """Return the 10⁹ operations of a picture of 600×400 pixels."""
    return f"{report['card']['operations_per_600x400_picture'] / 1e9:.1f}"


def _megabytes(name):
    folder = Path(pretrained.__file__).parent / "weights"
    return f"{(folder / f'{name}.npz').stat().st_size / 1e6:.1f}"


def _speed():
    report = _record("performance/benchmark.json")
    rows = [("runtime", "forward pass, ms", "against a matrix product", "`neid enhance`, s")]
    for name, label in (
        ("tensorflow", "TensorFlow"),
        ("onnx", "ONNX Runtime"),
        ("litert", "LiteRT"),
    ):
        ratio = report["runtimes"]["to_matmul"][name]
        seconds = report["runtimes"]["seconds"][name]["median"]
        whole = report["cold_start"]["seconds"][name]["median"]
        rows.append((label, f"{1e3 * seconds:.0f}", spread(ratio), f"{whole:.2f}"))
    return table(*rows)


def _growth():
    report = _record("performance/growth.json")["growth"]
    rows = [("megapixels", "TensorFlow, s", "GB", "ONNX Runtime, s", "GB")]
    for one, other in zip(report["tensorflow"], report["onnx"], strict=True):
        cells = [
            cell
            for row in (one, other)
            for cell in (f"{row['seconds']:.2f}", f"{row['peak_bytes'] / 1e9:.2f}")
        ]
        rows.append((f"{one['megapixels']:.1f}", *cells))
    return table(*rows)


def _whole():
    """Return the table of whole programs by one pass of the network."""
    heads = ("", "runtime", "a pass of 600×400, ms", "24 megapixels, passes", "s")
    rows = [(*heads, "a frame of a video of 600×400, passes", "frames a second")]
    for name, file in (("neid", "whole"), ("neid_s", "whole_neid_s")):
        section = _record(f"performance/{file}.json")["whole"]
        for runtime, label in (("onnx", "ONNX Runtime"), ("tensorflow", "TensorFlow")):
            parts = section["runtimes"][runtime]
            picture, video = parts["picture"], parts["video"]
            rate = section["frames"] / video["seconds"]["median"]
            cells = (f"{1e3 * parts['pass_seconds']['median']:.0f}", spread(picture["to_pass"], 0))
            cells += (f"{picture['seconds']['median']:.1f}", spread(video["to_pass"]))
            rows.append((f"`{name}`", label, *cells, f"{rate:.1f}"))
    return table(*rows)


def memory_of_a_pixel(megapixels: list[float], peaks: list[int]) -> tuple[float, float]:
    """Return the bytes that a pixel takes, and those that any picture takes.

    Args:
        megapixels: sizes of pictures.
        peaks: the peak memory of each, in bytes.
    """
    each = (peaks[-1] - peaks[0]) / (megapixels[-1] - megapixels[0]) / 1e6
    return each, peaks[-1] - each * megapixels[-1] * 1e6


def _memory():
    """Return the table of the peak memory of whole processes, and what a pixel takes of it."""
    report = _record("performance/memory.json")
    rows = [("picture", *(f"{size:g} megapixels, GB" for size in report["megapixels"]))]
    rows[0] = (*rows[0], "bytes a pixel", "beside them, GB")
    for kind, peaks in report["peak_bytes"].items():
        each, constant = memory_of_a_pixel(report["megapixels"], peaks)
        cells = [f"{peak / 1e9:.2f}" for peak in peaks]
        rows.append((kind, *cells, f"{each:.0f}", f"{constant / 1e9:.1f}"))
    return table(*rows)


def _install():
    """Return the table of what the install without TensorFlow weighs."""
    return install.weights_table(_record("performance/install.json"))


def _cold_start():
    """Return the table of starts of the install without TensorFlow."""
    rows = [("", "to the picture, s", "to the end of the process, s", "CPU, s")]
    for record, where in (("cold_start", "two cores"), ("cold_start_one_core", "one core")):
        section = _record(f"performance/{record}.json")["cold_start"]
        for name, label in (("onnx", "`neid enhance`"), ("--help", "`neid --help`")):
            measures = (section[key].get(name) for key in _STARTS)
            rows.append((f"{label}, {where}", *map(_spread, measures)))
    return table(*rows)


_STARTS = ("to_the_picture", "seconds", "cpu_seconds")


def _spread(values):
    """Return a median and its range as text; none where nothing was measured."""
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**values) if values else ""


def _versions():
    """Return the table of which versions the records of time and memory were taken with."""
    records: dict[tuple, list] = {}
    for path in sorted((RECORDS / "performance").glob("*.json")):
        version = json.loads(path.read_text("utf-8"))["environment"]["neid_tf"]
        order = tuple(map(int, version.split(".")))
        records.setdefault(order, []).append(f"`{path.name}`")
    rows = ((".".join(map(str, order)), ", ".join(records[order])) for order in sorted(records))
    return table(("version", "records"), *rows)


def _roofline():
    """Return the table of what is predicted of a card."""
    return roofline.predictions(_record("performance/roofline.json"))


def _on_card():
    """Return the table of passes that were measured on a card."""
    if not (RECORDS / "performance/on_card.json").exists():
        return _NOT_MEASURED
    predicted = _record("performance/roofline.json")
    return on_card.rows(_record("performance/on_card.json"), predicted)


def _card_files():
    """Return the table of files on a card against the CPU beside it."""
    if not (RECORDS / "performance/card_files.json").exists():
        return _NOT_MEASURED
    return card_files.rows(_record("performance/card_files.json"))


def _card_benchmark():
    """Return the table of what neid benchmark told on a card."""
    if not (RECORDS / "performance/card_benchmark.json").exists():
        return _NOT_MEASURED
    report = _record("performance/card_benchmark.json")
    heads = ("", "ms", "10¹² operations a second", "share of the card's peak in float32")
    rows, section = [(*heads, "tiles against whole, of 255")], report["runtimes"]
    for name, share in section["share_of_the_peak"].items():
        speed = section["seconds"][name], section["gigaflops"][name]
        milliseconds, teraflops = (1e3 * speed[0]["median"], speed[1]["median"] / 1e3)
        tiles = report["tiles"][name]["largest"]
        numbers = f"{milliseconds:.2f}", f"{teraflops:.1f}", f"{share['median']:.3f}"
        rows.append((f"{name} on {section['card']}", *numbers, f"{tiles:.0f}"))
    return table(*rows)


_NOT_MEASURED = "Not measured yet."


def _table1():
    from experiments import table1

    return table1.table()


def _large():
    """Return the table of what TIFFs that are done by windows take."""
    rows = [("picture", "GB")]
    for run in _record("performance/large.json")["runs"]:
        rows.append((f"{run['side']}×{run['side']}", f"{run['peak_bytes'] / 1e9:.2f}"))
    return table(*rows)


def _load():
    """Return the table of what a service bears."""
    report = _record("performance/load.json")
    made, half, killed = report["throughput"], report["half_load"], report["killed"]
    rates, cpu = made["pictures_per_second"], made["ratio_in_cpu_time"]["processes"]
    ratio, waves = made["ratio_to_the_network"], report["crowd"]["waves"]

    def spread(values, digits=2):
        numbers = (f"{values[name]:.{digits}f}" for name in ("median", "min", "max"))
        return "{} ({} to {})".format(*numbers)

    def statuses(counts):
        return ", ".join(f"{count} × {status}" for status, count in counts.items())

    half_said = ", ".join(f"{half[f'p{share}_ms']:.0f}" for share in (50, 95, 99))
    memory = [report["megabytes_before"], *(wave["megabytes"] for wave in waves)]
    batches = report["batches_cpu_seconds"].values()
    return table(
        ("", ""),
        (f"pictures a second, {made['workers']} workers", spread(rates["service"], 1)),
        ("the network alone, in one process on all cores", spread(rates["one_process"], 1)),
        ("the service against that", spread(ratio["one_process"])),
        ("the network alone, in as many processes", spread(rates["processes"], 1)),
        ("the service against that", spread(ratio["processes"])),
        ("the same in CPU time", spread(cpu)),
        (f"latency at {half['rate']:.1f} a second: half, 95 %, 99 %, ms", half_said),
        (
            f"{report['crowd']['clients']} clients at once, each time",
            statuses(waves[-1]["statuses"]),
        ),
        ("memory before, and after each time, MB", ", ".join(map(str, memory))),
        (f"a worker killed among {killed['clients']} clients", statuses(killed["statuses"])),
        (
            "CPU ms of a picture in batches of 1, 2, 4, 8",
            ", ".join(f"{1e3 * s:.0f}" for s in batches),
        ),
    )


def _live():
    """Return the table of what a stream is enhanced at."""
    report = _record("performance/live.json")
    latency = report["latency_ms"]
    heads = ("stream", "frames a second", "latency: half, 95 %, 99 %, ms", "CPU ms of a frame")
    return table(
        heads,
        (
            f"{'×'.join(report['size'])}, {report['sent_per_second']} a second",
            f"{report['frames_per_second']:.1f}",
            ", ".join(f"{latency[f'p{share}']:.0f}" for share in (50, 95, 99)),
            f"{report['cpu_ms_of_a_frame']:.0f}",
        ),
    )


def _precision():
    """Return the table of what lower precisions bring and cost."""
    names = {"tensorflow": "TensorFlow", "onnx": "ONNX Runtime"}
    rows = [("weights", "computed in", "PSNR, dB", "SSIM", "CPU ms", "against float32 there")]
    for weights, ways in _record("performance/precision.json")["weights"].items():
        for way, row in ways.items():
            runtime, precision = way.split()
            rows.append(
                (
                    f"`{weights}`",
                    f"{names[runtime]}, {precision}",
                    f"{row['psnr']:.2f}",
                    f"{row['ssim']:.3f}",
                    f"{1e3 * row['cpu_seconds']['median']:.0f}",
                    f"{row['to_float32_of_the_runtime']['median']:.2f}",
                )
            )
    return table(*rows)


def _ablation():
    from experiments.real_pictures import ablate

    return ablate.table()


TABLES = {
    "ablation": _ablation,
    "card_benchmark": _card_benchmark,
    "card_files": _card_files,
    "cold_start": _cold_start,
    "commands": _commands,
    "cross_data": cross_data.table,
    "without_reference": cross_data.table_without_reference,
    "formats": _formats,
    "growth": _growth,
    "install": _install,
    "in_use": in_use.table,
    "large": _large,
    "link": link.table,
    "link_curves": link_curves.table,
    "peers": peers.table,
    "precision": _precision,
    "live": _live,
    "load": _load,
    "memory": _memory,
    "on_card": _on_card,
    "roofline": _roofline,
    "speed": _speed,
    "table1": _table1,
    "versions": _versions,
    "weights": _weights,
    "whole": _whole,
    **{f"link_{codec}": functools.partial(link.table, codec) for codec in link.CODECS},
}
"""The tables by name, each a function that returns Markdown."""


def main(_: list[str]) -> None:
    """Fill the pages, or name those that are not as filled."""
    changed = list(drifted())
    for page in changed:
        if not _CHECK.value:
            page.write_text(filled(page.read_text("utf-8")), "utf-8")
        print(page.relative_to(ROOT))
    if _CHECK.value and changed:
        sys.exit(1)
    if not changed:
        print("all pages are as filled")


if __name__ == "__main__":
    app.run(main)
