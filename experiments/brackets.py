"""SICE's exposure brackets: scenes, their references, and which of them are held out.

A folder of scenes has a folder a scene, with the frames of one place at several exposures.
"""

import importlib.resources
from pathlib import Path

import cv2
import numpy as np

from neid_tf import pictures
from neid_tf.data.pairs import find_pictures
from neid_tf.support.errors import NeidError

NORMAL = 118.0
"""The mean brightness, of 255, that a well-exposed frame is nearest to."""
DARK = 90.0
"""Frames of a smaller mean, and darker than the scene's normal frame by 8, are dark."""


def held_out_scenes() -> frozenset:
    """Return the scenes of SICE that every training run of the project holds out."""
    text = (importlib.resources.files("neid_tf.data") / "sice_validation.txt").read_text("utf-8")
    lines = (line.partition("#")[0] for line in text.splitlines())
    return frozenset(name for line in lines for name in line.split())


def scenes(folder: Path, held_out: bool) -> dict:
    """Return the folders of the scenes that are held out, or of the others, by name.

    Args:
        folder: of SICE, with a folder a scene.
        held_out: whether those are returned that no training run has seen, or the others.

    Raises:
        ValueError: where there is none.
    """
    held = held_out_scenes()
    folder = Path(folder)
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    chosen = {path.name: path for path in found if (path.name in held) == held_out}
    if not chosen:
        raise NeidError(f"{folder}: no scene that is {'held out' if held_out else 'trained on'}")
    return chosen


def frames(scene: Path) -> list:
    """Return the frames of a scene, uint8 H×W×3, the darkest first."""
    found = [pictures.read(path).pixels for path in find_pictures(scene).values()]
    return sorted(found, key=np.mean)


def normal(bracket: list) -> np.ndarray:
    """Return the frame whose mean is nearest to that of a well-exposed picture."""
    return min(bracket, key=lambda frame: abs(frame.mean() - NORMAL))


def fused(bracket: list) -> np.ndarray:
    """Return the exposure fusion of a bracket (Mertens et al., 2007), uint8.

    Shadows come from the bright frames and highlights from the dark ones, as no single frame has
    both.
    """
    made = cv2.createMergeMertens().process([np.ascontiguousarray(frame) for frame in bracket])
    return np.rint(np.clip(made, 0.0, 1.0) * 255.0).astype(np.uint8)


def dark(bracket: list) -> list:
    """Return the frames that need light."""
    limit = min(DARK, normal(bracket).mean() - 8.0)
    return [frame for frame in bracket if frame.mean() < limit]
