"""What each part of the tone for real pictures, and of what it learns from, brings, over two seeds.

    python -m experiments.real_pictures.ablate [--data=DIR] [--ablation_rows=whole,no_brackets]
        [--ablation_seeds=0,1] [--training_steps=800]

Prints the table of the records in experiments/real_pictures/ablation/. With --data it first makes
those that are not there: the tone alone is trained from fresh weights, in short runs, and scored on
thumbnails of held-out pictures, read off one side. --tone_records=FOLDER is another place for the
records.
"""

import json
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags

from experiments import brackets, cross_data, run
from experiments.real_pictures import batches, losses, store, trainers
from experiments.real_pictures import train as training
from experiments.real_pictures.pool import collect
from experiments.record import table as in_markdown
from neid_tf.commands import common
from neid_tf.data import augment
from neid_tf.data.batches import miniature
from neid_tf.data.held_out import validation_names
from neid_tf.models import grid, grid_reader
from neid_tf.models.layers import area_resize
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError

_ROWS = flags.DEFINE_list("ablation_rows", None, "The rows to make records of; all if left out.")
_SEEDS = flags.DEFINE_list("ablation_seeds", ["0", "1"], "The seeds of each row.")
RECORDS = Path(__file__).resolve().parent / "ablation"
_RECORDS = common.define_path("tone_records", str(RECORDS), "Folder of the records.")
COLOURS = slice(3, grid.EXPOSURE)


def without(*kinds: str) -> Callable[[dict], dict]:
    """Return a change of a store's table that leaves kinds out."""
    return lambda table: {kind: found for kind, found in table.items() if kind not in kinds}


def normal_only(table: dict) -> dict:
    """Let the frame of medium brightness be the only reference of dark frames, not the fusion."""
    return dict(table) | {"dark": [(low, high[1:]) for low, high in table["dark"]]}


def no_matrices(parameters: keras.KerasTensor) -> keras.KerasTensor:
    """Turn the colour matrices off."""
    kept = np.ones(grid.PARAMETERS, np.float32)
    kept[COLOURS] = 0.0
    return parameters * kept


def _averaged(parameters, axes):
    cells = keras.ops.reshape(parameters[:, grid.GLOBAL :], (-1, grid.SIDE, grid.SIDE, grid.BINS))
    cells = cells * 0.0 + keras.ops.mean(cells, axis=axes, keepdims=True)
    flat = keras.ops.reshape(cells, (-1, grid.SIDE * grid.SIDE * grid.BINS))
    return keras.ops.concatenate([parameters[:, : grid.GLOBAL], flat], axis=-1)


def same(value: Any) -> Any:
    """Return what is given."""
    return value


class Row(typing.NamedTuple):
    """The title of a row, how it changes table and parameters, how often it compresses."""

    title: str
    table: Callable[[dict], dict] = same
    parameters: Callable[[Any], Any] = same
    sent: tuple[float, float] = batches.SENT

    def of(self, whole: store.Store) -> types.SimpleNamespace:
        """Return what the row draws from a store."""
        kept = ("sizes", "first_halved", "compressed")
        fields = {name: getattr(whole, name) for name in kept}
        return types.SimpleNamespace(table=self.table(whole.table), **fields)


ROWS = {
    "whole": Row("the whole"),
    "no_brackets": Row("LoL alone: no frames of SICE as inputs", without("dark", "lit")),
    "no_fusion": Row("no fused bracket as reference", normal_only),
    "no_synthesis": Row(
        "no darkened pictures, none lit in part or from behind",
        without("dimmed", "night", "backlit"),
    ),
    "nothing_sent": Row("no picture compressed, as over a narrow link", sent=(0.0, 0.0)),
    "nothing_kept": Row(
        "no picture that comes back as it was, none dull",
        without("same", "photo", "key", "flat", "dull"),
    ),
    "no_matrices": Row("no colour matrices", parameters=no_matrices),
    "one_place": Row("a curve, not a grid", parameters=lambda p: _averaged(p, (1, 2))),
    "one_level": Row(
        "a gain for every place, no levels of brightness", parameters=lambda p: _averaged(p, 3)
    ),
}


def thumbnail(picture: np.ndarray, side: int) -> np.ndarray:
    """Return the mean of uint8 H×W×3 over side×side cells, float32 in [0, 1].

    Args:
        picture: uint8 H×W×3.
        side: rows and columns of cells.
    """
    made = area_resize(augment.to_float(miniature(picture)[None]), side)
    return np.asarray(made)[0]


def score(reader: keras.Model, rows: list) -> dict:
    """Score the tone on thumbnails.

    Args:
        reader: from thumbnails N×128×128×3 to the tone's parameters.
        rows: of (name, picture, reference), uint8 H×W×3.

    Returns:
        ``psnr`` in dB, and how far the mean brightness is off, ``off``, as a share.
    """
    found = []
    for _, picture, reference in rows:
        small, high = thumbnail(picture, 128)[None], thumbnail(reference, trainers.SIDE)
        halved = keras.ops.average_pool(small, (2, 2), (2, 2))
        made = losses.toned(halved, reader(small, training=False))
        made = np.clip(np.asarray(made)[0], 0.0, 1.0)
        error = max(float(np.mean((made - high) ** 2)), 1e-6)
        found.append((-10.0 * np.log10(error), abs(made.mean() / high.mean() - 1.0)))
    psnr, off = np.mean(found, axis=0)
    return {"psnr": round(float(psnr), 3), "off": round(float(off), 4)}


def held_out(data: Path) -> dict:
    """Return the held-out rows that there are, by set."""
    normal = cross_data.sice_rows(data / "sice", brackets.normal)
    fused = cross_data.sice_rows(data / "sice", brackets.fused)
    unchanged = {name.partition("/")[0]: high for name, _, high in normal}
    lol = cross_data.lol_rows(data, validation_names())
    return {
        "lol": lol,
        "lol_sent": [
            (name, cross_data.transmitted(picture, "JPEG", 80)[0], high)
            for name, picture, high in lol
        ],
        "sice_normal": normal,
        "sice_fused": fused,
        "sice_unchanged": [(name, high, high) for name, high in unchanged.items()],
    }


def train(held: store.Store, row: str, seed: int, steps: int) -> keras.Model:
    """Train the tone of a row from fresh weights; return it.

    Args:
        held: the samples of all kinds.
        row: one of :data:`ROWS`.
        seed: of weights and of draws.
        steps: of training.
    """
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((128, 128, 3))
    reader = keras.Model(inputs, ROWS[row].parameters(grid_reader.grid_parameters(inputs)))
    shares, sent = batches.SHARES["tone"], ROWS[row].sent
    drawn = batches.Batches(ROWS[row].of(held), 16, steps, seed, shares, sent=sent)
    training.fit(trainers.ToneTrainer(held, reader), drawn, 1e-3, lambda: None)
    return reader


def table(folder: Path = RECORDS) -> str:
    """Return the table of the records in Markdown: means, and gains on the whole, seed by seed."""
    records = [json.loads(path.read_text("utf-8")) for path in sorted(Path(folder).glob("*.json"))]
    base = {r["seed"]: r["sets"] for r in records if r["row"] == "whole"}
    names = ("lol", "lol_sent", "sice_normal", "sice_fused", "sice_unchanged")
    head = (
        "LoL",
        "halved, JPEG 80",
        "SICE, normal",
        "SICE, fused",
        "SICE's normal frames come back, mean off",
    )
    rows = [("", *head)]
    for row, (title, *_) in ROWS.items():
        found = [r for r in records if r["row"] == row and r["seed"] in base]
        cells = [_cell(found, base, name, row == "whole") for name in names] if found else []
        rows += [(title, *cells)] if found else []
    return in_markdown(*rows)


def _cell(found, base, name, whole):
    mean = np.mean([r["sets"][name]["psnr"] for r in found])
    gains = [r["sets"][name]["psnr"] - base[r["seed"]][name]["psnr"] for r in found]
    text = f"{mean:.2f}" + ("" if whole else f" ({', '.join(f'{gain:+.2f}' for gain in gains)})")
    if name != "sice_unchanged":
        return text
    return f"{text}, {100 * np.mean([r['sets'][name]['off'] for r in found]):.1f} %"


def make(data: Path, folder: Path, rows: list, seeds: list, steps: int) -> None:
    """Write the records that are not there yet.

    Args:
        data: folder of the data sets.
        folder: for the records.
        rows: of :data:`ROWS`.
        seeds: of each row.
        steps: of training.
    """
    wanted = [(row, seed) for seed in seeds for row in rows]
    missing = [pair for pair in wanted if not (folder / "{}-{}.json".format(*pair)).is_file()]
    if not missing:
        return
    held, scored = store.Store(collect(data), whole=False), held_out(data)
    for row, seed in missing:
        reader = train(held, row, seed, steps)
        report = {
            "row": row,
            "seed": seed,
            "steps": steps,
            "command": "python -m experiments.real_pictures.ablate --data=DIR "
            f"--ablation_rows={row} --ablation_seeds={seed} --training_steps={steps}",
            "environment": environment(),
            "sets": {name: score(reader, pictures) for name, pictures in scored.items()},
        }
        files.write_json(folder / f"{row}-{seed}.json", report)
        print(row, seed, report["sets"], flush=True)


def main(arguments: list) -> None:
    """Make what records are missing if there is data; print the table."""
    del arguments
    folder = Path(_RECORDS.value)
    rows = _ROWS.value or list(ROWS)
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise NeidError(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    if common.DATA.value:
        steps = flags.FLAGS["training_steps"]
        steps = steps.value if steps.present else 800
        make(Path(common.DATA.value), folder, rows, [int(seed) for seed in _SEEDS.value], steps)
    print(table(folder))


if __name__ == "__main__":
    run(main)
