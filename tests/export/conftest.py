"""What tests of exports share."""

import copy

import pytest


@pytest.fixture(scope="session")
def parts_by_model():
    """The converted parts of models by their identity, and the models, so that they stay."""
    return {}


@pytest.fixture
def converted_once(parts_by_model, monkeypatch):
    """Convert each model for ONNX once: its files differ in how the parts are put together."""
    onnx_files = pytest.importorskip("neid_tf.export.onnx")
    convert = onnx_files.parts

    def remembered(model):
        if id(model) not in parts_by_model:
            parts_by_model[id(model)] = model, convert(model)
        return copy.deepcopy(parts_by_model[id(model)][1])

    monkeypatch.setattr(onnx_files, "parts", remembered)
