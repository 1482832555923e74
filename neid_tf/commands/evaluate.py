"""neid evaluate --data=DIR --output=report.json [--weights=NAME|PATH] [--method=neid|lime|…]

Scores a model, or a classical method, on pairs DIR/low/NAME.* and DIR/high/NAME.*: PSNR and
SSIM in RGB, SSIM on luminance, and PSNR after the output was scaled to the reference's mean
(which looks at the answer). Two controls are scored beside it: the input as it is, and the
reference halved and enlarged again, the ceiling of a half-size input.

Where DIR is a folder of pictures, without low/ and high/, what needs no reference is scored:
NIQE (lower is more natural), brightness and contrast.

--outputs=FOLDER scores the pictures of FOLDER, made by any program, in place of a method's:
one for each picture of DIR, of its name (before the extension) and its size.

An earlier report is replaced; any other file that is there already, and pictures of --save, only
with --overwrite.

Exit codes: 0 done; 1 failed; 2 wrong usage.
"""

import contextlib
import json
import os
from pathlib import Path

from absl import flags

from neid_tf import pictures
from neid_tf.commands import common, terminal
from neid_tf.data import held_out
from neid_tf.data import pairs as pair_files
from neid_tf.inference import methods
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError

_ONLY = common.define_path(
    "only",
    None,
    "Which pictures to score: 'lol' for 50 pictures of our485 in whole scenes, of which the "
    "package's weights have seen 35 (experiments/quality/by_picture.txt has the other 15), or a "
    "text file of names, one a line or with spaces between. (default: all)",
    kind="a name or a path",
)
_SAVE = common.define_path("save", None, "Folder to write the enhanced pictures to, as PNG.")
_OUTPUTS = common.define_path(
    "outputs", None, "Folder of enhanced pictures to score; no method runs then."
)
common.declare(__name__, common.DATA, common.OUTPUT, common.WEIGHTS, common.METHOD)
common.declare(__name__, common.PRECISION, common.OVERWRITE)


def main(arguments: list[str]) -> None:
    """Score and write the report."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    from neid_tf.evaluation import report, scores

    root, output = common.required(common.DATA), common.required(common.OUTPUT)
    _check_usage()
    paths = _chosen(root)
    _check_written(root, output, paths)
    rows = _rows(paths)
    scored = _made_elsewhere(rows, _OUTPUTS.value) if _OUTPUTS.value else rows
    alone = _is_folder_of_pictures(root)  # They are told of when they are read, too.
    smallest = 1 if alone else scores.SMALLEST
    report_file = terminal.report_once if alone else terminal.report
    pair_files.check_files(root, paths, smallest, report_file)
    terminal.report_passed_over(root, pair_files.passed_over(root))
    function = None if _OUTPUTS.value else terminal.with_notes_shown(methods.load(**_asked()))
    found = report.evaluate(scored, function, _SAVE.value, traced=_is_traced())
    found |= {"method": _described(), "data": str(root), "controls": report.controls(rows)}
    found |= {"command": " ".join(common.command_line("evaluate")), "environment": environment()}
    files.write_json(output, files.finite(found), indent=2)
    terminal.show(report.table(found))


def _asked():
    """Return what the flags ask of :func:`neid_tf.inference.methods.load`."""
    method, weights = common.METHOD.value, common.WEIGHTS.value
    runtime = methods.reference_runtime(weights, method)
    asked = {"method": method, "weights": weights, "runtime": runtime}
    return asked | {"precision": common.PRECISION.value}


def _is_traced():
    """Tell whether the method makes itself ready for each new size of picture."""
    asked = _asked()
    return asked["method"] not in methods.CLASSICAL and asked["runtime"] == "tensorflow"


def _check_usage():
    """Refuse flags that do not go together, and weights that can't be read."""
    if not _OUTPUTS.value:
        methods.check(**_asked())
    for holder in (common.METHOD, common.WEIGHTS, common.PRECISION, _SAVE):
        if _OUTPUTS.value and flags.FLAGS[holder.name].present:
            raise flags.ValidationError(f"--outputs does not go with --{holder.name}")


def _check_written(root, output, names):
    """Refuse to write a report or pictures over what is scored, or over what is there already."""
    folders = [*pair_files.folders(root), *filter(None, [_OUTPUTS.value])]
    inputs = [path for folder in folders for path in pair_files.find_pictures(folder).values()]
    inputs += [path for path in (_ONLY.value, common.WEIGHTS.value) if os.path.exists(path or "")]
    common.check_outputs([output], inputs, _is_report)
    if not _SAVE.value:
        return
    common.check_apart("save", _SAVE.value, folders, "the pictures that are scored")
    saved = [Path(_SAVE.value) / f"{name}.png" for name in names]
    common.check_outputs(saved, [*inputs, output])


def _is_report(path):
    """Tell whether a file is a report of this command."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return isinstance(found, dict) and {"protocol", "mean", "images"} <= set(found)
    return False


def _is_folder_of_pictures(root):
    """Tell whether the data are pictures without references."""
    folder = Path(root)
    return folder.is_dir() and not any((folder / side).exists() for side in ("low", "high"))


def _chosen(root):
    """Return the files of the pictures that --only names, by name: a picture, or a pair."""
    if _is_folder_of_pictures(root):
        found = {name: [path] for name, path in pair_files.find_pictures(root).items()}
    else:
        found = {name: sides for name, *sides in _pairs(root)}
    if not _ONLY.value:
        return found
    names = held_out.names_in(_ONLY.value, found)
    return {name: sides for name, sides in found.items() if name in names}


def _pairs(root):
    """Return the pairs that there are; what is wrong with any of them is told all at once."""
    from neid_tf.evaluation import scores

    try:
        return pair_files.find_pairs(root)
    except pair_files.DataError:
        return pair_files.check_pairs(root, scores.SMALLEST)


def _rows(paths):
    """Return rows that are read off files, as :func:`_chosen` gives them."""
    from neid_tf.evaluation.report import Rows

    def read(name):
        sides = paths[name]
        if len(sides) == 1:
            return _read(*sides), None
        return pair_files.load_pair(*sides)

    return Rows(tuple(paths), read)


def _read(path):
    """Return the pixels of a picture, which may be read several times."""
    return pictures.read_pixels(path, terminal.report_once)


def _made_elsewhere(rows, folder):
    """Return the rows with the pictures of a folder in place of those that they have."""
    from neid_tf.evaluation.report import Rows

    found = pair_files.find_pictures(folder)
    missing = [f"{folder}: no picture of {name}" for name in rows.names if name not in found]
    if missing:
        raise pair_files.DataError(folder, missing)
    pair_files.check_files(folder, {name: [found[name]] for name in rows.names})
    if not _ONLY.value:
        further = [path for name, path in found.items() if name not in rows.names]
        terminal.report_passed_over(folder, [*further, *pair_files.passed_over(folder)])

    def read(name):
        (picture, reference), output = rows.read(name), _read(found[name])
        if output.shape != picture.shape:
            sizes = [f"{p.shape[1]}×{p.shape[0]}" for p in (output, picture)]
            raise NeidError(f"{found[name]}: {sizes[0]}, but the picture {name} is {sizes[1]}")
        return output, reference

    return Rows(rows.names, read)


def _described():
    if _OUTPUTS.value:
        return {"name": "outputs", "folder": _OUTPUTS.value}
    method = common.METHOD.value
    weights = methods.weights_named(method, common.WEIGHTS.value)
    return {"name": method} | ({"weights": weights} if weights else {})
