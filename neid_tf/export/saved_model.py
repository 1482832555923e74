"""Writing a SavedModel, for TensorFlow Serving and whatever else loads TensorFlow's own format."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing
from pathlib import Path

import tensorflow as tf

from neid_tf.export import signature
from neid_tf.export.check import Comparison, checked_target, compare, trials
from neid_tf.inference import runtimes
from neid_tf.support.errors import NeidError

if typing.TYPE_CHECKING:
    from neid_tf.models import NEID


def to_saved_model(model: NEID, path: str | os.PathLike, overwrite: bool = False) -> Comparison:
    """Write a SavedModel that TensorFlow loads without Keras and without this package.

    Batch, height and width are free. Its signatures, all with values clipped to [0, 1]:

    =============== ============================== ===========================================
    signature       input                          output
    =============== ============================== ===========================================
    serving_default ``image`` float32 N×h×w×3      ``enhanced`` float32 N×2h×2w×3
    uint8           ``image`` uint8 N×h×w×3        ``enhanced`` uint8 N×2h×2w×3
    encoded         ``image_bytes``, N files:      ``enhanced_bytes``, N PNG files of 8 bits,
                    JPEG, PNG, BMP, GIF or WebP    each of its picture's own size
    refined         ``image``, and ``picture``     ``enhanced`` float32 N×2h×2w×3, with the
                    float32 N×2h×2w×3 that it was  details of ``picture``
                    made of by halving
    context         ``image``                      the context: what is read off whole
                                                   pictures, arrays of several names
    tile            ``image``, the context, and    ``enhanced`` as of ``serving_default``, under
                    ``box`` float32 N×4            that context
    refined_tile    what both take                 ``enhanced`` as of ``refined``, likewise
    =============== ============================== ===========================================

    ``encoded`` halves each picture first, as :func:`neid_tf.enhance` does at scale 1. It does not
    turn a picture as its EXIF block says, and drops alpha. Only a model with a refinement has
    ``refined`` and ``refined_tile``; its ``encoded`` refines. The last three are for pieces of a
    picture, and for what is to be as bright as another picture; ``box`` says where ``image`` lies
    in that one: top, left, height and width, as shares. ``tile`` and ``refined_tile`` take it where
    the tone is a grid of gains, and models that read nothing off whole pictures have none of them.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        path: the folder to write.
        overwrite: replace a SavedModel that is there.

    Returns:
        A :class:`Comparison` of all but ``uint8`` and ``encoded``.

    Raises:
        ValueError: for another model, or where the path is taken, or the export is wrong.
    """
    path = checked_target(model, path, overwrite, folder=True)
    with _new_folder(path) as folder:
        signatures = signature.signatures(model)
        try:
            tf.saved_model.save(signature.variables_holder(model), str(folder), signatures)
        except tf.errors.OpError as error:  # Such as a full disk.
            raise NeidError(f"{path}: {error.message.rpartition(';')[2].strip()}") from error
        return compare(model, runtimes.load(folder, "saved_model"), trials())


@contextlib.contextmanager
def _new_folder(path):
    """Give a temporary folder beside the path, which takes its place if nothing fails."""
    path = Path(os.path.realpath(path))  # What a link is to is replaced, not the link.
    path.parent.mkdir(parents=True, exist_ok=True)
    folder, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        yield folder
        if path.exists():
            path.rename(old)
        folder.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
