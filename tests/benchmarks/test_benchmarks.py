"""The benchmark's measurements on tiny models and pictures: what they count, and their report."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from neid_tf import export, models
from neid_tf.benchmarks import (
    cards,
    cold_start,
    costs,
    fresh_process,
    networks,
    plot,
    runtimes,
    sizes,
    text,
    timing,
    training,
    whole,
)
from neid_tf.data.sampling import Sampling
from neid_tf.models import pretrained
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import MissingLibraryError
from neid_tf.training.config import TrainConfig
from tests import processes
from tests.conftest import darkened, picture, write


def test_functions_are_timed_in_turns():
    called = []
    functions = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = timing.interleaved(functions, runs=3, warmup=1)
    assert "".join(called) == "ab" * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert timing.spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert timing.ratios([2.0, 9.0], [1.0, 3.0]) == {"min": 2.0, "median": 2.5, "max": 3.0}


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (1700, 1300)])
def test_scenes_are_dark_pictures(size):
    pixels = timing.scene(*size)
    assert (pixels.shape, pixels.dtype) == ((*size, 3), np.uint8)
    assert pixels.mean() < 60


def test_memory_counts_what_is_added_at_the_peak():
    memory = costs.Memory()
    if memory.added() is None:
        pytest.skip("no /proc here")
    ones = np.ones(64 * 2**20, np.uint8)
    del ones
    assert 60 * 2**20 < memory.added() < 256 * 2**20


def measured(what, *arguments):
    print(json.dumps(fresh_process.MEASUREMENTS[what](*map(str, arguments))))


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """Measure in processes that have TensorFlow loaded as they start."""

    def in_fork(*arguments):
        output = processes.Forked(tmp_path / "measured.txt", measured, *arguments).finish()
        return json.loads(output.splitlines()[-1])

    for module in (networks, sizes):
        monkeypatch.setattr(module, "in_fresh_process", in_fork)


@pytest.mark.usefixtures("forked")
def test_neid_costs_less_than_unet():
    report = networks.against_unet(4, 2, 256, 384, runs=1)
    assert 0 < report["ratio"]["operations"] < 0.5
    assert report["neid"]["seconds"]["median"] > 0
    assert report["unet"]["peak_bytes"] is None or report["unet"]["peak_bytes"] > 1e6


def test_a_failed_measurement_gives_its_reason():
    with pytest.raises(NeidError, match=r"measuring picture onnx .*: none\.onnx: cannot be run"):
        fresh_process.in_fresh_process("picture", "onnx", "none.onnx", "a.jpg", "b.jpg")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a network that is soon compiled and converted."""
    from neid_tf import models
    from neid_tf.models import pretrained

    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    pretrained.save(models.inference_model(models.build("neid", filters=4, depth=2)), path)
    return path


@pytest.fixture(scope="module")
def found(weights):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    return runtimes.exports(str(weights), weights.parent, (32, 48))


def test_a_name_of_before_is_the_packaged_file_and_what_is_missing_is_named(monkeypatch, tmp_path):
    has = {"onnxruntime"}
    monkeypatch.setattr(runtimes, "_has", lambda *libraries: set(libraries) <= has)
    packaged = {"onnx": str(pretrained.onnx_file("neid"))}
    assert runtimes.exports("neid_m", tmp_path, (32, 48)) == packaged
    with pytest.raises(MissingLibraryError, match="tensorflow"):
        runtimes.exports("x.npz", tmp_path, (32, 48))
    has.clear()
    with pytest.raises(MissingLibraryError, match="onnxruntime"):
        runtimes.exports("x.npz", tmp_path, (32, 48))


def test_runtimes_side_by_side(found):
    report = runtimes.warm(found, 32, 48, runs=1, threads=1, side=100)
    assert set(report["to_matmul"]) == {*found, "tensorflow_xla"}
    assert set(report["seconds"]) == {*found, "tensorflow_xla", "matmul"}
    assert report["largest_difference"]["tensorflow"] == 0.0
    assert max(report["largest_difference"].values()) < 1e-3
    assert report["fastest"] in report["to_matmul"]
    assert report["to_tensorflow"]["tensorflow"]["median"] == 1.0
    printed = text.table({"runtimes": report | {"auto": "onnx"}})
    assert "48×32, 1 threads" in printed
    assert "--runtime=auto takes onnx" in printed
    assert "left out: the share of a card's peak (no NVIDIA card is here)" in printed


def test_without_tensorflow_onnx_runtime_counts_the_work(found):
    from pathlib import Path

    from neid_tf.models import pretrained

    dark = {"image": runtimes.batch(32, 48)}
    work = costs.count_operations_of_onnx(Path(found["onnx"]).read_bytes(), dark)
    whole = costs.count_operations(pretrained.load_pretrained(found["tensorflow"]), 32, 48)
    assert 0.9 * whole < work <= whole
    report = runtimes.warm({"onnx": found["onnx"]}, 32, 48, runs=1, threads=1, side=100)
    rate = 1e9 * report["gigaflops"]["onnx"]["median"]
    assert rate * report["seconds"]["onnx"]["median"] == pytest.approx(work)
    assert set(report["to_matmul"]) == {"onnx"}


def test_what_a_card_computes_is_not_compared_with_the_cpus_product(monkeypatch):
    monkeypatch.setattr(cards, "name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(runtimes, "count_operations_of_onnx", lambda *_: 10**9)
    monkeypatch.setattr(runtimes.runtimes, "load", lambda *_: OnCard())
    report = runtimes.warm({"onnx": __file__}, 32, 48, runs=1, threads=1, side=10)
    assert (set(report["to_matmul"]), set(report["gigaflops"])) == (set(), {"onnx", "matmul"})
    share = report["share_of_the_peak"]["onnx"]["median"]
    assert share == pytest.approx(report["gigaflops"]["onnx"]["median"] / 67e3)
    printed = text.table({"runtimes": report | {"auto": "onnx"}})
    assert "of the peak of NVIDIA H100 80GB HBM3" in printed


def test_a_picture_in_memory_and_batches(found):
    report = fresh_process.latency("onnx", found["onnx"], "32", "48", "1,2", "1")
    assert set(report["batches"]) == {"1", "2"}
    assert set(report["repeated"]) == {"enhance", "1", "2"}
    assert report["enhance"]["median"] > 0
    assert (report["on_card"], report["notes"]) == (False, ())


def test_work_is_counted_by_operator():
    import keras

    image = keras.Input((None, None, 3), name="image")
    picture = keras.Input((None, None, 3), name="picture")
    wide = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    double = keras.layers.UpSampling2D()(keras.layers.ReLU()(wide))
    made = keras.layers.Conv2D(3, 1, use_bias=False)(double) + picture
    work = costs.count_work(keras.Model({"image": image, "picture": picture}, made), 10, 12)
    assert work.products == ((120, 8, 2.0 * 120 * 8 * 27), (480, 3, 2.0 * 480 * 3 * 8))
    numbers = 120 * 3 + 120 * 8 + 27 * 8 + 480 * 8 + 480 * 3 + 8 * 3
    assert work.numbers == numbers
    assert work.numbers_apart >= numbers + 2 * 120 * 8 + 120 * 8 + 480 * 8 + 3 * 480 * 3
    products = sum(cost for _, _, cost in work.products)
    assert products <= work.operations <= 1.1 * products


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L40", None),
        ("NVIDIA T400", None),
        (None, None),
    ],
)
def test_cards_are_known_by_their_names(name, known):
    assert cards.known(name) == (known and cards.CARDS[known])
    assert cards.CARDS["H100"].peak("bfloat16") == 989e12
    assert cards.CARDS["T4"].peak("tf32") == cards.CARDS["T4"].peak("float32") == 8.1e12


@pytest.mark.parametrize(
    ("script", "name"),
    [("echo NVIDIA L4; echo NVIDIA T4", "NVIDIA L4"), ("exit 9", None), (None, None)],
)
def test_the_card_of_the_machine_is_asked_for(script, name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    assert cards.name() == name


class OnCard:
    on_card = True

    def __call__(self, batch=None):
        return np.zeros((1, 64, 96, 3), np.float32)


def test_the_share_of_a_cards_peak_is_told_for_what_computes_on_it(monkeypatch):
    monkeypatch.setattr(cards, "name", lambda: "NVIDIA L4")
    monkeypatch.setattr(runtimes, "count_operations", lambda *_: 10**9)
    monkeypatch.setattr(runtimes, "_tensorflow_calls", lambda *_: {"tensorflow": OnCard()})
    monkeypatch.setattr(runtimes.pretrained, "load_pretrained", lambda _: None)
    monkeypatch.setattr(runtimes.runtimes, "load", lambda *_: OnCard())
    monkeypatch.setattr(runtimes, "batch", lambda *_: None)
    report = runtimes.warm({"tensorflow": "", "onnx": ""}, 32, 48, runs=3, threads=1, side=10)
    [share] = report["share_of_the_peak"].items()
    seconds = report["seconds"]["onnx"]["median"]
    assert share[0] == "onnx"  # TensorFlow is not on a card here.
    assert share[1]["median"] == pytest.approx(1e9 / seconds / 30.3e12)
    printed = text.table({"runtimes": report | {"auto": "onnx"}})
    assert "of the peak of NVIDIA L4" in printed
    monkeypatch.setattr(cards, "name", lambda: "NVIDIA T400")
    report = runtimes.warm({"tensorflow": "", "onnx": ""}, 32, 48, runs=1, threads=1, side=10)
    assert "share_of_the_peak" not in report
    printed = text.table({"runtimes": report | {"auto": "onnx"}})
    assert "left out: the share of a card's peak (NVIDIA T400)" in printed


def test_cold_starts(found):
    report = cold_start.measured(found, 64, 96, runs=1)
    assert set(report["seconds"]) == {*found, "--help"}
    printed = text.table({"cold_start": report})
    assert "neid enhance of one JPEG" in printed
    assert all(values["min"] > 0.01 for values in report["seconds"].values())
    assert set(report["to_the_picture"]) == {*found}
    for name, values in report["to_the_picture"].items():
        assert 0.01 < values["min"] <= report["seconds"][name]["min"]
        assert report["cpu_seconds"][name]["min"] > report["cpu_seconds"]["--help"]["min"] > 0
        assert f"to the picture {values['median']:.2f}" in printed


def test_a_start_that_fails_is_no_result(found):
    with pytest.raises(subprocess.CalledProcessError):
        cold_start.measured({"onnx": "nothing.onnx"}, 16, 16, runs=1)


def test_whole_programs_against_a_pass(found, monkeypatch, tmp_path):
    report = whole.measured({"onnx": found["onnx"]}, 0.02, 3, 64, 96, runs=2)
    parts = report["runtimes"]["onnx"]
    assert parts.keys() == {"pass_seconds", "picture", "video"}
    for kind, count in (("picture", 1), ("video", 3)):
        low, high = (parts[kind]["seconds"][key] / count for key in ("min", "max"))
        least, most = (parts[kind]["to_pass"][key] for key in ("min", "max"))
        assert low / parts["pass_seconds"]["max"] <= least <= most
        assert most <= high / parts["pass_seconds"]["min"]
    printed = text.table({"whole": report})
    assert "0.02 megapixels: " in printed
    for architecture in ("le", "unet"):  # Without a refinement; of a picture's own size.
        model = models.NEID("inference", architecture=architecture, filters=2, depth=1)
        export.to_onnx(model, tmp_path / f"{architecture}.onnx")
        given = {"onnx": str(tmp_path / f"{architecture}.onnx")}
        rows = whole.measured(given, 0.02, 1, 64, 96, runs=1)["runtimes"]
        assert rows["onnx"]["picture"]["to_pass"]["min"] > 0
    monkeypatch.setitem(sys.modules, "av", None)
    report = whole.measured({}, 0.02, 3, 64, 96, runs=1)
    assert "left out: video: a video needs" in text.table({"whole": report})


def test_the_command_measures_whole_programs(neid, found, monkeypatch, tmp_path, weights):
    monkeypatch.setattr(runtimes, "exports", lambda *_: {"onnx": found["onnx"]})
    code, out, err = neid(
        "benchmark",
        *["--sections=whole", f"--weights={weights}", "--runs=1", "--output_height=65"],
        *["--output_width=97", "--whole_megapixels=0.02", "--whole_frames=3"],
        f"--output={tmp_path / 'b.json'}",
    )
    assert code == 0, err
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["whole"]["size"] == [64, 96]
    assert report["whole"]["runtimes"]["onnx"].keys() == {"pass_seconds", "picture", "video"}
    assert "a frame of 96×64, of 3: " in out


def test_growth_and_its_plot(found):
    report = sizes.growth({"onnx": found["onnx"]}, largest=0.3, runs=1)
    assert [round(row["megapixels"], 1) for row in report["onnx"]] == [0.1, 0.3]
    assert all(row["seconds_per_megapixel"] > 0 for row in report["onnx"])
    assert "0.3" in text.table({"growth": report})
    with Image.open(io.BytesIO(plot.growth(report))) as image:
        assert image.size == plot.SIZE
        colours = {colour for _, colour in image.convert("RGB").getcolors(2**20)}
    assert plot._COLOURS[0] in colours
    unknown = {"onnx": [row | {"peak_bytes": None} for row in report["onnx"]]}
    assert plot.growth(unknown) != plot.growth(report)


def test_tiles_against_one_piece(found, tmp_path):
    path = write(tmp_path / "dark.png", darkened(picture(300, 420)))
    report = sizes.tiled_against_whole({"tensorflow": found["tensorflow"]}, path, tile=64)
    assert report["size"] == [300, 420]
    assert 0 <= report["tensorflow"]["mean"] <= report["tensorflow"]["largest"] < 30
    whole = sizes.tiled_against_whole({"tensorflow": found["tensorflow"]}, path, tile=1024)
    assert whole["tensorflow"] == {"mean": 0.0, "largest": 0.0}


def test_training_rates():
    settings = TrainConfig(sampling=Sampling(crop=32, batch_size=2))
    fields = {"filters": 2, "depth": 1, "initializer": "he_normal"}
    report = training.rates(settings, "neid", fields, 1, ("float32", "mixed"), steps=1)
    for name in ("float32", "mixed"):
        assert report["images_per_second"][name]["step"]["median"] > 0
        assert report["images_per_second"][name]["together"]["median"] > 0
        assert report["pipeline_to_step"][name]["median"] > 0
    assert report["step_to_float32"]["float32"]["median"] == 1.0
    assert "mixed" in text.table({"training": report})
    import keras

    assert keras.mixed_precision.dtype_policy().name == "float32"


@pytest.mark.usefixtures("forked")
def test_command_writes_its_report(neid, tmp_path, weights):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    code, out, err = neid(
        "benchmark",
        *[f"--output={tmp_path / 'b.json'}", f"--weights={weights}", "--runs=1"],
        *["--output_height=64", "--output_width=96", "--sections=growth,unet", "--largest=0.1"],
        *["--compared_filters=4", "--compared_depth=2", f"--plot={tmp_path / 'g.png'}"],
    )
    assert code == 0, err
    report = json.loads((tmp_path / "b.json").read_text())
    assert list(report) == ["environment", "unet", "growth", "command"]
    assert report["growth"].keys() == {"tensorflow", "onnx"}
    assert "--runs=1" in report["command"]
    assert "neid against unet" in out
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sections=speed"],
        ["--step_variants=int4"],
        ["--sections=unet", "--plot=x.png"],
        ["--sections=growth", "--tiled_picture=x.png"],
        ["--sections=growth", "--plot=x.svg"],
        ["--sections=unet", "--largest=1"],
        ["--sections=unet", "--whole_frames=3"],
        ["--sections=tiles", "--step_variants=xla"],
        ["--sections=tiles", "--compared_filters=8"],
        ["--sections=growth", "--threads=1"],
        ["--sections=training", "--output_height=64"],
        ["--sections=unet", "--weights=neid_s"],
    ],
)
def test_command_used_wrongly(neid, arguments):
    code, out, err = neid("benchmark", *arguments)
    assert (code, out) == (2, "")
    assert arguments[-1].partition("=")[0] in err


def test_what_fails_is_told_before_anything_is_measured(neid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neid_tf.support.keras_start.import_keras", None)
    write(tmp_path / "a.png", picture(8, 8))
    (tmp_path / "b.json").write_text("mine")
    for options, reason in (
        (["--output=.", "--sections=unet"], ".: is a folder"),
        (["--output=a.png/b.json", "--sections=unet"], "a.png is no folder"),
        (["--output=b.json", "--sections=unet"], "b.json: is there already; --overwrite"),
        (["--plot=a.png", "--sections=growth"], "a.png: is there already; --overwrite"),
        (["--output=c.png", "--plot=c.png", "--sections=growth"], "two outputs are this one file"),
        (["--output=a.png", "--tiled_picture=a.png", "--overwrite"], "the output is an input"),
        (["--tiled_picture=a.png"], "a.png: 8×8 is enhanced in one piece"),
        (["--tiled_picture=none.png"], "none.png: no such file"),
        (["--tiled_picture=b.json"], "b.json: not a picture"),
        (["--weights=none.npz"], "none.npz"),
    ):
        code, _, err = neid("benchmark", *options)
        assert (code, len(err.splitlines()), reason in err) == (1, 1, True), err
    assert (tmp_path / "b.json").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = neid("benchmark", "--sections=growth", f"--plot={tmp_path / 'g.png'}")
    assert code == 1
    assert "--plot needs matplotlib" in err


def test_what_was_measured_before_a_section_fails_is_written(neid, tmp_path, monkeypatch):
    def failing(_):
        raise NeidError("no more")

    made = {"growth": lambda _: {}, "tiles": failing}
    monkeypatch.setattr("neid_tf.commands.benchmark._MEASURES", made)
    monkeypatch.setattr(runtimes, "exports", lambda *_: {})
    output = tmp_path / "b.json"
    output.write_text("{}")
    options = ["--sections=growth,tiles", f"--output={output}", "--overwrite"]
    code, out, err = neid("benchmark", *options)
    assert (code, "growth" in out) == (1, True)
    said = ["neid: benchmark: not measured: tiles", "neid: benchmark: no more"]
    assert err.splitlines() == said
    assert list(json.loads(output.read_text())) == ["environment", "growth", "command"]
    output.write_text("{}")
    code, out, err = neid("benchmark", "--sections=tiles", *options[1:])
    assert (code, out, err.splitlines(), output.read_text()) == (1, "", said, "{}")
