"""What is in a workdir, and how a run goes on from it; on the smallest network there is."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from neid_tf.data import pairs
from neid_tf.models import VARIANTS, pretrained
from neid_tf.support.errors import NeidError
from neid_tf.support.fields import unflatten
from neid_tf.training import TrainConfig, callbacks, checkpoints, lock
from neid_tf.training.train import train
from neid_tf.training.workdir import Run
from tests.conftest import darkened, picture

SMALL = {"filters": 2, "depth": 1, "initializer": "he_normal"}


def of_seeds(*seeds):
    high = tuple(picture(32, 40, seed) for seed in seeds)
    return pairs.Pairs(tuple(map(str, seeds)), tuple(map(darkened, high)), high)


def run(workdir, training=None, validation=None, allow=False, **fields):
    values = {"crop": 32, "batch_size": 2, "epochs": 1, "validate_every": 5, "ema": 0.5} | fields
    config = unflatten(TrainConfig, values)
    training = of_seeds(1, 2) if training is None else training
    validation = pairs.Pairs((), (), ()) if validation is None else validation
    words = ["neid", "train", "--init=a folder/b.npz"]
    return train(config, "le", SMALL, training, validation, workdir, words, allow)


@pytest.fixture(scope="session")
def two_epochs(tmp_path_factory):
    """A run of two epochs, with the checkpoints of both."""
    workdir = tmp_path_factory.mktemp("run") / "two"
    run(workdir, epochs=2)
    return workdir


@pytest.fixture
def workdir(two_epochs, tmp_path):
    return shutil.copytree(two_epochs, tmp_path / "run")


def epochs(workdir):
    lines = (workdir / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def epoch_of(path):
    with np.load(path) as file:
        return int(file["epoch"])


def test_two_checkpoints_are_kept(workdir):
    assert epoch_of(workdir / "checkpoint.npz") == 2
    assert epoch_of(workdir / "checkpoint_before.npz") == 1
    with np.load(workdir / "checkpoint.npz") as file:
        names = set(file.files)
    assert {"weights/le_head/convolution/kernel", "optimizer/iteration", "epoch", "best"} <= names


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(workdir, capfd, damage):
    path = workdir / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-300] if damage is None else damage)
    run(workdir, epochs=2)
    captured = capfd.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "checkpoint" in line]
    assert f"{path}: not a readable checkpoint" in line
    assert line.endswith("going on from checkpoint_before.npz")
    assert "pickle" not in line
    assert f"{workdir}: going on after epoch 1 of 2" in captured.out
    assert epochs(workdir) == [1, 2]
    assert epoch_of(path) == 2
    # The damaged one is not put in the place of the sound one.
    assert epoch_of(workdir / "checkpoint_before.npz") == 1
    assert (workdir / "checkpoint_damaged.npz").exists()


def test_weights_without_a_checkpoint_are_not_written_over_by_another_run(workdir, capfd):
    for name in ("checkpoint.npz", "checkpoint_before.npz"):
        (workdir / name).unlink()
    before = (workdir / "last.npz").read_bytes(), epochs(workdir)
    with pytest.raises(NeidError, match="holds another run: seed was 0, is 9"):
        run(workdir, epochs=2, seed=9)
    with pytest.raises(NeidError, match="the data set is not the one that the run began with"):
        run(workdir, training=of_seeds(4), epochs=2)
    assert ((workdir / "last.npz").read_bytes(), epochs(workdir)) == before
    capfd.readouterr()
    run(workdir, epochs=2)
    assert f"{workdir}: there are weights of this run and no checkpoint" in capfd.readouterr().err
    assert epochs(workdir) == [1, 2]


def test_a_run_whose_fingerprints_are_gone_says_so(workdir, capfd):
    (workdir / "data.json").unlink()
    run(workdir, epochs=3)
    assert f"{workdir / 'data.json'}: is not there any more" in capfd.readouterr().err


def test_a_log_that_cannot_be_written_costs_no_checkpoint(workdir, monkeypatch):
    import tensorflow as tf

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "{{function_node f}} a; No space left")

    monkeypatch.setattr(tf.summary, "scalar", full)
    with pytest.raises(NeidError, match=r"tensorboard: can't be written: a; No space left$"):
        run(workdir, epochs=3)
    assert epoch_of(workdir / "checkpoint.npz") == 3


def test_two_damaged_checkpoints_are_named(workdir):
    for name in ("checkpoint.npz", "checkpoint_before.npz"):
        (workdir / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(NeidError) as caught:
        run(workdir, epochs=3)
    for name in ("checkpoint.npz", "checkpoint_before.npz"):
        assert f"{workdir / name}: not a readable checkpoint" in str(caught.value)
    assert epochs(workdir) == [1, 2]


def test_a_checkpoint_of_another_network_is_named(workdir):
    (workdir / "last.npz").unlink()  # It would tell.
    settings = json.loads((workdir / "settings.json").read_text()) | {"filters": 3}
    (workdir / "settings.json").write_text(json.dumps(settings))
    SMALL["filters"] = 3
    try:
        with pytest.raises(NeidError, match="not a checkpoint of this run"):
            run(workdir, epochs=3)
    finally:
        SMALL["filters"] = 2


def test_json_has_no_infinity_for_equal_pictures(tmp_path):
    made = Run(tmp_path, TrainConfig(), "le", SMALL, [])
    row = {"epoch": 3, "validation_psnr": float("inf"), "validation_ssim": 1.0}
    made.log(row)
    assert made.history() == [row | {"validation_psnr": None}]
    assert made.card(row)["validation"] == {"psnr": None, "ssim": 1.0}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="stands for a full disk")
def test_a_full_disk_is_named(tmp_path):
    made = Run(tmp_path, TrainConfig(), "le", SMALL, [])
    (tmp_path / "history.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"history\.jsonl"):
        made.log({"epoch": 3})


@pytest.mark.parametrize("text", ["", '{"epochs": 2, ', "[]", "\x00"])
def test_damaged_settings_are_named(workdir, text):
    (workdir / "settings.json").write_text(text)
    with pytest.raises(NeidError, match=re.escape(f"{workdir / 'settings.json'}: can't be read")):
        run(workdir, epochs=3)


def test_a_cut_last_line_of_the_history_is_dropped(workdir, capfd):
    path = workdir / "history.jsonl"
    path.write_bytes(path.read_bytes() + b'{"epoch": 3, "loss": 0.1')
    run(workdir, epochs=3)
    assert f"{path}: the last line was cut off" in capfd.readouterr().err
    assert epochs(workdir) == [1, 2, 3]


def test_a_whole_last_line_that_is_of_no_run_is_named(workdir):
    path = workdir / "history.jsonl"
    path.write_bytes(before := path.read_bytes() + b"my own notes\n")
    with pytest.raises(NeidError, match=r"history\.jsonl: line 3 can't be read"):
        run(workdir, epochs=3)
    assert path.read_bytes() == before


def test_a_damaged_line_of_the_history_is_named(workdir):
    path = workdir / "history.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0][:20], lines[1], ""]))
    with pytest.raises(NeidError, match=re.escape(f"{path}: line 1 can't be read")):
        run(workdir, epochs=3)


def test_rows_of_epochs_without_a_checkpoint_are_not_doubled(tmp_path, two_epochs):
    for name in ("settings.json", "history.jsonl"):
        shutil.copy(two_epochs / name, tmp_path)
    run(tmp_path, epochs=1)
    assert epochs(tmp_path) == [1]


def test_a_run_that_is_past_the_epochs_keeps_its_settings(workdir, capsys):
    before = (workdir / "settings.json").read_bytes()
    run(workdir, epochs=1)
    assert "all 2 epochs are done" in capsys.readouterr().out
    assert (workdir / "settings.json").read_bytes() == before


def test_a_finished_run_says_where_its_weights_are(workdir, capsys):
    before = (workdir / "checkpoint.npz").read_bytes()
    model = run(workdir, epochs=2)
    assert f"all 2 epochs are done; weights: {workdir / 'last.npz'}" in capsys.readouterr().out
    assert (workdir / "checkpoint.npz").read_bytes() == before
    x = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    kept = pretrained.load_pretrained(str(workdir / "last.npz"))
    np.testing.assert_allclose(model(x), kept(x), atol=5e-3)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_run_that_was_to_be_longer_leaves_weights_where_it_is_ended(workdir, capsys, damaged):
    last = workdir / "last.npz"
    before = pretrained.load_pretrained(str(last)).get_weights()
    last.unlink()
    if damaged:
        last.write_bytes(b"PK")
    log = (workdir / "history.jsonl").read_bytes()
    run(workdir, epochs=2)
    assert f"all 2 epochs are done; weights: {last}" in capsys.readouterr().out
    assert pretrained.card(last)["epochs_trained"] == 2
    for one, other in zip(pretrained.load_pretrained(str(last)).get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (workdir / "history.jsonl").read_bytes() == log


def test_a_run_goes_on_without_the_weights_it_started_from(workdir, tmp_path):
    start = tmp_path / "start.npz"
    shutil.copy(workdir / "last.npz", start)
    other = tmp_path / "other"
    run(other, init=str(start))
    start.unlink()
    run(other, init=str(start), epochs=2)
    run(other, epochs=3)
    assert json.loads((other / "settings.json").read_text())["init"] == str(start)
    with pytest.raises(NeidError, match="init was"):
        run(other, init="neid", epochs=4)


def test_more_epochs_of_a_cosine_schedule_are_refused_with_the_way_out(tmp_path):
    run(tmp_path, schedule="cosine")
    with pytest.raises(NeidError) as caught:
        run(tmp_path, schedule="cosine", epochs=2)
    assert "epochs was 1, is 2" in str(caught.value)
    assert f"--init={tmp_path / 'last.npz'}" in str(caught.value)


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (of_seeds(1, 2, 3), "training: 1 new ('3')"),
        (of_seeds(1), "training: 1 gone ('2')"),
        (pairs.Pairs(("1", "2"), of_seeds(1, 3).low, of_seeds(1, 3).high), "1 changed ('2')"),
    ],
)
def test_changed_data_are_refused_unless_allowed(workdir, training, told):
    with pytest.raises(NeidError) as caught:
        run(workdir, training=training, epochs=3)
    assert told in str(caught.value)
    assert "--allow_changed_data" in str(caught.value)
    assert epochs(workdir) == [1, 2]
    assert json.loads((workdir / "settings.json").read_text("utf-8"))["epochs"] == 2


def test_changed_data_can_be_allowed(workdir):
    run(workdir, training=of_seeds(1, 2, 3), epochs=3, allow=True)
    run(workdir, training=of_seeds(1, 2, 3), epochs=4)
    assert epochs(workdir) == [1, 2, 3, 4]
    with pytest.raises(NeidError, match="validation: 1 new"):
        run(workdir, training=of_seeds(1, 2, 3), validation=of_seeds(4), epochs=5)


def test_the_best_of_other_pictures_is_not_the_best_of_these(workdir, monkeypatch):
    best = workdir / "best.npz"
    run(workdir, validation=of_seeds(3), epochs=3, allow=True)
    before = pretrained.card(best)["epochs_trained"]
    monkeypatch.setattr(checkpoints, "restore", _with_a_high_score(checkpoints.restore))
    run(workdir, validation=of_seeds(3), epochs=4)
    assert pretrained.card(best)["epochs_trained"] == before
    with monkeypatch.context() as patch:
        patch.setattr(Run, "restore", None)  # It ends before there is a checkpoint.
        with pytest.raises(TypeError):
            run(workdir, validation=of_seeds(4), epochs=5, allow=True)
    run(workdir, validation=of_seeds(4), epochs=5)
    assert pretrained.card(best)["epochs_trained"] == 5
    run(workdir, validation=of_seeds(4), epochs=6)
    assert pretrained.card(best)["epochs_trained"] == 5


def _with_a_high_score(restore):
    def restored(*arguments):
        return restore(*arguments)[0], 1000.0

    return restored


def test_a_run_whose_settings_are_gone_is_not_gone_on_with(workdir):
    (workdir / "settings.json").unlink()
    gone = r"settings\.json: the settings of the run are not there.*init=.*/last\.npz"
    with pytest.raises(NeidError, match=gone):
        run(workdir, epochs=3)
    (workdir / "last.npz").unlink()
    with pytest.raises(NeidError, match=r"any more; give it another --workdir$"):
        run(workdir, epochs=3)
    assert epochs(workdir) == [1, 2]


def test_flags_are_saved_as_a_flagfile_takes_them(workdir):
    assert (workdir / "flags.txt").read_text() == "--init=a folder/b.npz\n"
    assert pretrained.card(str(workdir / "last.npz"))["command"] == (
        "neid train '--init=a folder/b.npz'"
    )


def test_a_setting_without_effect_may_have_been_another(workdir):
    """Earlier versions took --warmup with the piecewise schedule too."""
    path = workdir / "settings.json"
    settings = json.loads(path.read_text("utf-8"))
    assert (settings["schedule"], settings["warmup"]) == ("piecewise", 0.0)
    path.write_text(json.dumps(settings | {"warmup": 2.0}), "utf-8")
    run(workdir, epochs=3)
    assert epochs(workdir) == [1, 2, 3]


def test_a_default_that_is_spelled_out_is_the_same_run(workdir, monkeypatch, capsys):
    monkeypatch.setitem(SMALL, "mirrored", True)
    run(workdir, epochs=2)
    assert "all 2 epochs are done" in capsys.readouterr().out


def test_a_variant_that_has_changed_since_is_another_run(workdir, monkeypatch):
    monkeypatch.setitem(VARIANTS["le"], "initializer", "he_normal")
    monkeypatch.delitem(SMALL, "initializer")
    run(workdir, epochs=2)
    monkeypatch.setitem(VARIANTS["le"], "initializer", "normal")
    with pytest.raises(NeidError, match="initializer was he_normal, is normal"):
        run(workdir, epochs=2)


def test_another_run_in_the_same_folder_is_refused(workdir):
    with pytest.raises(NeidError, match=r"learning_rate was 0\.0001, is 0\.01"):
        run(workdir, epochs=3, learning_rate=1e-2)
    run(workdir, epochs=3)
    assert epochs(workdir) == [1, 2, 3]


def test_a_bad_loss_stops_the_run_and_keeps_the_checkpoint(workdir, monkeypatch):
    before = (workdir / "checkpoint.npz").read_bytes()

    def broken(y_true, y_pred):
        return 0.0 * y_pred[:, 0, 0, 0] / keras.ops.zeros(())

    monkeypatch.setattr("neid_tf.training.losses.colour", broken)
    with pytest.raises(callbacks.NonFiniteLoss, match="step 3: the loss term 'colour' is nan"):
        run(workdir, epochs=3)
    assert (workdir / "checkpoint.npz").read_bytes() == before


HOLDER = """
import sys, time, pathlib
from neid_tf.training import lock
with lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_training_at_a_time_until_its_death(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(NeidError, match=f"process {holder.pid} on "), lock.held(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(30)
    with lock.held(tmp_path), pytest.raises(NeidError), lock.held(tmp_path):
        pass
    with lock.held(tmp_path):
        pass


def test_one_training_at_a_time_where_there_is_no_fcntl(tmp_path, monkeypatch):
    """As on Windows, where others can't read what is locked."""
    locked = set()

    def locking(descriptor, mode, length):
        assert (mode, length) == (2, 1)
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if place in locked:
            raise OSError(36, "Resource deadlock avoided")
        locked.add(place)

    msvcrt = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    with lock.held(tmp_path):
        with pytest.raises(NeidError, match=f"process {os.getpid()} on "), lock.held(tmp_path):
            pass
        assert [at > (tmp_path / "lock").stat().st_size for _, at in locked] == [True]


def test_a_checkpoint_of_an_older_version_is_read(workdir, monkeypatch):
    path = workdir / "checkpoint.npz"
    with np.load(path) as file:
        arrays = dict(file)
    groups = {kind: [n for n in arrays if n.startswith(kind)] for kind in ("weights", "optimizer")}
    old = {f"n{i}": arrays[name] for i, name in enumerate(groups["weights"])}
    old |= {f"o{i}": arrays[name] for i, name in enumerate(groups["optimizer"])}
    np.savez(path, epoch=arrays["epoch"], best=arrays["best"], **old)
    (workdir / "checkpoint_before.npz").unlink()
    run(workdir, epochs=2)
    run(workdir, epochs=3)
    assert epochs(workdir) == [1, 2, 3]


def test_the_panel_shows_the_averaged_weights(tmp_path, monkeypatch):
    shown = []

    def panel(self, network, validation, epoch):
        shown.append([np.array(weight) for weight in network.weights])

    monkeypatch.setattr("neid_tf.training.board.Board.panel", panel)
    model = run(tmp_path, validation=of_seeds(3), epochs=2, panel_every=1, learning_rate=0.01)
    assert len(shown) == 2
    with np.load(tmp_path / "checkpoint.npz") as file:
        raw = file["weights/le_head/convolution/kernel"]
        averages = [value for name, value in file.items() if "average" in name]
    kernel = model.get_layer("le_head").get_weights()[0]
    assert any(np.array_equal(kernel, value) for value in averages)
    assert any(np.array_equal(kernel, value) for value in shown[-1])
    assert not any(np.array_equal(raw, value) for value in shown[-1] if value.shape == raw.shape)


def test_weights_that_cannot_be_kept_end_the_run(tmp_path):
    with pytest.raises(callbacks.DivergedError, match=r"epoch 1: .*/.* has a weight of size"):
        run(tmp_path, learning_rate=1e6, ema=0.0, clip_norm=1.0)
    assert not checkpoints.exist(tmp_path)
    assert not (tmp_path / "last.npz").exists()


@pytest.mark.parametrize(
    ("lift", "least", "told"), [(1.2, 0.26, True), (1.2, 0, False), (2, 0.26, False)]
)
def test_pairs_that_ask_for_little_light_are_told(tmp_path, capfd, lift, least, told):
    low = tuple(np.minimum(picture(128, 128, seed), 120) for seed in (1, 2))
    high = tuple(np.rint(pixels * lift).astype(np.uint8) for pixels in low)
    fields = {"filters": 2, "depth": 1, "refinement": 2}
    fields |= {"tone_least_lift": least, "tone_shade": 1.6 if least else 1.0}
    config = unflatten(TrainConfig, {"crop": 128, "batch_size": 2, "epochs": 1, "ema": 0.0})
    given, none = pairs.Pairs(("a", "b"), low, high), pairs.Pairs((), (), ())
    train(config, "neid_grid", fields, given, none, tmp_path)
    words = "2 of 2 pairs are brightened by a factor below 1.30"
    assert (words in capfd.readouterr().err) == told


def test_an_average_that_is_mostly_of_the_start_is_told(tmp_path, capfd):
    run(tmp_path / "a", epochs=2, ema=0.99)
    told = "--ema=0.99: after 2 steps 98% of the weights that are kept are still the start's"
    assert told in capfd.readouterr().err
    run(tmp_path / "b", epochs=2, ema=0.2)
    assert "--ema" not in capfd.readouterr().err
