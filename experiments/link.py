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
  PSNR on LoL's test pictures (experiments/table1).

The codec is the same for all: its best quality that fits. Where a picture does not fit at the
lowest, the row has no score.
"""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from experiments import brackets, chart, run
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report, scores
from neid_tf.inference import methods
from neid_tf.inference.unpack import Unpacking
from neid_tf.jobs import packing
from neid_tf.pictures.codecs import CODECS, largest_within
from neid_tf.pixels.resample import double, halve, pad_to_even
from neid_tf.pixels.samples import from_float, to_8_bit, to_float
from neid_tf.support import files
from neid_tf.support.environment import environment

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

Row = tuple[str, np.ndarray, np.ndarray]
"""A picture's name, its pixels and its reference's, uint8 H×W×3 each."""


def evenly(names: list, count: int) -> list:
    """Return so many of a list, evenly drawn; all where it has fewer."""
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def lol_rows(data: Path, count: int) -> Iterator[Row]:
    """Yield pictures of LoL's held-out scenes, with their references.

    Args:
        data: folder that has ``our485``.
        count: how many.
    """
    names = held_out.validation_names()
    held = [pair for pair in pair_files.find_pairs(data / "our485") if pair[0] in names]
    for name, *paths in evenly(held, count):
        low, high = (pictures.read(path).pixels for path in paths)
        yield name, low, high


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

    def results(self, pixels: np.ndarray, codec: str, most: int) -> dict[str, tuple | None]:
        """Return what each way gives, and the bytes sent; None where it does not fit.

        Args:
            pixels: uint8 H×W×3.
            codec: one of :data:`neid_tf.pictures.codecs.CODECS`.
            most: bytes.
        """
        half = from_float(halve(pad_to_even(pixels), 255), np.uint8)
        full, half = (_sent(image, codec, most) for image in (pixels, half))
        height, width = pixels.shape[:2]

        def made(sent: tuple | None, enhance: Callable) -> tuple | None:
            return sent and (enhance(sent[0])[:height, :width], sent[1])

        made_of = {"full": made(full, self.same), "half": made(half, self.twice)}
        made_of["packed"] = self._packed(pixels, packing.Settings(codec, most))
        made_of[CLASSICAL] = made(half, lambda image: self.classical(_enlarged(image)))
        return made_of

    def _packed(self, pixels, settings):
        try:
            content, _ = packing.pack(pictures.Picture(pixels), settings)
        except ValueError:
            return None
        received = pictures.decode("packed", content)
        return Unpacking(self.same, received.packing)(received.pixels), len(content)


def _sent(pixels: np.ndarray, codec: str, most: int) -> tuple[np.ndarray, int] | None:
    """Return pixels as they come out of a codec, and the bytes; None where they do not fit."""
    image = Image.fromarray(pixels)
    content = largest_within(lambda quality: CODECS[codec].encode(image, quality), most)
    if content is None:
        return None
    with Image.open(io.BytesIO(content)) as received:
        return np.asarray(received.convert("RGB")), len(content)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    return from_float(double(to_float(pixels)), np.uint8)


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
        for most in BUDGETS:
            table = {way: [] for way in LABELS}
            for _, pixels, reference in rows:
                for way, result in ways.results(pixels, codec, most).items():
                    table[way].append(result and _row(reference, *result))
            found.setdefault(codec, {})[str(most)] = {
                way: _summary(scored) for way, scored in table.items()
            }
    return found


def _without_loss(rows, ways):
    table = {"full": [], "half": []}
    for _, pixels, reference in rows:
        half = from_float(halve(pad_to_even(pixels), 255), np.uint8)
        table["full"].append(_row(reference, ways.same(pixels), pixels.size))
        twice = ways.twice(half)[: pixels.shape[0], : pixels.shape[1]]
        table["half"].append(_row(reference, twice, half.size))
    return {way: _summary(scored) for way, scored in table.items()}


def _row(reference, output, size):
    found = scores.score(reference, to_8_bit(output))
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
    lines = [f"| bytes | {' | '.join(f'{n}: {t}' for n, t in _heads())} |", "|---" * 9 + "|"]
    for most in BUDGETS:
        cells = [_cell(found[name][codec][str(most)][way]) for name in SETS for way in LABELS]
        lines.append(f"| {most:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _heads():
    short = ("full size, ×1", "halved, ×2", "packed", "classical")
    return [(name, text) for name in ("LoL", "SICE") for text in short]


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
    for colour, way in enumerate(LABELS):
        every = [found[str(most)][way] for most in BUDGETS]
        points = [(one["mean"]["bytes"] / 1000, one["mean"][score]) for one in every if one]
        if points:
            lines.append((LABELS[way], *zip(*points, strict=True), (1, 2, 3, 0)[colour]))
    return lines


def main(arguments: list) -> None:
    """Make the record if there is data; draw its chart and print its tables."""
    del arguments
    path = Path(common.OUTPUT.value or RECORD)
    if common.DATA.value:
        weights, count = common.WEIGHTS.value, COUNT.value
        options = [f"--{h.name}={h.value}" for h in (common.DATA, common.WEIGHTS, COUNT)]
        made = {
            "command": " ".join(["python -m experiments.link", *options]),
            "weights": weights,
            "seed": 0,
            "protocol": scores.PROTOCOL,
            "environment": environment(),
            "sets": record(Path(common.DATA.value), weights, count),
        }
        files.write_whole(path, (json.dumps(made, indent=1) + "\n").encode())
    pictures.write(path.with_suffix(".png"), pictures.Picture(draw(path)))
    for codec in CODECS:
        print(f"{codec}\n\n{table(codec, path)}\n")


if __name__ == "__main__":
    run(main)
