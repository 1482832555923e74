"""Score weights and methods across data sets that no training run has seen; print one table.

    python -m experiments.cross_data [--data=DIR] [--weights=NAME|PATH] [--method=neid|lime|…]
        [--output=experiments/cross_data/NAME.json] [--sheet=FOLDER]

Without --data it prints the table of the records in experiments/cross_data/. With --data it
makes one record first, and prints those in its folder. DIR holds what there is of (data/README.md
says where to get them):

- ``our485/{low,high}``: LoL's training pairs. The 15 pictures of quality/by_picture.txt are scored,
  whose neighbours the package's weights were trained on, as for LoL's own test pictures: as they
  are, and sent over a narrow link: halved, stored as JPEG or WebP, enlarged by --scale=2.
- ``sice/SCENE/*``: exposure brackets. Of each of the 40 scenes held out the darkest and the
  median dark frame, against the frame of medium brightness and against the exposure fusion;
  and the frame of medium brightness as input, which is to come back as it was.
- ``fivek/{input,expertC}``: pictures of MIT-Adobe FiveK and an expert's version; and the expert's
  as inputs, which are to come back as they were.
- ``LIME``, ``NPE``, ``DICM``: pictures without reference: brightness, chroma, share of clipped
  pixels, how bright comes out what is black, from the file as it is and stored as JPEG of quality
  85, and NIQE, which was made for natural daylight pictures of 1 megapixel and more: it prefers
  grain and contrast, and says nothing of colour and exposure. Look at the pictures: --sheet writes
  them, each beside its input.

LoL-v2's test set is left out: 88 of its 100 inputs are training pictures of LoL. --method=input
scores the inputs themselves, and --method=half_and_back the reference halved and enlarged again.
"""

import io
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from experiments import brackets, need_data, run
from experiments.record import command_line, in_folder
from experiments.record import table as in_markdown
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import report, scores
from neid_tf.inference import methods
from neid_tf.pixels.resample import halve
from neid_tf.pixels.samples import luminance
from neid_tf.support import files
from neid_tf.support.environment import environment
from neid_tf.support.errors import NeidError

flags.declare_key_flag("data")
flags.declare_key_flag("weights")
flags.declare_key_flag("method")
flags.declare_key_flag("output")
_SHEET = common.define_path("sheet", None, "Folder for the pictures, each beside its input.")
_ONLY = flags.DEFINE_list("sets", None, "The sets to score, with commas; else all that are there.")
RECORDS = Path(__file__).resolve().parent / "cross_data"
BY_PICTURE = RECORDS.parent / "quality" / "by_picture.txt"
"""LoL's pictures that the package's weights have not seen, though others of their places."""
CODECS = (("JPEG", 95), ("JPEG", 80), ("JPEG", 50), ("JPEG", 20), ("WEBP", 80))
WITHOUT_REFERENCE = ("LIME", "NPE", "DICM")
CONTROLS = ("input", "half_and_back")
HEADINGS = (
    "",
    "LoL by picture: PSNR / SSIM / GT mean",
    "chroma",
    "SICE, normal frame",
    "SICE, fused",
    "FiveK",
    "comes back as it was: SSIM, brightness off (SICE; FiveK)",
    "JPEG 80",
)

Rows = Sequence[tuple]
"""What is scored: a name, a picture, and its reference where there is one."""


class Method:
    """A method by name, at scale 1 and, for weights, at scale 2.

    Args:
        name: ``neid``, a classical method, or one of :data:`CONTROLS`.
        weights: of a network.
    """

    def __init__(self, name: str, weights: str) -> None:
        self.name, self.needs_reference = name, name == "half_and_back"
        self.enhance, self.enlarge = (lambda pixels: pixels), None
        runtime = "auto" if name == "neid" else "tensorflow"
        if name not in CONTROLS:
            given = "" if name in methods.CLASSICAL else weights
            self.enhance = methods.load(name, given, runtime=runtime)
        if name == "neid":
            self.enlarge = methods.load(name, weights, scale=2, runtime=runtime)

    def __call__(self, pixels: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        """Return the enhanced picture, of the input's size."""
        return report.half_and_back(reference) if self.needs_reference else self.enhance(pixels)


def chroma(pixels: np.ndarray) -> float:
    """Return the mean of the largest less the smallest channel, of 255."""
    return float((pixels.max(axis=-1).astype(np.float32) - pixels.min(axis=-1)).mean())


def with_reference(rows: Rows, method: Method) -> dict:
    """Score rows of (name, picture, reference); chroma is relative to the reference's.

    Args:
        rows: (name, picture, reference), uint8 H×W×3 each.
        method: what is scored.
    """
    scored = []
    for name, picture, reference in rows:
        output = method(picture, reference)
        row = {"name": name} | scores.score(reference, output)
        row["chroma"] = chroma(output) / max(chroma(reference), 1.0)
        row["brightness"] = float(output.mean()) / max(float(reference.mean()), 1.0)
        scored.append(row)
    return summary(scored)


def unchanged(rows: Rows, method: Method) -> dict:
    """Score how far rows of (name, picture) come back as they were.

    Args:
        rows: (name, picture), uint8 H×W×3.
        method: what is scored.
    """
    scored = []
    for name, picture in rows:
        output = method(picture, picture)
        mean = float(output.mean()) / max(float(picture.mean()), 1.0)
        row = {"name": name, "ssim": scores.ssim(picture, output), "brightness": mean}
        scored.append(row | {"brightness_off": abs(mean - 1.0)})
    return summary(scored)


def without_reference(rows: Rows, method: Method) -> dict:
    """Describe what is made of rows of (name, picture).

    Args:
        rows: (name, picture), uint8 H×W×3.
        method: what is scored.
    """
    from neid_tf.evaluation import niqe

    scored = []
    for name, picture in rows:
        output = method(picture)
        row = {"name": name, "chroma": chroma(output), "chroma_of_input": chroma(picture)}
        row["clipped"] = float((output.max(axis=-1) == 255).mean())
        row |= black_in(picture, output, method)
        scored.append(row | niqe.score(luminance(output)))
    return summary(scored)


def black_in(picture: np.ndarray, output: np.ndarray, method: Method) -> dict:
    """Return how bright black comes out, of 255, also where a JPEG is enhanced.

    What is black has a blurred largest channel (a deviation of 6 pixels) below 6 of 255; None where
    that is under 2 % of the picture.

    Args:
        picture: uint8 H×W×3.
        output: what is made of it.
        method: what made it.
    """
    is_black = cv2.GaussianBlur(picture.max(axis=-1).astype(np.float32), (0, 0), 6.0) < 6.0
    if is_black.mean() < 0.02:
        return {"black": None, "black_sent": None}
    received, _ = stored(picture, "JPEG", 85)
    made = {"black": output, "black_sent": method(received)}
    return {name: float(pixels[is_black].max(axis=-1).mean()) for name, pixels in made.items()}


def sent(rows: Rows, method: Method) -> dict:
    """Score rows of (name, picture, reference) after each codec of the narrow link.

    Args:
        rows: (name, picture, reference), uint8 H×W×3 each.
        method: what is scored; it enlarges.
    """
    results = {}
    for codec, quality in (("PNG", None), *CODECS):
        scored = []
        for name, picture, reference in rows:
            received, size = transmitted(picture, codec, quality)
            output = method.enlarge(received)
            score = scores.score(reference, output)
            scored.append({"name": name, "bytes": size} | score)
        results[f"{codec} {quality}" if quality else codec] = summary(scored)
    return results


def transmitted(picture: np.ndarray, codec: str, quality: int | None) -> tuple:
    """Return the halved picture as it comes out of a codec, and the bytes it took.

    Args:
        picture: uint8 H×W×3.
        codec: ``PNG``, ``JPEG`` or ``WEBP``.
        quality: of the codec, 1 to 100; None for one that keeps all.
    """
    return stored(np.rint(halve(picture, 255) * 255).astype(np.uint8), codec, quality)


def stored(picture: np.ndarray, codec: str, quality: int | None) -> tuple:
    """Return a picture as it comes out of a codec, and the bytes it took; see above."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, codec, **({"quality": quality} if quality else {}))
    return np.asarray(Image.open(stream).convert("RGB")), stream.tell()


def summary(scored: list) -> dict:
    """Return the means of the scores, and the scores of each picture."""
    rounded = [{key: _rounded(value) for key, value in row.items()} for row in scored]
    return {"mean": report.mean_scores(scored), "images": rounded}


def _rounded(value):
    return round(value, 4) if isinstance(value, float) else value


def sice_rows(folder: Path, reference: Callable[[list], np.ndarray]) -> list:
    """Return two dark frames of every scene held out, with ``reference(bracket)``.

    Args:
        folder: of SICE's scenes.
        reference: from a bracket to its reference.
    """
    rows = []
    for name, scene in brackets.scenes(folder, held_out=True).items():
        bracket = brackets.frames(scene)
        found = brackets.dark(bracket)
        chosen = sorted({0, len(found) // 2}) if found else []
        rows += [(f"{name}/{index}", found[index], reference(bracket)) for index in chosen]
    return rows


def _normal_frames(folder: Path) -> list:
    held = brackets.scenes(folder, held_out=True)
    return [(name, brackets.normal(brackets.frames(scene))) for name, scene in held.items()]


def _pairs(low: Path, high: Path, names: Collection[str] | None = None) -> list:
    """Return name, picture and reference of each pair; of those of some names if they are told."""
    sides = [pair_files.find_pictures(side) for side in (low, high)]
    both = [name for name in sides[0] if name in sides[1] and (names is None or name in names)]
    if missing := sorted(set(names or ()) - set(both)):
        print(f"{low}: without {', '.join(missing)}, which are missing", file=sys.stderr)
    return [(name, *(pictures.read(side[name]).pixels for side in sides)) for name in both]


def lol_rows(data: Path, names: Collection[str] | None = None) -> list:
    """Return pairs of LoL that are held out: name, dark picture, reference.

    Args:
        data: folder of the data sets.
        names: which; those of :data:`BY_PICTURE` if left out.
    """
    names = BY_PICTURE.read_text("utf-8").split() if names is None else names
    return _pairs(data / "our485/low", data / "our485/high", names)


def fivek_rows(data: Path) -> list:
    """Return FiveK's pictures and an expert's version of them, with their names.

    Args:
        data: folder of the data sets.
    """
    return _pairs(data / "fivek/input", data / "fivek/expertC")


def rows_without_reference(data: Path, names: Collection[str] = WITHOUT_REFERENCE) -> list:
    """Return name and picture of those that have no reference.

    Args:
        data: folder of the data sets.
        names: of the sets that are meant, of which some may be missing.
    """
    folders = [data / name for name in names if (data / name).is_dir()]
    found = [item for folder in folders for item in pair_files.find_pictures(folder).items()]
    return [(name, pictures.read(path).pixels) for name, path in found]


def sets(data: Path, method: Method) -> dict:
    """Return a function that scores each set that is there, by name.

    Args:
        data: folder of the data sets.
        method: what is scored.
    """
    table = {}
    if (data / "our485").is_dir():
        table["lol"] = lambda: with_reference(lol_rows(data), method)
        if method.enlarge:
            table["sent"] = lambda: sent(lol_rows(data), method)
    if (sice := data / "sice").is_dir():
        for kind in (brackets.normal, brackets.fused):
            name = f"sice_{kind.__name__}"
            table[name] = lambda kind=kind: with_reference(sice_rows(sice, kind), method)
        table["sice_unchanged"] = lambda: unchanged(_normal_frames(sice), method)
    if (data / "fivek").is_dir():
        experts = lambda: [(name, high) for name, _, high in fivek_rows(data)]  # noqa: E731
        table["fivek"] = lambda: with_reference(fivek_rows(data), method)
        table["fivek_unchanged"] = lambda: unchanged(experts(), method)
    for name in WITHOUT_REFERENCE:
        if (data / name).is_dir() and not method.needs_reference:
            table[name] = lambda name=name: without_reference(
                rows_without_reference(data, [name]), method
            )
    return table


def record(data: Path, method: Method, only: list | None = None) -> dict:
    """Score a method on all sets that are there, or on some.

    Args:
        data: folder of the data sets.
        method: what is scored.
        only: names of the sets to score; None for all.
    """
    found = sets(Path(data), method)
    missing = sorted(set(only or ()) - set(found))
    if missing or not found:
        there = f"; there are {', '.join(found)}" if found else ""
        none = f"no set {missing[0]!r}{there}" if missing else "no data set"
        raise NeidError(f"{data}: {none}")
    return {name: score() for name, score in found.items() if not only or name in only}


def described(command: str, method: Method, made: dict) -> dict:
    """Return a record: the scores of sets, and what made them.

    Args:
        command: that the program was started with.
        method: what was scored.
        made: the scores, by set.
    """
    return {
        "command": command,
        "method": method.name,
        "weights": methods.weights_named(method.name, common.WEIGHTS.value),
        "seed": 0,
        "protocol": scores.PROTOCOL,
        "environment": environment(),
        "sets": made,
    }


def draw_sheets(
    data: Path, names: Sequence[str], method: Method, folder: Path, height: int = 240
) -> None:
    """Write the pictures without reference, each beside its input, a sheet a set.

    Args:
        data: folder of the data sets.
        names: of those of the sets that are there.
        method: what enhances the pictures.
        folder: for the sheets.
        height: of each row, in pixels.
    """
    for name in names:
        rows = []
        for _, picture in rows_without_reference(Path(data), [name]):
            pair = np.concatenate([picture, method(picture)], axis=1)
            width = round(pair.shape[1] * height / pair.shape[0])
            rows.append(cv2.resize(pair, (width, height), interpolation=cv2.INTER_AREA))
        widest = max(row.shape[1] for row in rows)
        rows = [np.pad(r, [(0, 0), (0, widest - r.shape[1]), (0, 0)]) for r in rows]
        pictures.write(Path(folder) / f"{name}.png", pictures.Picture(np.concatenate(rows)))


def table(records: Path = RECORDS) -> str:
    """Return the table of the records in Markdown."""
    rows = []
    for name, found in in_folder(records):
        cells = [
            _three(found, "lol"),
            _number(found, "lol", "chroma"),
            *(_three(found, kind) for kind in ("sice_normal", "sice_fused", "fivek")),
            "; ".join(_kept(found, kind) for kind in ("sice_unchanged", "fivek_unchanged")),
            _two(found.get("sent", {}), "JPEG 80"),
        ]
        rows.append([f"`{name}`", *cells])
    return in_markdown(HEADINGS, *rows)


def table_without_reference(records: Path = RECORDS) -> str:
    """Return the table of the pictures without reference, in Markdown."""
    names = ("LIME", "NPE", "DICM")
    rows = [("NIQE; chroma, of the input's; clipped; black, stored as JPEG", *names)]
    for record, found in in_folder(records):
        if set(names) <= set(found):
            rows.append((f"`{record}`", *(_alone_cell(found[name]["mean"]) for name in names)))
    return in_markdown(*rows)


def _alone_cell(mean):
    chroma = mean["chroma"] / mean["chroma_of_input"]
    black = [mean.get(name) for name in ("black", "black_sent")]
    told = "–" if None in black else f"{black[0]:.0f}, {black[1]:.0f}"
    return f"{mean['niqe']:.2f}; {chroma:.2f}; {100 * mean['clipped']:.1f} %; {told}"


def _mean(found, name):
    return found[name]["mean"] if name in found else None


def _number(found, name, score):
    mean = _mean(found, name)
    return f"{mean[score]:.2f}" if mean else "–"


def _two(found, name):
    mean = _mean(found, name)
    return f"{mean['psnr']:.2f} / {mean['ssim']:.3f}" if mean else "–"


def _three(found, name):
    mean = _mean(found, name)
    return f"{_two(found, name)} / {mean['psnr_gt_mean']:.2f}" if mean else "–"


def _kept(found, name):
    mean = _mean(found, name)
    return f"{mean['ssim']:.3f}, {100 * mean['brightness_off']:.1f} %" if mean else "–"


def main(arguments: list) -> None:
    """Make a record if there is data; print the table."""
    del arguments
    need_data("method", "weights", "output", "sheet", "sets")
    records = RECORDS
    if common.DATA.value:
        output = Path(common.required(common.OUTPUT))
        records = output.parent
        method = Method(common.METHOD.value, common.WEIGHTS.value)
        if _SHEET.value and method.needs_reference:
            raise NeidError(f"{method.name} needs a reference: nothing for --sheet to show")
        made = record(Path(common.DATA.value), method, _ONLY.value)
        command = command_line(__name__, "experiments.cross_data", ("output", "sheet"))
        files.write_json(output, described(command, method, made))
        if _SHEET.value:
            Path(_SHEET.value).mkdir(parents=True, exist_ok=True)
            names = [name for name in WITHOUT_REFERENCE if name in made]
            draw_sheets(Path(common.DATA.value), names, method, Path(_SHEET.value))
    print(table(records))


if __name__ == "__main__":
    run(main)
