"""Score what comes out of a narrow link: bytes against PSNR and SSIM, by codec and by way.

    python -m experiments.link [--data=DIR] [--weights=NAME|PATH] [--each=15]
        [--output=experiments/link/NAME.json]

Without --data it draws the chart of the record and prints its table. With --data it makes the
record first, from ``DIR/our485`` and ``DIR/sice`` as in experiments/cross_data.py: dark pictures
of the held-out scenes, evenly drawn. Each is sent in at most so many bytes in these ways:

- ``full``: at full size, and enhanced at scale 1;
- ``half``: halved, and enhanced at scale 2;
- ``packed``: by ``neid pack``, whose metadata counts, and enhanced as ``neid enhance`` does it;
- ``npe``: halved, enlarged bicubically, and enhanced by the classical method that has the highest
  PSNR on LoL's held-out pictures (experiments/table1); with JPEG alone.

The codec is the same for all: its best quality that fits. Where a picture does not fit at the
lowest, the row has no score.
"""

import functools
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from experiments import brackets, chart, cross_data, need_data, run
from experiments.record import command_line
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.evaluation import report, scores
from neid_tf.inference import methods
from neid_tf.inference.unpack import Unpacking
from neid_tf.jobs import packing
from neid_tf.pictures.codecs import CODECS, largest_within
from neid_tf.pixels.resample import double, halve
from neid_tf.pixels.samples import from_float, to_8_bit, to_float
from neid_tf.support import files
from neid_tf.support.environment import environment

flags.declare_key_flag("data")
flags.declare_key_flag("weights")
flags.declare_key_flag("output")
COUNT = flags.DEFINE_integer("each", 15, "Pictures of each set.", lower_bound=1)
RECORDS = Path(__file__).resolve().parent / "link"
RECORD = RECORDS / "neid.json"
BUDGETS = (2000, 5000, 10_000, 20_000)
"""Bytes of a picture."""
CLASSICAL = "npe"
SETS = {"lol": "LoL, scenes that the weights have seen", "sice": "SICE, scenes held out"}
LABELS = {
    "full": "full size, then NEID ×1",
    "half": "halved, then NEID ×2",
    "packed": "neid pack, then neid enhance",
    CLASSICAL: "halved, bicubic ×2, NPE",
}
COLOURS = {"full": 1, "half": 2, "packed": 3, CLASSICAL: 0}
_HEADS = {"full": "full size, ×1", "half": "halved, ×2", "packed": "packed", CLASSICAL: "NPE"}

Row = tuple[str, np.ndarray, np.ndarray]
"""A picture's name, its pixels and its reference's, uint8 H×W×3 each."""


def evenly(names: list, count: int) -> list:
    """Return so many of a list, evenly drawn; all where it has fewer."""
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def lol_rows(data: Path, count: int) -> Iterator[Row]:
    """Yield pictures of LoL that the package's weights have not seen, with their references.

    Args:
        data: folder that has ``our485``.
        count: how many.
    """
    yield from evenly(cross_data.lol_rows(data), count)


def sice_rows(data: Path, count: int) -> Iterator[Row]:
    """Yield the median dark frame of SICE's held-out scenes, with the well-exposed frame.

    Args:
        data: folder that has ``sice``.
        count: how many.
    """
    for name, scene in evenly(list(brackets.scenes(data / "sice", True).items()), count):
        bracket = brackets.frames(scene)
        if found := brackets.dark(bracket):
            yield name, found[len(found) // 2], brackets.normal(bracket)


class Ways:
    """The ways over the link, each from a picture to what is shown at its other end.

    Args:
        weights: of the network.
    """

    def __init__(self, weights: str) -> None:
        self.same, self.twice = (
            methods.load("neid", weights, scale, runtime="auto") for scale in (1, 2)
        )
        self.classical = methods.load(CLASSICAL, "")

    def results(self, pixels: np.ndarray, codec: str) -> Iterator[tuple[int, str, tuple | None]]:
        """Yield budget, way, and what it gives with the bytes sent; None where it does not fit.

        Args:
            pixels: uint8 H×W×3.
            codec: one of :data:`neid_tf.pictures.codecs.CODECS`.
        """
        half = from_float(halve(pixels, 255), np.uint8)
        encoders = [functools.cache(encoder(image, codec)) for image in (pixels, half)]
        height, width = pixels.shape[:2]

        def made(content: bytes | None, enhance: Callable) -> tuple | None:
            output = content and enhance(_decoded(content))[:height, :width]
            return content and (output, len(content))

        for most in BUDGETS:
            full, half = (largest_within(encode, most) for encode in encoders)
            yield most, "full", made(full, self.same)
            yield most, "half", made(half, self.twice)
            yield most, "packed", self._packed(pixels, packing.Settings(codec, most))
            if codec == "jpeg":
                enhance = functools.partial(_enlarged_by, self.classical)
                yield most, CLASSICAL, made(half, enhance)

    def _packed(self, pixels, settings):
        try:
            content, _ = packing.pack(pictures.Picture(pixels), settings)
        except ValueError:
            return None
        received = pictures.decode("packed", content)
        return Unpacking(self.same, received.packing)(received.pixels), len(content)


def encoder(pixels: np.ndarray, codec: str) -> Callable[[int], bytes]:
    """Return a function from a quality to the file of a picture."""
    return functools.partial(CODECS[codec].encode, Image.fromarray(pixels))


def _decoded(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as received:
        return np.asarray(received.convert("RGB"))


def _enlarged_by(enhance: Callable, pixels: np.ndarray) -> np.ndarray:
    """Return what a method that keeps the size makes of a picture that is enlarged bicubically."""
    return enhance(from_float(double(to_float(pixels)), np.uint8))


def record(data: Path, weights: str, count: int) -> dict:
    """Score all ways for both sets, all codecs and budgets.

    Args:
        data: folder of the data sets.
        weights: of the network.
        count: pictures of each set.
    """
    ways = Ways(weights)
    return {
        name: _scored(list(rows(data, count)), ways)
        for name, rows in (("lol", lol_rows), ("sice", sice_rows))
    }


def _scored(rows: list[Row], ways: Ways) -> dict:
    """Return the scores by codec, budget and way; and of the ways without a codec's loss."""
    found = {"pictures": [name for name, *_ in rows], "without_loss": _without_loss(rows, ways)}
    for codec in CODECS:
        table = {}
        for _, pixels, reference in rows:
            for most, way, result in ways.results(pixels, codec):
                scored = table.setdefault(str(most), {}).setdefault(way, [])
                scored.append(result and _row(reference, *result))
        found[codec] = {
            most: {way: _summary(scored) for way, scored in each.items()}
            for most, each in table.items()
        }
    return found


def _without_loss(rows, ways):
    table = {"full": [], "half": []}
    for _, pixels, reference in rows:
        half = from_float(halve(pixels, 255), np.uint8)
        table["full"].append(_row(reference, ways.same(pixels), pixels.size))
        twice = ways.twice(half)[: pixels.shape[0], : pixels.shape[1]]
        table["half"].append(_row(reference, twice, half.size))
    return {way: _summary(scored) for way, scored in table.items()}


def _row(reference, output, size):
    reference, output = to_8_bit(reference), to_8_bit(output)
    found = {"psnr": scores.psnr(reference, output), "ssim": scores.ssim(reference, output)}
    return {"bytes": size, **{name: round(value, 4) for name, value in found.items()}}


def _summary(scored: list[dict | None]) -> dict | None:
    """Return means and each picture's scores; None where one does not fit."""
    if None in scored:
        return None
    return {"mean": report.mean_scores(scored), "images": scored}


def table(codec: str = "jpeg", path: Path = RECORD) -> str:
    """Return the scores of a codec as a table in Markdown.

    Args:
        codec: one of the record's.
        path: of the record.
    """
    found = json.loads(Path(path).read_text("utf-8"))["sets"]
    heads = [f"{name}: {_HEADS[way]}" for name in ("LoL", "SICE") for way in _ways(codec)]
    lines = [f"| bytes | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for most in BUDGETS:
        ways = [(name, way) for name in SETS for way in _ways(codec)]
        cells = [_cell(found[name][codec][str(most)][way]) for name, way in ways]
        lines.append(f"| {most:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ways(codec: str) -> list[str]:
    """Return the ways that are scored with a codec."""
    return [way for way in LABELS if way != CLASSICAL or codec == "jpeg"]


def _cell(found):
    return f"{found['mean']['psnr']:.2f} / {found['mean']['ssim']:.3f}" if found else "–"


def draw(path: Path = RECORD, codec: str = "jpeg") -> np.ndarray:
    """Return the chart of a record: PSNR above, SSIM below, a set a column.

    Args:
        path: of the record.
        codec: one of the record's.
    """
    found = json.loads(Path(path).read_text("utf-8"))["sets"]
    rows = []
    for score, label in (("psnr", "PSNR, dB"), ("ssim", "SSIM")):
        charts = [
            chart.draw(
                _lines(found[name][codec], score), f"kB of a {codec.upper()} ({title})", label
            )
            for name, title in SETS.items()
        ]
        rows.append(np.concatenate(charts, axis=1))
    return np.concatenate(rows, axis=0)


def _lines(found: dict, score: str) -> list[chart.Line]:
    lines = []
    for way, colour in COLOURS.items():
        if way not in found[str(BUDGETS[0])]:
            continue
        every = [found[str(most)][way] for most in BUDGETS]
        points = [(one["mean"]["bytes"] / 1000, one["mean"][score]) for one in every if one]
        if points:
            lines.append((LABELS[way], *zip(*points, strict=True), colour))
    return lines


def main(arguments: list) -> None:
    """Make the record if there is data; draw its chart and print its tables."""
    del arguments
    need_data("weights", "each")
    path = Path(common.OUTPUT.value or RECORD)
    if common.DATA.value:
        weights, count = common.WEIGHTS.value, COUNT.value
        made = {
            "command": command_line(__name__, "experiments.link"),
            "weights": weights,
            "seed": 0,
            "protocol": scores.PROTOCOL,
            "environment": environment(),
            "sets": record(Path(common.DATA.value), weights, count),
        }
        files.write_json(path, made)
    pictures.write(path.with_suffix(".png"), pictures.Picture(draw(path)))
    for codec in CODECS:
        print(f"{codec}\n\n{table(codec, path)}\n")


if __name__ == "__main__":
    run(main)
