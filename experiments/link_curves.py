"""Compare the curves that a picture may be lifted by before a codec, at equal bytes.

    python -m experiments.link_curves [--data=DIR] [--each=15]

Without --data it prints the table of the record experiments/link/curves.json, which it makes with
--data: pictures of LoL's and SICE's training scenes (``DIR/our485``, ``DIR/sice``), halved, lifted,
sent as JPEG, and enhanced at scale 2 by ``neid_s``; and SICE's frames of medium brightness, which
are to come back as they were. Held-out scenes take no part in the choice.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from experiments import brackets, need_data, run
from experiments.link import COUNT, RECORDS, evenly
from experiments.record import command_line
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report, scores
from neid_tf.inference import methods
from neid_tf.pictures.codecs import CODECS, largest_within
from neid_tf.pixels.curve import Curve
from neid_tf.pixels.resample import halve
from neid_tf.pixels.samples import from_float, to_8_bit
from neid_tf.support import files
from neid_tf.support.environment import environment

flags.declare_key_flag("data")
flags.declare_key_flag("each")
RECORD = RECORDS / "curves.json"
BUDGETS = (2000, 5000)
"""Bytes of a picture, of which a curve takes 210 for the metadata that undoes it."""
_METADATA = 210


class Log:
    """``y = log(1 + k·x) / log(1 + k)``, which brings the mean of a picture to a level."""

    def __init__(self, mean: float, level: float) -> None:
        candidates = np.geomspace(1e-3, 1e5, 400)
        lifted = np.log1p(candidates * mean) / np.log1p(candidates)
        self.k = float(candidates[np.argmin(np.abs(lifted - level))])

    def lifted(self, pixels: np.ndarray) -> np.ndarray:
        """As :meth:`neid_tf.pixels.curve.Curve.lifted`."""
        return np.log1p(self.k * pixels) / np.log1p(self.k)

    def undone(self, samples: np.ndarray) -> np.ndarray:
        """As :meth:`neid_tf.pixels.curve.Curve.undone`."""
        return from_float(np.expm1(samples / 255 * np.log1p(self.k)) / self.k, np.uint16)


def curves(pixels: np.ndarray) -> dict[str, object]:
    """Return the curves that are compared, chosen for a picture.

    Args:
        pixels: float H×W×3 in [0, 1].
    """
    gain, mean = max(1.0, 1.0 / max(float(pixels.max()), 1e-3)), float(pixels.mean())
    return {
        "none": Curve(),
        **{f"gamma {gamma:g}": Curve(1.0, gamma) for gamma in (1.5, 2.0, 3.0)},
        "gain": Curve(gain, 1.0),
        **{f"gain, gamma {gamma:g}": Curve(gain, gamma) for gamma in (1.5, 2.0, 2.5)},
        "gain, gamma 1 to 2 to a mean of 0.5": Curve.for_picture(pixels),
        "log to a mean of 0.35": Log(mean, 0.35),
    }


def training_rows(data: Path, count: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return pictures of training scenes with their references, by set; the bright are their own.

    Args:
        data: folder of the data sets.
        count: of each.
    """
    names = held_out.validation_names()
    pairs = [pair for pair in pair_files.find_pairs(data / "our485") if pair[0] not in names]
    lol = [[pictures.read(path).pixels for path in paths] for _, *paths in evenly(pairs, count)]
    sice, normal = [], []
    for scene in evenly(list(brackets.scenes(data / "sice", False).values()), count):
        bracket = brackets.frames(scene)
        if found := brackets.dark(bracket):
            sice.append((found[len(found) // 2], brackets.normal(bracket)))
        normal.append((brackets.normal(bracket),) * 2)
    return {"lol": lol, "sice": sice, "bright": normal}


def record(data: Path, count: int) -> dict:
    """Return the mean scores by set, budget and curve.

    Args:
        data: folder of the data sets.
        count: pictures of each set.
    """
    enlarge, found = methods.load("neid", "neid_s", scale=2, runtime="auto"), {}
    for name, rows in training_rows(data, count).items():
        for most in BUDGETS:
            scored = {}
            for low, reference in rows:
                half = halve(low, 255)
                for label, curve in curves(half).items():
                    bytes_left = most - (_METADATA if label != "none" else 0)
                    output = enlarge(_received(half, curve, bytes_left))
                    output = to_8_bit(output[: low.shape[0], : low.shape[1]])
                    scored.setdefault(label, []).append(scores.score(reference, output))
            means = {label: report.mean_scores(each) for label, each in scored.items()}
            found.setdefault(name, {})[str(most)] = means
    return found


def _received(half: np.ndarray, curve: Curve | Log, most: int) -> np.ndarray:
    """Return a halved picture as it comes out of a JPEG of at most so many bytes, uint16."""
    image = Image.fromarray(from_float(curve.lifted(half), np.uint8))
    encode: Callable = CODECS["jpeg"].encode
    content = largest_within(lambda quality: encode(image, quality), most) or encode(image, 1)
    with Image.open(io.BytesIO(content)) as received:
        return curve.undone(np.asarray(received))


def table(path: Path = RECORD) -> str:
    """Return the record as a table in Markdown: PSNR / SSIM / PSNR at the reference's brightness.

    Args:
        path: of the record.
    """
    found = json.loads(Path(path).read_text("utf-8"))["sets"]
    columns = [(name, most) for name in found for most in found[name]]
    names = {"lol": "LoL", "sice": "SICE", "bright": "SICE, bright"}
    heads = [f"{names[name]}, {int(most):,} bytes" for name, most in columns]
    lines = [f"| curve | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for label in found["lol"][str(BUDGETS[0])]:
        means = [found[name][most][label] for name, most in columns]
        cells = [f"{m['psnr']:.2f} / {m['ssim']:.3f} / {m['psnr_gt_mean']:.2f}" for m in means]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list) -> None:
    """Make the record if there is data; print its table."""
    del arguments
    need_data("each")
    if common.DATA.value:
        made = {
            "command": command_line(__name__, "experiments.link_curves"),
            "weights": "neid_s",
            "protocol": scores.PROTOCOL,
            "environment": environment(),
            "sets": record(Path(common.DATA.value), COUNT.value),
        }
        files.write_json(RECORD, made)
    print(table())


if __name__ == "__main__":
    run(main)
