import json
import time

import keras
import numpy as np
import pytest
from keras import ops

from neid_tf import models
from neid_tf.data import augment, batches, pairs
from neid_tf.data.sampling import Sampling
from neid_tf.evaluation import report
from neid_tf.inference.enhance import Enhancement
from neid_tf.models import grid, pretrained
from neid_tf.support.errors import NeidError
from neid_tf.support.fields import unflatten
from neid_tf.training import TrainConfig, Trainer, board, callbacks, devices
from neid_tf.training import train as training
from tests import processes
from tests.conftest import picture, write_pairs

SMALL = {"filters": 4, "depth": 2}


def config(**fields):
    defaults = {"crop": 32, "batch_size": 4, "epochs": 3, "learning_rate": 1e-3}
    values = defaults | {"validate_every": 2, "panel_every": 2} | fields
    return unflatten(TrainConfig, values)


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    return pairs.load_pairs(write_pairs(tmp_path_factory.mktemp("pairs")))


def run(settings, loaded, workdir, model="neid_tone", **fields):
    held = loaded.select(lambda name: name == "6")
    rest = loaded.select(lambda name: name != "6")
    return training.train(settings, model, SMALL | fields, rest, held, workdir, ["neid", "train"])


def history(workdir):
    return [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def first_run(loaded, tmp_path_factory):
    """A run of three epochs with all terms, and its model."""
    workdir = tmp_path_factory.mktemp("first") / "run"
    settings = config(ema=0.9, structure_weight=0.1, clip_norm=1.0, weight_decay=1e-4)
    return workdir, run(settings, loaded, workdir)


def test_a_run_and_its_files(loaded, first_run):
    workdir, model = first_run
    rows = history(workdir)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    terms = {"huber", "colour", "structure", "detail", "tone"}
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row[term] for term in terms), rel=1e-4)
        assert row["images_per_second"] > 0
    assert ["validation_psnr" in row for row in rows] == [False, True, True]
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["keras"] == keras.__version__
    loaded_back = pretrained.load_pretrained(str(workdir / "last.npz"))
    x = loaded.low[0][None] / np.float32(255)
    np.testing.assert_allclose(loaded_back(x), model(x), atol=5e-3)
    card = loaded_back.card
    assert card["epochs_trained"] == 3
    assert card["validation"]["psnr"] == rows[-1]["validation_psnr"]
    assert card["settings"]["filters"] == 4


def test_a_smaller_epsilon_moves_weights_of_small_gradients():
    moved = []
    for epsilon in (1e-7, 1e-12):
        weight = keras.Variable(np.zeros(1, np.float32))
        optimizer = config(learning_rate=0.1, epsilon=epsilon).optimizer(1)
        optimizer.apply([ops.convert_to_tensor(np.float32([1e-9]))], [weight])
        moved.append(abs(float(np.asarray(weight)[0])))
    assert moved[0] < 0.01
    assert moved[1] == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("train", ["tone", "streams"])
def test_a_part_is_trained_alone(loaded, first_run, tmp_path, train):
    workdir, first = first_run
    settings = config(epochs=1, train=train, init=str(workdir / "last.npz"))
    second = run(settings, loaded, tmp_path / "second")
    terms = {"tone"} if train == "tone" else {"huber", "colour", "detail"}
    row = history(tmp_path / "second")[-1]
    assert terms <= set(row)
    assert not ({"tone", "huber"} - terms) & set(row)
    for layer in second.layers:
        if layer.trainable_weights:
            before = first.get_layer(layer.name).get_weights()
            same = all(
                np.allclose(a, b, atol=2e-3 * np.abs(a).max())
                for a, b in zip(before, layer.get_weights(), strict=True)
            )
            changes = layer.name.startswith("tone_") == (train == "tone")
            assert not (changes and same and layer.name in ("tone_head", "le_head")), layer.name
            assert changes or same, layer.name


def test_what_has_learned_nothing_is_not_kept(loaded, tmp_path):
    with pytest.raises(ValueError, match="--train=streams goes on from --train=tone: name weights"):
        run(config(train="streams"), loaded, tmp_path / "run")
    assert not (tmp_path / "run" / "settings.json").exists()


def test_a_tone_cannot_be_kept_where_there_is_none(loaded, tmp_path):
    with pytest.raises(ValueError, match="needs a model with a tone"):
        run(config(train="streams"), loaded, tmp_path / "run", "neid")
    with pytest.raises(ValueError, match="decom is a phase of a rival"):
        run(config(train="decom"), loaded, tmp_path / "other")


@pytest.mark.parametrize(
    ("weight", "model", "reason"),
    [
        ({"detail_weight": 0.5}, "le", "detail_weight=0.5 has no effect with a model without det"),
        ({"detail_weight": 0.5}, "unet", "detail_weight=0.5 has no effect"),
        ({"tone_weight": 2.0}, "neid", "tone_weight=2.0 has no effect with a model without tone"),
    ],
)
def test_a_term_has_a_weight_only_where_there_is_one(weight, model, reason):
    with pytest.raises(ValueError, match=reason):
        unflatten(TrainConfig, weight).check_model(models.model_config(model))
    unflatten(TrainConfig, weight).check_model(models.model_config("neid_tone"))
    nothing = dict.fromkeys(weight, 0.0)
    unflatten(TrainConfig, nothing).check_model(models.model_config(model))


@pytest.mark.parametrize(
    ("fields", "model", "reason"),
    [
        (
            {"train": "tone", "structure_weight": 5.0},
            "neid_tone",
            "structure_weight=5.0 has no",
        ),
        ({"train": "tone", "reconstruction": "mse"}, "neid_tone", "reconstruction=mse has no effe"),
        ({"train": "tone", "tone_weight": 0.0}, "neid_tone", "nothing to learn from"),
        ({"train": "streams", "tone_weight": 3.0}, "neid_tone", "no effect with --train=streams"),
        ({"smallest_view": 0.3}, "le", "smallest_view=0.3 has no effect with a model without a"),
        ({"smallest_view": 0.3, "train": "decom"}, "kind", "smallest_view=0.3 has no effect"),
    ],
)
def test_what_is_not_trained_has_no_settings(fields, model, reason):
    with pytest.raises(ValueError, match=reason):
        unflatten(TrainConfig, fields).check_model(models.model_config(model))


@pytest.mark.parametrize(("model", "least"), [("le", 64), ("unet", 32)])
def test_a_model_is_no_deeper_than_its_crops_are_large(model, least):
    deep = models.model_config(model, depth=5)
    unflatten(TrainConfig, {"crop": least}).check_model(deep)
    smaller = unflatten(TrainConfig, {"crop": 32})
    if least > 32:
        with pytest.raises(ValueError, match=f"--depth=5 needs --crop={least} at least"):
            smaller.check_model(deep)
    with pytest.raises(ValueError, match="--depth=6 needs"):
        smaller.check_model(models.model_config(model, depth=6))


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be at"):
        unflatten(TrainConfig, {"seed": seed})


def test_a_panel_of_8_and_16_bits():
    low, deep = picture(32, 32), picture(32, 32, 1).astype(np.uint16) * 257
    mixed = pairs.Pairs(("a", "b"), (low, low), (picture(32, 32), deep))
    shown = board.panel(models.build("le", **SMALL), mixed, 2)
    expected = picture(32, 32).astype(np.uint16) * 257
    np.testing.assert_array_equal(shown[:32, -32:], expected)
    np.testing.assert_array_equal(shown[-32:, -32:], deep)


def test_a_run_starts_from_weights(loaded, tmp_path):
    first, init = models.build("neid", initializer="he_normal", **SMALL), str(tmp_path / "w.npz")
    first = models.inference_model(first)
    pretrained.save(first, init)
    settings = config(epochs=1, learning_rate=0.0, init=init)
    second = run(settings, loaded, tmp_path / "second", "neid")
    x = loaded.low[0][None] / np.float32(255)
    np.testing.assert_allclose(second(x), first(x), atol=5e-3)
    with pytest.raises(pretrained.WeightsError, match="nowhere"):
        run(config(init="nowhere"), loaded, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def tensorboard_tags(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {tag: [e.step for e in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def test_tensorboard(first_run):
    tags = tensorboard_tags(first_run[0] / "tensorboard")
    assert tags["panel"] == [2, 3]
    for tag in ("huber", "colour", "detail", "tone", "learning_rate", "images_per_second"):
        assert tags[tag] == [1, 2, 3]
    assert tags["validation/psnr"] == tags["validation/ssim"] == [2, 3]


@pytest.mark.parametrize("model", ["unet", "le", "le_dr", "neid"])
def test_every_architecture_learns(loaded, tmp_path, model):
    fields = {"initializer": "he_normal"}
    settings = config(epochs=8, learning_rate=3e-3)
    run(settings, loaded, tmp_path / "run", model, **fields)
    rows = history(tmp_path / "run")
    assert rows[-1]["huber"] < 0.8 * rows[0]["huber"]


def weights_of(workdir):
    names = (workdir / "checkpoint.npz", workdir / "checkpoint_before.npz")
    with np.load(next(path for path in names if path.exists())) as file:
        return {name: file[name] for name in file.files}


EPOCHS = 10


def train_for(root, workdir):
    """Train in a process of its own."""
    settings = TrainConfig(
        sampling=Sampling(crop=32, batch_size=4),
        epochs=EPOCHS,
        ema=0.9,
        deterministic=True,
        boundaries="2,4",
        learning_rate=1e-3,
        validate_every=100,
    )
    nothing = pairs.Pairs((), (), ())
    training.train(settings, "neid_tone", SMALL, pairs.load_pairs(root), nothing, workdir)


def start(pairs_folder, workdir, name):
    output = pairs_folder.parent / f"{name}.log"
    return processes.Forked(output, train_for, pairs_folder, workdir)


def test_a_killed_run_ends_as_one_that_was_not(pairs_folder, tmp_path):
    whole = start(pairs_folder, tmp_path / "whole", "whole")
    killed = start(pairs_folder, tmp_path / "killed", "killed")
    log = tmp_path / "killed" / "history.jsonl"
    deadline = time.monotonic() + 300
    while not (log.exists() and len(log.read_text().splitlines()) >= 2):
        assert killed.is_running(), killed.output()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    whole.finish()
    done = int(weights_of(tmp_path / "killed")["epoch"])
    assert 1 <= done < EPOCHS
    output = start(pairs_folder, tmp_path / "killed", "again").finish()
    assert f"Epoch {done}/{EPOCHS}" not in output
    a, b = weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed")
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert [row["epoch"] for row in history(tmp_path / "killed")] == list(range(1, EPOCHS + 1))


def batch_of(loaded, **fields):
    sampling = Sampling(crop=32, batch_size=4, **fields)
    return next(iter(batches.training_dataset(loaded, sampling, 0, 1, thumbnail=True)))


def trainer(name="neid_tone", compile_fields=(), settings=None, **fields):
    keras.utils.set_random_seed(3)
    network = models.as_part(models.build(name, **(SMALL | fields)), "training")
    made = Trainer(network, config().objective)
    made.compile(optimizer=(settings or config()).optimizer(2), **dict(compile_fields))
    return made


def test_prepare_makes_inputs_and_targets_that_fit(loaded):
    low, inputs, targets = trainer().prepare(batch_of(loaded))
    assert low.shape == targets["le"].shape == (4, 32, 32, 3)
    assert inputs["image"].shape == (4, 16, 16, 3)
    assert inputs["thumbnail"].shape == targets["tone"].shape == (4, 128, 128, 3)
    halved = np.asarray(low).reshape(4, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(np.asarray(inputs["image"]) - halved).mean() < 0.01
    # Reference and input show the same place: dark where the other is dark.
    for a, b in zip(np.asarray(low), np.asarray(targets["le"]), strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


def told_by_place(size, start):
    """Return a picture that says where it is: red is the share of the rows, green of the columns.

    Its blue is what ``start`` adds.
    """
    rows, columns = (np.arange(n, dtype=np.float32)[:, None] / n for n in size)
    planes = np.broadcast_arrays(0.1 + 0.8 * rows, 0.1 + 0.8 * columns.T, np.float32(start))
    return np.rint(np.stack(planes, axis=-1) * 65535).astype(np.uint16)


def test_the_tone_of_a_crop_is_that_of_its_place(loaded):
    """Under all flips and turns, of what the thumbnail shows of pictures of any shape."""
    shown = tuple(told_by_place(size, 0.2) for size in ((48, 96), (80, 40), (33, 90)))
    told = pairs.Pairs(("a", "b", "c"), shown, shown)
    made, seen = trainer("neid_grid", filters=2, depth=1, refinement=2), set()
    for batch in batches.training_dataset(told, Sampling(crop=32, batch_size=32), 0, 3, True):
        low, inputs, _ = made.prepare(batch)
        # A grid whose gains are what the thumbnail shows there: of the rows more than the columns.
        cells = np.asarray(inputs["thumbnail"]).reshape(-1, 16, 8, 16, 8, 3).mean((2, 4))
        gains = np.repeat((2.0 * cells[..., :1] - cells[..., 1:2]), grid.BINS, axis=-1)
        values = np.zeros((len(gains), grid.PARAMETERS), np.float32)
        values[:, grid.GLOBAL :] = gains.reshape(len(gains), -1)
        values = grid.transposed(values, inputs["transposed"])
        found = np.asarray(grid.GridGain()([low, values, inputs["box"]]))
        expected = 2.0 * np.asarray(low)[..., 0] - np.asarray(low)[..., 1]
        error = np.abs(found - expected)
        assert error.max() < 0.09  # Half a cell at the border of what is seen.
        assert error.mean() < 0.02
        draws = (np.asarray(batch[name]).tolist() for name in ("flip", "turns", "mirror"))
        seen |= set(zip(*draws, strict=True))
    assert len(seen) == 16


def test_a_turned_crop_is_toned_as_the_crop_is(loaded):
    """The whole network: where the streams add nothing, its pictures turn as the crops do."""
    made = trainer("neid_grid", refinement=4)
    random = np.random.default_rng(0)
    for layer in made.network.layers:
        if layer.name == "tone_grid":
            layer.set_weights([random.normal(0.0, 0.3, w.shape) for w in layer.get_weights()])
        if layer.name in ("le_head", "refine_head"):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    upright = dict(batch_of(loaded)) | {"flip": np.zeros(4, bool), "turns": np.zeros(4, np.int32)}
    expected = made(upright)["outputs"]
    for flip in (False, True):
        draws = {"flip": np.full(4, flip), "turns": np.arange(4, dtype=np.int32)}
        found = made(upright | draws)["outputs"]
        for name in ("le", "refined"):
            turned = augment.flip_and_turn(expected[name], draws["flip"], draws["turns"])
            np.testing.assert_allclose(found[name], turned, atol=1e-4, err_msg=name)
    apart = expected["le"] - np.asarray(expected["le"]).mean((1, 2), keepdims=True)
    assert np.abs(apart).mean() > 0.02


@pytest.mark.parametrize("name", ["neid_tone", "neid_grid"])
@pytest.mark.parametrize("target", ["low", "reference", "toned"])
def test_detail_targets(loaded, target, name):
    made = trainer(name, detail_target=target)
    result = made(batch_of(loaded))
    dr = np.asarray(result["targets"]["dr"])
    low, _, targets = made.prepare(batch_of(loaded))
    if target == "toned":
        assert np.asarray(low).mean() * 1.5 < dr.mean()
    else:
        np.testing.assert_array_equal(dr, low if target == "low" else targets["le"])


@pytest.mark.parametrize(("name", "fields"), [("neid_tone", {"fusion": "all"}), ("neid_grid", {})])
def test_one_step_moves_every_weight(loaded, name, fields):
    made = trainer(name, {"run_eagerly": True}, **fields)
    before = [np.array(v) for v in made.network.trainable_variables]
    made.train_on_batch(batch_of(loaded))
    for old, new in zip(before, made.network.trainable_variables, strict=True):
        moved = np.abs(old - np.asarray(new)).max() > 0
        assert moved == ("tone_gray" not in new.path), new.path  # The pictures are in colour.


def test_xla_computes_the_same(loaded):
    losses = []
    for how in ({"run_eagerly": True}, {"jit_compile": True}):
        made = trainer("neid", how, depth=1, filters=2)
        losses.append(made.train_on_batch(batch_of(loaded), return_dict=True))
    for term, value in losses[0].items():
        assert losses[1][term] == pytest.approx(value, rel=1e-3), term


@pytest.mark.parametrize(
    ("names", "details", "policy"),
    [
        (["cpu:0"], {}, "mixed_bfloat16"),
        (["gpu:0", "gpu:1"], {"compute_capability": (7, 5)}, "mixed_float16"),
        (["gpu:0"], {"compute_capability": (8, 0)}, "mixed_bfloat16"),
        (["gpu:0"], {"compute_capability": (9, 0)}, "mixed_bfloat16"),
        (["gpu:0"], {}, "mixed_float16"),
    ],
)
def test_half_precision_is_float16_with_an_older_gpu_alone(names, details, policy, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(keras.distribution, "list_devices", lambda: names)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: names)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", {names[0]: details}.get)
    assert devices.policy(True) == policy
    assert devices.policy(False) == "float32"


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_mixed_precision_scales_the_loss(loaded, half):
    keras.mixed_precision.set_global_policy(f"mixed_{half}")
    try:
        made = trainer("neid", settings=config(mixed_precision=True, ema=0.5), depth=1)
        before = [np.array(v) for v in made.network.trainable_variables]
        made.train_on_batch(batch_of(loaded))
        with callbacks.averaged(made.network.trainable_variables, made.optimizer):
            averaged = [np.array(v) for v in made.network.trainable_variables]
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert isinstance(made.optimizer, keras.optimizers.LossScaleOptimizer)
    moved = [
        np.abs(a - np.asarray(b)).max()
        for a, b in zip(before, made.network.trainable_variables, strict=True)
    ]
    np.testing.assert_array_equal(averaged[0], made.network.trainable_variables[0])
    # Adam's first step is the learning rate, whatever the scale, if the scale is undone.
    assert max(moved) == pytest.approx(1e-3, rel=0.05)


def test_half_precision_trains_and_single_precision_validates(loaded, tmp_path, monkeypatch):
    made, make = [], Trainer
    monkeypatch.setattr(training, "Trainer", lambda *args: made.append(make(*args)) or made[-1])
    model = run(config(mixed_precision=True, epochs=2), loaded, tmp_path, "neid", depth=1)
    assert "float16" in made[0].network.get_layer("ff_squeeze").compute_dtype
    assert model.get_layer("ff_squeeze").compute_dtype == "float32"
    assert keras.mixed_precision.dtype_policy().name == "float32"
    held = loaded.select(lambda name: name == "6")
    scored = report.evaluate(held, Enhancement(model))
    assert history(tmp_path)[-1]["validation_psnr"] == scored["mean"]["psnr"]


def test_average_of_the_weights_is_what_is_kept(loaded):
    made = trainer("neid", {"run_eagerly": True}, config(ema=0.5), depth=1)
    for _ in range(3):
        made.train_on_batch(batch_of(loaded))
    last = made.network.get_weights()
    with callbacks.averaged(made.network.trainable_variables, made.optimizer):
        averaged = made.network.get_weights()
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(last, averaged, strict=True))
    for a, b in zip(last, made.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def rates(settings, epochs, steps=10):
    schedule = settings.rate(steps)
    return [float(schedule(epoch * steps)) for epoch in epochs]


def test_piecewise_schedule_is_the_papers():
    settings = TrainConfig()
    np.testing.assert_allclose(
        rates(settings, [0, 499.9, 501, 999, 1001, 1999]),
        [1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6],
        rtol=1e-5,
    )


def test_one_rate_where_there_are_no_boundaries():
    settings = TrainConfig(boundaries="", epochs=10)
    np.testing.assert_allclose(rates(settings, [0, 5, 10]), [1e-4] * 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"boundaries": "5,3"}, "boundaries are rising"),
        ({"boundaries": "-5"}, "boundaries are rising"),
        ({"boundaries": "five"}, "boundaries are rising"),
        ({"boundaries": "5", "schedule": "cosine"}, "boundaries=5 has no effect"),
        ({"warmup": 2.0, "schedule": "piecewise"}, "warmup=2.0 has no effect"),
        ({"warmup": 9.0, "epochs": 9, "schedule": "cosine"}, "shorter than 9 epochs"),
        ({"delta": 0.5, "reconstruction": "mse"}, "delta=0.5 has no effect"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        unflatten(TrainConfig, fields)


@pytest.mark.parametrize(
    ("cluster", "task", "chief"),
    [
        ({"worker": ["a", "b"]}, {"type": "worker", "index": 0}, True),
        ({"worker": ["a", "b"]}, {"type": "worker", "index": 1}, False),
        ({"worker": ["a", "b"]}, {"type": "worker", "index": "0"}, True),
        ({"chief": ["a"], "worker": ["b"]}, {"type": "chief", "index": 0}, True),
        ({"chief": ["a"], "worker": ["b"]}, {"type": "worker", "index": 0}, False),
    ],
)
def test_one_worker_is_the_chief(monkeypatch, cluster, task, chief):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert devices.is_chief("multiworker") == chief


@pytest.mark.parametrize("told", ["{", "[1]", '{"task": 3}', '{"task": {"index": "first"}}'])
def test_a_cluster_that_can_not_be_read_is_named(monkeypatch, told):
    monkeypatch.setenv("TF_CONFIG", told)
    with pytest.raises(NeidError, match=r"^TF_CONFIG tells no cluster and task in JSON"):
        devices.is_chief("multiworker")


def test_cosine_schedule():
    settings = config(schedule="cosine", epochs=100, warmup=10.0, learning_rate=1.0)
    np.testing.assert_allclose(rates(settings, [0, 5, 10, 55, 100]), [0, 0.5, 1, 0.5, 0], atol=0.01)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"crop": 33}, "crop must be even, not 33"),
        ({"schedule": "linear"}, "'linear'"),
        ({"boundaries": "5,x"}, "'5,x'"),
        ({"ema": 1.0}, "ema"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"clip_norm": float("inf")}, "clip_norm must be a finite number, not inf"),
        ({"learning_rate": "1e-4"}, "learning_rate must be a number, not '1e-4'"),
    ],
)
def test_bad_settings(fields, message):
    with pytest.raises(ValueError, match=message):
        config(**fields)
