"""The ONNX file of a model does large pictures in tiles, and may hold weights in half precision."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import neid_tf
from neid_tf import export, models
from neid_tf.inference import runtimes, tiles
from neid_tf.models import pretrained
from neid_tf.video import frames
from tests.conftest import darkened, picture
from tests.export.test_export import EXACT, MODELS, expected, lively
from tests.inference.test_enhance import ALL_THAT_REACHES

onnx_files = pytest.importorskip("neid_tf.export.onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
pytestmark = pytest.mark.usefixtures("converted_once")


@pytest.fixture(scope="module")
def toned():
    return lively("neid_tone", fusion="all")


@pytest.fixture
def runner(toned):
    return runtimes.Onnx(onnx_files.onnx_bytes(toned))


def large(height=150, width=330):
    return darkened(picture(height, width))[None] / np.float32(255)


@pytest.mark.parametrize(("name", "fields"), [*MODELS, ("unet", {})])
def test_tiles_are_those_of_the_keras_model(name, fields):
    model = lively(name, **fields)
    runner = runtimes.Onnx(onnx_files.onnx_bytes(model))
    assert (runner.scale, runner.step, runner.margin) == (model.config.scale, 4, 20)
    batch = large()
    made = tiles.Tiled(runner, tile=96)(batch)
    reference = np.clip(tiles.Tiled(model, tile=96)(batch), 0.0, 1.0)
    np.testing.assert_allclose(made, reference, atol=EXACT)


@pytest.mark.parametrize("refinement", [0, 4])
def test_shade_is_lifted_in_tiles_with_and_without_a_refinement(refinement):
    """By a fresh network, whose tone changes next to nothing."""
    halves = [np.full((1, 72, 144, 3), level, np.float32) for level in (0.9, 0.1)]
    batch = np.concatenate(halves, axis=1)
    batch += np.random.default_rng(0).normal(0.0, 0.01, batch.shape).astype(np.float32)
    networks = [
        models.inference_model(
            models.build("neid_grid", filters=4, refinement=refinement, tone_shade=most)
        )
        for most in (1.0, 1.6)
    ]
    networks[1].set_weights(networks[0].get_weights())
    plain, lifted = (np.asarray(model(batch)) for model in networks)
    assert 1.3 < lifted[:, 160:].mean() / plain[:, 160:].mean() < 1.6
    np.testing.assert_allclose(lifted[:, :128], plain[:, :128], atol=1e-3)
    runner = runtimes.Onnx(onnx_files.onnx_bytes(networks[1]))
    for made in (runner(batch), tiles.Tiled(runner, tile=96)(batch)):
        np.testing.assert_allclose(made, np.clip(lifted, 0.0, 1.0), atol=0.01)


def operators(graph):
    """Yield the operators of a graph and of those in it."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            yield from operators(attribute.g)


def test_an_enlargement_is_one_operator(toned):
    import onnx

    made = list(operators(onnx.load_from_string(onnx_files.onnx_bytes(toned)).graph))
    assert made.count("Resize") == toned.config.depth
    assert made.count("Tile") <= 1  # of the box of whole pictures


@pytest.mark.parametrize(("refinement", "kernels", "up_kernel"), [(4, 2, 1), (20, 1, 2)])
def test_the_refined_picture_passes_memory_few_times(refinement, kernels, up_kernel):
    import onnx

    model = lively("neid_grid", refinement=refinement, convolutions=1, up_kernel=up_kernel)
    content = onnx_files.onnx_bytes(model)
    graph = onnx.load_from_string(content).graph
    assert not {"SpaceToDepth", "DepthToSpace"} & set(operators(graph))
    (refined,) = _named(graph, "refined")
    weighed = [n for n in refined.node if n.op_type == "Conv" and "refine_conv1" in n.output[0]]
    assert len(weighed) == kernels  # What is joined, or each of what would be.
    batch, full = np.concatenate([large(40, 50)] * 2), np.concatenate([large(80, 100)] * 2)
    batch[1] /= 2
    made = runtimes.Onnx(content)(batch, full)
    reference = models.as_part(model, "refined").predict_on_batch({"image": batch, "picture": full})
    np.testing.assert_allclose(made, np.clip(reference, 0.0, 1.0), atol=EXACT)


def _named(graph, name):
    """Return the graphs of a name that are in another, or in those."""
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [one for one in inner if one.name == name] + [g for i in inner for g in _named(i, name)]


def test_tiles_given_the_context_make_the_whole_picture(runner, toned):
    batch = large()
    tiled = tiles.Tiled(runner, tile=96)
    tiled.margin = ALL_THAT_REACHES
    tiled.whole_context = lambda _: runner.read_context(batch)
    np.testing.assert_allclose(tiled(batch), expected(toned, batch), atol=EXACT)
    # Without it each tile would read its own.
    tiled.whole_context = lambda _: {}
    assert np.abs(tiled(batch) - expected(toned, batch)).max() > 10 * EXACT


def test_context_is_read_and_given(runner, toned):
    batch = np.concatenate([large(40, 50), large(40, 50)[:, ::-1] / 2])
    read = runner.read_context(batch)
    reference = models.as_part(toned, "context")(batch)
    assert set(read) == set(runner.context) == set(reference) == {"tone_parameters", "ff_squeeze"}
    for name, vector in read.items():
        np.testing.assert_allclose(vector, reference[name], atol=EXACT)
    swapped = {name: vector[::-1] for name, vector in read.items()}
    tile = models.as_part(toned, "tile")({"image": batch} | swapped)
    given = runner.run_with_context(batch, swapped)
    np.testing.assert_allclose(given, np.clip(tile, 0.0, 1.0), atol=EXACT)
    np.testing.assert_array_equal(runner.run_with_context(batch, {}), runner(batch))


def nodes_run(content, folder, wanted, **given):
    """Return the names of the nodes that ONNX Runtime computes for some outputs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    made = session.run(wanted, given)
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return made, {event["name"] for event in events if event.get("cat") == "Node"}


READING = [("neid", {}), ("neid_tone", {"fusion": "all"}), ("neid_grid", {"refinement": 4})]


@pytest.mark.parametrize(("name", "fields"), READING)
def test_reading_the_context_runs_the_encoder_alone(name, fields, tmp_path):
    model = lively(name, **fields)
    content, batch = onnx_files.onnx_bytes(model), large(40, 50)
    names = [*runtimes.Onnx(content).context, "enhanced"]
    pictures = {"image": batch} | ({"picture": large(80, 100)} if fields.get("refinement") else {})
    whole, for_whole = nodes_run(content, tmp_path, names, **pictures)
    read, for_read = nodes_run(content, tmp_path, names, context_only=np.array(True), **pictures)
    np.testing.assert_equal(read[:-1], whole[:-1])
    assert (whole[-1].shape, read[-1].shape) == ((1, 80, 100, 3), (0, 0, 0, 3))
    after = ["le_decoder1", "le_head"] + (["refine_conv1"] if fields.get("refinement") else [])
    for part in ("encoder1", *after):
        assert any(part in node for node in for_whole), part
        assert any(part in node for node in for_read) == (part == "encoder1"), part


def read_from_outside(graph):
    """Return the names that a graph inside another reads and does not make."""
    made = {tensor.name for tensor in graph.initializer}
    made |= {name for node in graph.node for name in node.output}
    read = {value.name for value in graph.output}
    for node in graph.node:
        read |= set(node.input)
        for attribute in node.attribute:
            read |= read_from_outside(attribute.g) if attribute.HasField("g") else set()
    return read - made - {""}


@pytest.mark.parametrize(("name", "fields"), READING)
def test_no_features_are_kept_while_a_branch_runs(name, fields):
    """What a branch reads from outside lasts as long as the branch: that is to be little."""
    onnx = pytest.importorskip("onnx")
    model = lively(name, **fields)
    graph = onnx.load_from_string(onnx_files.onnx_bytes(model, compact=True)).graph
    (choice,) = (node for node in graph.node if "context_only" in node.input)
    small = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    for attribute in choice.attribute:
        assert read_from_outside(attribute.g) <= small | set(model.graph.tone)


def test_weights_of_both_branches_are_stored_once():
    onnx = pytest.importorskip("onnx")
    model = lively("neid", filters=8)
    model.set_weights([w.astype(np.float16).astype(np.float32) for w in model.get_weights()])
    kernels = [w for w in model.get_weights() if w.size >= 256]
    graph = onnx.load_from_string(onnx_files.onnx_bytes(model, compact=True)).graph
    halved = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert len(halved) == len(kernels) > 8
    assert sum(np.prod(t.dims) for t in halved) == sum(w.size for w in kernels)
    runner, batch = runtimes.Onnx(onnx_files.onnx_bytes(model, compact=True)), large(40, 50)
    np.testing.assert_allclose(runner(batch), expected(model, batch), atol=EXACT)


@pytest.mark.parametrize(("name", "fields"), READING)
def test_a_file_from_before_gives_the_same(name, fields, monkeypatch):
    """Its graph computes all for any output."""
    model = lively(name, **fields)
    new = runtimes.Onnx(onnx_files.onnx_bytes(model))
    monkeypatch.setattr(onnx_files.onnx_graph, "skip_unless_enhancing", lambda *_: None)
    old = runtimes.Onnx(onnx_files.onnx_bytes(model))
    inputs = [[v.name for v in r._session.get_overridable_initializers()] for r in (old, new)]
    assert set(inputs[1]) - set(inputs[0]) == {"context_only"}
    batch, picture = large(40, 50), large(80, 100) if new.refines else None
    np.testing.assert_equal(old.read_context(batch), new.read_context(batch))
    np.testing.assert_array_equal(old(batch, picture), new(batch, picture))
    context = new.read_context(batch[:, ::-1] / 2)
    made = [run.run_with_context(batch, context, None, picture) for run in (old, new)]
    np.testing.assert_array_equal(*made)
    tiled = [tiles.Tiled(run, tile=32)(batch) for run in (old, new)]
    np.testing.assert_array_equal(*tiled)


@pytest.mark.parametrize("lost", ["context", "box", "picture"])
def test_an_export_that_drops_what_it_is_given_is_not_kept(lost, tmp_path, monkeypatch):
    model, run = lively("neid_grid", refinement=4), runtimes.Onnx._run
    usual = {"context": {}, "box": None, "picture": None}

    def forgetful(self, batch, *given):
        return run(self, batch, **dict(zip(usual, given, strict=True)) | {lost: usual[lost]})

    monkeypatch.setattr(runtimes.Onnx, "_run", forgetful)
    with pytest.raises(ValueError, match="off from the Keras model"):
        export.to_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_frames_of_a_video_are_averaged_as_with_the_keras_model(runner, toned):
    shown = [
        frames.Frame((factor * picture(40, 50)).astype(np.uint8), index, 1, index / 30)
        for index, factor in enumerate([1.0, 0.85, 0.95])
    ]
    made, reference = (np.stack(frames.Enhancer(m)(shown)) for m in (runner, toned))
    np.testing.assert_allclose(made.astype(int), reference, atol=1)
    alone = np.stack(frames.Enhancer(runner, smoothing=0)(shown))
    assert np.abs(alone.astype(int) - made).max() > 1


def test_half_precision_only_where_it_is_exact(toned):
    arrays = [weight.astype(np.float16).astype(np.float32) for weight in toned.get_weights()]
    halved = models.NEID(part="inference", **dataclasses.asdict(toned.config))
    halved.set_weights(arrays)
    full, compact = (onnx_files.onnx_bytes(halved, compact) for compact in (False, True))
    assert len(full) - len(compact) > 1.5 * sum(a.size for a in arrays if a.size >= 1000)
    batch = large(40, 50)
    np.testing.assert_array_equal(runtimes.Onnx(compact)(batch), runtimes.Onnx(full)(batch))
    inexact = onnx_files.onnx_bytes(toned, compact=True)
    np.testing.assert_allclose(runtimes.Onnx(inexact)(batch), expected(toned, batch), atol=EXACT)


@pytest.mark.parametrize("name", pretrained.names())
def test_packaged_file_makes_the_picture_of_the_packaged_weights(name):
    path, model = pretrained.onnx_file(name), neid_tf.load_pretrained(name)
    features = path.parent.parent / "backbone.npz"  # The weights' own file is without them.
    parts = (path.with_suffix(".npz"), features)
    assert path.stat().st_size < 1.3 * sum(part.stat().st_size for part in parts)
    runner, batch = runtimes.load(path), large(200, 300)
    assert np.abs(runner(batch) - expected(model, batch)).max() <= 1 / 255
    assert runner.step == 2**model.config.depth
    for key, vector in models.as_part(model, "context")(batch).items():
        np.testing.assert_allclose(runner.read_context(batch)[key], vector, atol=1e-3)
