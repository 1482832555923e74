"""Score what the sets of pairs do not hold: pictures as people have them; print one table.

    python -m experiments.in_use [--data=DIR] [--weights=NAME|PATH] [--method=neid|input|lime|…]
        [--output=experiments/in_use/NAME.json]

Without --data it prints the table of the records in experiments/in_use/. With --data it makes one
record first, and prints those in its folder. DIR is that of ``experiments.cross_data``, of which it
takes LoL's 15 pictures, FiveK's and the 40 scenes of SICE that are held out, and besides
``photographs``, what ``data/make_photographs.py`` writes, on which the package's weights were
trained:

- finished: photographs, of 300 pixels at most, are to come back as they were, those as well that
  are dark or bright on purpose;
- backlit: the frame of medium brightness of each scene of SICE against its exposure fusion, whose
  shade is lifted;
- over: over-exposed frames against the one of medium brightness;
- bars: LoL's and FiveK's pictures with bars and frames around them, as they are and stored as JPEG
  of quality 85, scored inside of those;
- camera: the frames of medium brightness of SICE and FiveK's expert pictures with three and four
  stops less light, as a camera takes them (``experiments.camera``) and stores them as JPEG of
  quality 95, scored at the reference's mean brightness;
- gray: LoL's, SICE's dark and FiveK's pictures without colour, against their references' luminance;
- turned: the same by 90, 180 and 270 degrees, with their colour;
- told: how bright LIME's, NPE's and DICM's pictures come out without colour, and with a fifth and a
  half of it, beside how bright they do as they are.
"""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from experiments import brackets, camera, cross_data, need_data, run
from experiments.record import command_line, in_folder
from experiments.record import table as in_markdown
from neid_tf import pictures
from neid_tf.commands import common
from neid_tf.data import pairs as pair_files
from neid_tf.evaluation import scores
from neid_tf.pixels.samples import as_gray, to_gray
from neid_tf.support import files
from neid_tf.support.errors import NeidError

flags.declare_key_flag("data")
flags.declare_key_flag("weights")
flags.declare_key_flag("method")
flags.declare_key_flag("output")
RECORDS = Path(__file__).resolve().parent / "in_use"
SIDE = 300
"""Pixels of a photograph's longer side."""
LEVELS = (0.2, 0.3, 0.4)
"""Mean brightness that photographs are told apart by."""
DARKER = 0.985
"""A picture of less than this share of its brightness came back darker."""
KINDS = ("none", "letterbox", "pillars", "white_frame", "white_line")
STOPS = (3, 4)
"""How much less light a camera is given."""
COLOUR = (0.0, 0.2, 0.5)
"""Shares of a picture's colour that are left to it."""
HEADINGS = (
    "",
    "finished photographs: brightness off, by mean brightness below .2, .3, .4, and above",
    "darker",
    "SICE's normal frame against the fusion",
    "over-exposed",
    *(f"LoL: {name}" for name in ("no bars", "letterbox", "pillars", "white frame", "white line")),
    "as JPEG 85: none, letterbox, white frame",
    "FiveK: none, letterbox, white frame",
    "by a camera, 3 and 4 stops less light, GT mean / SSIM: SICE",
    "FiveK",
    "without colour: LoL, SICE, FiveK",
    "turned: LoL, SICE, FiveK",
    "brightness without colour, a fifth and a half of it, to that with all: least, mean, most",
)


def finished(paths: Iterable[Path], method: cross_data.Method) -> dict:
    """Score how far photographs come back as they were, in classes of their mean brightness.

    Args:
        paths: of the photographs.
        method: what is scored.
    """
    rows = []
    for path in paths:
        pixels = pictures.read(path).pixels
        share = SIDE / max(pixels.shape[:2])
        if share < 1.0:
            pixels = cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        made = method(pixels, pixels)
        rows.append((float(pixels.mean() / 255), float(made.mean() / max(pixels.mean(), 1.0))))
    level, ratio = np.transpose(rows)
    classes, off = np.digitize(level, LEVELS), np.abs(ratio - 1.0)
    return {
        "pictures": [int((classes == index).sum()) for index in range(len(LEVELS) + 1)],
        "brightness_off": [
            float(off[classes == index].mean()) if (classes == index).any() else None
            for index in range(len(LEVELS) + 1)
        ],
        "darker": int((ratio < DARKER).sum()),
    }


def over_exposed(bracket: list) -> list:
    """Return the frames that are brighter than the scene's normal one, and bright."""
    limit = max(150.0, brackets.normal(bracket).mean() + 8.0)
    return [frame for frame in bracket if frame.mean() > limit]


def with_bars(pixels: np.ndarray, kind: str) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return a picture with bars around it, and where in that the picture is.

    Args:
        pixels: uint8 H×W×3.
        kind: one of :data:`KINDS`.
    """
    height, width = pixels.shape[:2]
    rows, columns, level = {
        "none": (0, 0, 0),
        "letterbox": (round(0.15 * height), 0, 0),
        "pillars": (0, round(0.3 * width), 0),
        "white_frame": (round(0.04 * height), round(0.04 * height), 255),
        "white_line": (1, 1, 255),
    }[kind]
    made = np.pad(pixels, [(rows, rows), (columns, columns), (0, 0)], constant_values=level)
    return made, (slice(rows, rows + height), slice(columns, columns + width))


def bars(rows: cross_data.Rows, method: cross_data.Method, kind: str, quality: int = 0) -> dict:
    """Score what is inside of bars.

    Args:
        rows: (name, picture, reference), uint8 H×W×3.
        method: what is scored.
        kind: of bars, one of :data:`KINDS`.
        quality: of the JPEG that the picture is stored as with its bars; 0 for none.
    """
    scored = []
    for name, picture, reference in rows:
        framed, place = with_bars(picture, kind)
        if quality:
            framed, _ = cross_data.stored(framed, "JPEG", quality)
        scored.append({"name": name} | scores.score(reference, method(framed, framed)[place]))
    return cross_data.summary(scored)


def by_camera(rows: list, method: cross_data.Method, stops: int) -> dict:
    """Score pictures that a camera takes with less light than there was.

    Args:
        rows: (name, picture under good light), uint8 H×W×3.
        method: what is scored.
        stops: by how many there is less light.
    """
    scored = []
    for seed, (name, picture) in enumerate(rows):
        dark, _ = cross_data.stored(camera.taken(picture, stops, seed), "JPEG", 95)
        scored.append({"name": name} | scores.score(picture, method(dark, picture)))
    return cross_data.summary(scored)


def gray(rows: cross_data.Rows, method: cross_data.Method) -> dict:
    """Score pictures without colour against the luminance of their references.

    Args:
        rows: (name, picture, reference), uint8 H×W×3.
        method: what is scored.
    """
    rows = [(name, as_gray(low.copy()), as_gray(high.copy())) for name, low, high in rows]
    return cross_data.with_reference(rows, method)


def turned(rows: cross_data.Rows, method: cross_data.Method) -> dict:
    """Score pictures that are turned by one, two and three quarters, as their references are.

    Args:
        rows: (name, picture, reference), uint8 H×W×3.
        method: what is scored.
    """
    made = (
        (f"{name}/{90 * quarters}", *(np.ascontiguousarray(np.rot90(p, quarters)) for p in pair))
        for name, *pair in rows
        for quarters in (1, 2, 3)
    )
    return cross_data.with_reference(made, method)


def told_without_colour(rows: list, method: cross_data.Method) -> dict:
    """Score how bright pictures with less colour come out, as a share of how they do with all.

    Args:
        rows: (name, picture), uint8 H×W×3.
        method: what is scored.
    """
    scored = []
    for name, picture in rows:
        bright = [_level(method(faded, faded)) for faded in _with_less_colour(picture)]
        level = max(_level(method(picture, picture)), 1.0)
        shares = zip(COLOUR, bright, strict=True)
        scored.append({"name": name} | {f"colour_{left}": made / level for left, made in shares})
    return cross_data.summary(scored)


def _with_less_colour(picture):
    gray = as_gray(picture.copy())
    return [cv2.addWeighted(picture, left, gray, 1.0 - left, 0.0) for left in COLOUR]


def _level(picture):
    return float(to_gray(picture).mean())


def sets(data: Path, method: cross_data.Method) -> dict:
    """Return a function that scores each set that is there, by name.

    Args:
        data: folder of the data sets.
        method: what is scored.

    Raises:
        NeidError: for a set that is there in part, before any is scored.
    """
    found = {}
    if (data / "photographs").is_dir():
        paths = pair_files.find_pictures(data / "photographs").values()
        found["finished"] = lambda: finished(paths, method)
    if (data / "sice").is_dir():
        scenes = brackets.scenes(data / "sice", held_out=True).items()
        found["backlit"] = lambda: cross_data.with_reference(_rows(scenes, _backlit), method)
        found["over"] = lambda: cross_data.with_reference(_rows(scenes, _over), method)
        for stops in STOPS:
            found[f"sice_camera_{stops}"] = functools.partial(_sice_camera, scenes, method, stops)
        for name, score in (("gray", gray), ("turned", turned)):
            found[f"sice_{name}"] = functools.partial(_sice_dark, data, method, score)
    if (data / "our485").is_dir():
        rows = cross_data.lol_rows(data)
        for kind in KINDS:
            found[f"lol_{kind}"] = functools.partial(bars, rows, method, kind)
        for kind in ("none", "letterbox", "white_frame"):
            found[f"lol_{kind}_jpeg"] = functools.partial(bars, rows, method, kind, 85)
        found["lol_gray"] = functools.partial(gray, rows, method)
        found["lol_turned"] = functools.partial(turned, rows, method)
    if (data / "fivek").is_dir():
        rows = cross_data.fivek_rows(data)
        for kind in ("none", "letterbox", "white_frame"):
            found[f"fivek_{kind}"] = functools.partial(bars, rows, method, kind)
        experts = [(name, reference) for name, _, reference in rows]
        for stops in STOPS:
            found[f"fivek_camera_{stops}"] = functools.partial(by_camera, experts, method, stops)
        found["fivek_gray"] = functools.partial(gray, rows, method)
        found["fivek_turned"] = functools.partial(turned, rows, method)
    if alone := cross_data.rows_without_reference(data):
        found["told"] = functools.partial(told_without_colour, alone, method)
    return found


def _sice_dark(data, method, score):
    return score(cross_data.sice_rows(data / "sice", brackets.normal), method)


def _sice_camera(scenes, method, stops):
    rows = [(name, brackets.normal(brackets.frames(scene))) for name, scene in scenes]
    return by_camera(rows, method, stops)


def _rows(scenes, chosen: Callable) -> list:
    rows = []
    for name, scene in scenes:
        bracket = brackets.frames(scene)
        pairs = chosen(bracket)
        rows += [(f"{name}/{index}", *pair) for index, pair in enumerate(pairs)]
    return rows


def _backlit(bracket):
    return [(brackets.normal(bracket), brackets.fused(bracket))]


def _over(bracket):
    return [(frame, brackets.normal(bracket)) for frame in over_exposed(bracket)]


def table(records: Path = RECORDS) -> str:
    """Return the table of the records in Markdown."""
    rows = []
    for name, found in in_folder(records):
        means = {key: told.get("mean", {}).get("psnr") for key, told in found.items()}
        shown = {key: "–" if mean is None else f"{mean:.2f}" for key, mean in means.items()}
        cell = lambda *keys, shown=shown: ", ".join(shown.get(key, "–") for key in keys)  # noqa: E731
        told = found.get("finished")
        off = [f"{100 * share:.1f} %" if share is not None else "–" for share in _off(told)]
        rows.append(
            (
                f"`{name}`",
                ", ".join(off),
                told["darker"] if told else "–",
                cell("backlit"),
                cell("over"),
                *(cell(f"lol_{kind}") for kind in KINDS),
                cell("lol_none_jpeg", "lol_letterbox_jpeg", "lol_white_frame_jpeg"),
                cell("fivek_none", "fivek_letterbox", "fivek_white_frame"),
                *(_camera_cell(found, name) for name in ("sice", "fivek")),
                cell("lol_gray", "sice_gray", "fivek_gray"),
                cell("lol_turned", "sice_turned", "fivek_turned"),
                _told_cell(found.get("told")),
            )
        )
    return in_markdown(HEADINGS, *rows)


def _camera_cell(found, name):
    told = [found.get(f"{name}_camera_{stops}", {}).get("mean") for stops in STOPS]
    return ", ".join(f"{t['psnr_gt_mean']:.2f} / {t['ssim']:.3f}" if t else "–" for t in told)


def _told_cell(told):
    shares = [[row[f"colour_{left}"] for row in told["images"]] for left in COLOUR] if told else []
    return "; ".join(f"{min(s):.2f}, {np.mean(s):.2f}, {max(s):.2f}" for s in shares) or "–"


def _off(told):
    return told["brightness_off"] if told else [None] * (len(LEVELS) + 1)


def main(arguments: list) -> None:
    """Make a record if there is data; print the table."""
    del arguments
    need_data("method", "weights", "output")
    records = RECORDS
    if common.DATA.value:
        output, data = Path(common.required(common.OUTPUT)), Path(common.DATA.value)
        records = output.parent
        method = cross_data.Method(common.METHOD.value, common.WEIGHTS.value)
        if method.needs_reference:
            raise NeidError(f"{method.name} needs a reference")
        if not (found := sets(data, method)):
            raise NeidError(f"{data}: no data set")
        made = {name: score() for name, score in found.items()}
        command = command_line(__name__, "experiments.in_use")
        files.write_json(output, cross_data.described(command, method, made))
    print(table(records))


if __name__ == "__main__":
    run(main)
