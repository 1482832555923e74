"""A network whose convolutions compute in 8 bits, in ONNX Runtime: an experiment.

Static quantisation (QDQ), a scale for each output channel of the weights and one for each tensor
of features, by their smallest and largest value over the calibration pictures. The tone, the
convolutions that take or give a picture, and whatever is no convolution stay in float32.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from neid_tf import models
from neid_tf.export import onnx as export
from neid_tf.inference import runtimes
from neid_tf.inference.network import Network
from neid_tf.pixels.samples import to_float

PICTURE_CHANNELS = 24
"""Convolutions of so many channels or fewer, in or out, are near a picture, and stay in float32."""


class Int8(Network):
    """A model's tone in float32, and its streams and refinement in 8 bits.

    Args:
        model: a :class:`neid_tf.models.NEID`, part ``inference``.
        calibration: pairs of a batch, 1×h×w×3 float32 in [0, 1], and the picture that it was made
            of by halving, 1×2h×2w×3.
        threads: of the computing.
    """

    def __init__(
        self,
        model: models.NEID,
        calibration: Iterable[tuple[np.ndarray, np.ndarray]],
        threads: int = 1,
    ) -> None:
        self.scale, self.threads = model.config.scale, threads
        self.refines = bool(model.config.refinement)
        floats = export.parts(model)
        self._parts = {n: self._session(proto.SerializeToString()) for n, proto in floats.items()}
        feeds = [self._feeds(*pair) for pair in calibration]
        for name in floats.keys() - {"tone"}:
            content = quantised(floats[name], [feed[name] for feed in feeds])
            self._parts[name] = self._session(content)

    def _session(self, content):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = self.threads, 3
        return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])

    def _given(self, name, known):
        """Return what a part is given: what is known by name, or what stands for none."""
        given = {runtimes.BOX: np.float32([[0.0, 0.0, 1.0, 1.0]])} | known
        return {
            value.name: given[value.name]
            if value.name in given
            else np.full((1, *value.shape[1:]), np.nan, np.float32)
            for value in self._parts[name].get_inputs()
        }

    def _made(self, name, given):
        session = self._parts[name]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, given), strict=True))

    def _feeds(self, batch, picture):
        """Return what each part but the tone is given for a picture, by the part's name."""
        known = {runtimes.INPUT: batch}
        known |= self._made("tone", known)
        feeds = {"network": self._given("network", known)}
        if self.refines and picture is not None:
            known |= self._made("network", feeds["network"])
            known |= {runtimes.PICTURE: to_float(picture)}
            feeds["refiner"] = self._given("refiner", known)
        return feeds

    def _run(self, batch, context, box, picture):
        feeds = self._feeds(batch, picture)
        last = list(feeds)[-1]
        return self._made(last, feeds[last])[runtimes.OUTPUT]


def quantised(proto: Any, feeds: list[dict[str, np.ndarray]]) -> bytes:
    """Return an ONNX file with its inner convolutions in 8 bits.

    Args:
        proto: an ONNX model.
        feeds: its inputs by name, for the ranges of what is computed inside.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, made = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        plain.write_bytes(proto.SerializeToString())
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            made,
            _Feeds(feeds),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=["Conv", "MaxPool"],
            nodes_to_exclude=_near_pictures(ready),
        )
        return made.read_bytes()


def _near_pictures(path):
    import onnx

    graph = onnx.load(path).graph
    shapes = {array.name: list(array.dims) for array in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv"
        and min(shapes.get(node.input[1], [PICTURE_CHANNELS] * 2)[:2]) <= PICTURE_CHANNELS
    ]


class _Feeds:
    """Gives the calibration its inputs, one after the other."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
