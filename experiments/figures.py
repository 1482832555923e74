"""Draw the paper's figures 5 to 9 again, or the samples', one row of panels for each picture.

    python -m experiments.figures --figure=5 --data=data/lol/our485 --output=figures [--kind=FILE]

5: LoL (low/ and high/; the pictures of quality/by_picture.txt), 6: LIME, 7: NPE, 8: DICM (folders
of pictures), 9: MIT-Adobe FiveK (input/ and expertC/), samples: data/samples. Each row has the
paper's panels: the input, LIME, MF, Retinex-Net, GLAD, KinD where --kind names its weights, which
are not in the package, NEID, and the reference if there is one. OUTPUT gets figureN-1.png and so
on, --rows pictures each.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from experiments import run
from experiments.table1 import KIND
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.data.pairs import is_picture
from neid_tf.evaluation import crops, panels
from neid_tf.inference import methods
from neid_tf.models import pretrained
from neid_tf.support import keras_start
from neid_tf.support.errors import NeidError

UNSEEN = Path(__file__).resolve().parent / "quality" / "by_picture.txt"
"""LoL's pictures that no network of a row was trained on."""
SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"
FOLDERS = {"5": ("low", "high"), "9": ("input", "expertC"), "samples": ("low", "high")}

_FIGURE = flags.DEFINE_enum("figure", None, ["5", "6", "7", "8", "9", "samples"], "Which to draw.")
_ONLY = flags.DEFINE_list("pictures", [], "Names, without extension, of the pictures; else all.")
_ALSO = flags.DEFINE_list("also", [], "Further methods to show.")
_ROWS = flags.DEFINE_integer("rows", 4, "Pictures in one file.", lower_bound=1)
_FILES = flags.DEFINE_enum("files", "png", ["png", "jpg"], "Format of the files.")


def sources(figure: str, root: str | Path) -> list[tuple[str, Path, Path | None]]:
    """Return (name, picture's path, reference's path or None) of a figure's pictures.

    Args:
        figure: ``5`` to ``9``, or ``samples``.
        root: folder of its pictures.

    Raises:
        ValueError: where there are none.
    """
    sides = FOLDERS.get(figure, (".",))
    found = [_stems(Path(root) / side) for side in sides]
    names = sorted(found[0], key=lambda name: (len(name), name))
    if figure == "5":
        unseen = UNSEEN.read_text("utf-8").split()
        names = [name for name in names if name in unseen]
    missing = [name for name in names if name not in found[-1]]
    if missing or not names:
        raise NeidError(f"{root}: {'no reference of ' + missing[0] if missing else 'no pictures'}")
    return [(n, found[0][n], found[1][n] if len(sides) == 2 else None) for n in names]


def _stems(folder):
    return {file.stem: file for file in sorted(folder.iterdir()) if is_picture(file)}


def chosen(rows: list[tuple], names: Sequence[str]) -> list[tuple]:
    """Return the rows of these names, in their order; all where there are no names.

    Args:
        rows: as of :func:`sources`.
        names: of the rows to keep.
    """
    by_name = {row[0]: row for row in rows}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise NeidError(f"no picture {unknown[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names] or rows


def draw(row: tuple, functions: dict[str, Callable]) -> np.ndarray:
    """Draw one picture's panels in one row.

    Args:
        row: as of :func:`sources`.
        functions: the methods by name, each from a picture to an enhanced one.
    """
    name, path, reference_path = row
    low, reference = panels.read(path), None
    if reference_path is not None:
        reference = panels.read_reference(reference_path, path, low)
    shown = panels.compare(low, functions, reference)
    shown[0] = panels.Panel(f"{name}: {shown[0].label}", shown[0].pixels)
    guide = low if reference is None else reference
    return panels.figure(shown, crops.choose_crops(guide), columns=len(shown))


def write(
    figure: str, rows: list[tuple], functions: dict[str, Callable], output: str | Path
) -> None:
    """Draw the rows and write them, several to a file; print the files' names.

    Args:
        figure: as for :func:`sources`.
        rows: what :func:`sources` returned.
        functions: as for :func:`draw`.
        output: folder for the files.
    """
    Path(output).mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(rows), _ROWS.value), start=1):
        part = rows[start : start + _ROWS.value]
        drawn = [draw(row, functions) for row in part]
        stem = f"figure{figure}" if figure.isdecimal() else figure
        target = Path(output) / f"{stem}-{number}.{_FILES.value}"
        pictures.write(target, pictures.Picture(panels.stack(drawn)))
        print(target, *[row[0] for row in part])


def main(arguments: list[str]) -> None:
    """Read the flags and draw."""
    del arguments
    figure, output = common.required(_FIGURE), common.required(common.OUTPUT)
    samples = figure == "samples" and not common.DATA.value
    root = SAMPLES if samples else common.required(common.DATA)
    rows = chosen(sources(figure, root), _ONLY.value)
    keras_start.import_keras()
    learned = {name: name for name in pretrained.rivals()}
    learned |= {"kind": f"kind={KIND.value}"} if KIND.value else {}
    names = dict.fromkeys(["lime", "mf", *learned.values(), *_ALSO.value, "neid"])
    write(figure, rows, methods.load_all(list(names), common.WEIGHTS.value), output)


if __name__ == "__main__":
    run(main)
