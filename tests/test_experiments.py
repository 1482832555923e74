"""The programs that make the paper's tables, on tiny runs and made-up records."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from absl import flags

from experiments import (
    ablation,
    chart,
    cross_data,
    gradients,
    link,
    link_curves,
    package_rivals,
    peers,
    run,
    table1,
    table2,
)
from experiments.performance import card_files, install, on_card, roofline
from neid_tf import models, pictures
from neid_tf.benchmarks import cards, costs
from neid_tf.commands import train
from neid_tf.inference.network import FunctionNetwork
from neid_tf.models import model_config, pretrained
from neid_tf.support.errors import NeidError
from neid_tf.support.fields import flatten
from tests.conftest import flags_restored, free_ports

HOME = Path(__file__).resolve().parent.parent


def flags_of(*arguments):
    """Return the training configuration and the model that flags stand for."""
    flags.FLAGS(["train", *arguments])
    with flags_restored():
        config = train.config_from_flags()
        name, fields = train.model_from_flags(config)
        return config, model_config(name, **fields)


@pytest.fixture
def at_home(monkeypatch):
    monkeypatch.chdir(HOME)


@pytest.mark.parametrize("name", table2.PAPER)
def test_the_runs_of_table_2_differ_in_the_architecture_alone(at_home, name):
    config, model = flags_of(f"--flagfile=experiments/table2/{name}.flags", "--seed=1")
    base, neid = flags_of("--flagfile=experiments/table2/neid.flags", "--seed=1")
    assert config == base
    loss = config.objective
    assert model.architecture == name
    assert {**vars(model), "architecture": 0} == {**vars(neid), "architecture": 0}
    assert (loss.delta, loss.detail_weight, loss.colour_weight) == (1, 0.1, 0.1)


RUNS = [path for path in (HOME / "experiments").rglob("*.flags") if path.stem != "kind"]
"""The flagfiles but for the one that three phases share."""


@pytest.mark.parametrize("path", sorted(RUNS), ids=lambda path: path.stem)
def test_every_flagfile_makes_a_run(at_home, path):
    config, model = flags_of(f"--flagfile={path}")
    assert config.epochs > 0
    assert model.filters > 0


@pytest.mark.parametrize("name", table2.PAPER)
def test_the_papers_schedule_for_each_architecture(at_home, name):
    config, model = flags_of("--flagfile=experiments/paper.flags", f"--model={name}")
    assert (config.epochs, config.sampling.crop, model.filters) == (2000, 256, 64)
    assert model.architecture == name


def test_record_of_a_run(tmp_path, pairs_folder, monkeypatch, capsys):
    from neid_tf.commands import main
    from neid_tf.data import held_out

    monkeypatch.setattr(held_out, "validation_names", lambda: frozenset("56"))
    workdir, records = tmp_path / "runs" / "le_dr-1", tmp_path / "records"
    arguments = ["train", f"--data={pairs_folder}", f"--workdir={workdir}", "--model=le_dr"]
    arguments += ["--filters=4", "--depth=1", "--crop=32", "--epochs=2", "--seed=1"]
    arguments += ["--initializer=he_normal", "--validation=lol"]
    with flags_restored():
        assert main.run("train", [*arguments, "--validate_every=1"]) == 0
    assert table2.record(tmp_path / "runs", pairs_folder, records) == ["le_dr-1"]
    report = table2.load(records)["le_dr"][0]
    assert [image["name"] for image in report["images"]] == ["5", "6"]
    assert (report["seed"], report["settings"]["epochs"]) == (1, 2)
    assert {"--seed=1", "--model=le_dr"} < set(report["command"].split())
    # Half precision in the file, hence not the same to the last digit.
    last = report["history"][-1]["validation_psnr"]
    assert report["mean"]["psnr"] == pytest.approx(last, abs=0.05)
    assert len(report["history"]) == 2
    measured = gradients.measure(workdir, pairs_folder, 1)
    assert set(measured["norms"]) == {"huber", "colour", "detail, low", "detail, reference"}
    assert all(np.isfinite(norm) and norm > 0 for norm in measured["norms"].values())
    # The picture that is nearly black already asks for less than the bright one.
    assert measured["shares"]["detail, low"] < measured["shares"]["detail, reference"]
    assert measured["shares"]["huber"] == 1
    assert measured["kernels"]["le_head/convolution/kernel"] > measured["epsilon"] == 1e-7
    below = [path for path, size in measured["kernels"].items() if size < 1e-7]
    assert measured["kernels_below_epsilon"] == len(below)
    model = pretrained.load_pretrained(workdir / "last.npz")
    pretrained.save(model, workdir / "last.npz", model.card | {"epochs_trained": 1})
    assert table2.record(tmp_path / "runs", pairs_folder, records) == []
    assert "1 epochs, not finished" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no runs"):
        table2.record(tmp_path / "nothing", pairs_folder, records)


def made_up(name, seed, psnr, **settings):
    settings = {"model": name, "seed": seed, "delta": 1.0} | settings
    history = [{"epoch": 1}, {"epoch": 2, "validation_psnr": 9.0}]
    history += [{"epoch": 4, "validation_psnr": psnr}]
    mean = {"psnr": psnr, "ssim": 0.5, "psnr_gt_mean": psnr + 4}
    counts = {"parameters": 1234, "operations_per_600x400_picture": 5.5e9}
    return {"seed": seed, "mean": mean, "settings": settings, "history": history} | counts


def test_table_2_shows_mean_and_deviation_over_seeds():
    records = {"le": [made_up("le", 0, 17.0), made_up("le", 1, 18.0)]}
    records["neid"] = [made_up("neid", 0, 19.0)]
    records["light"] = [made_up("neid", 0, 18.6, delta=0.1)]
    rows = table2.table(records).splitlines()
    assert rows[2] == "| U-net architecture | not run |  |  |  |  |  | 19.60 |"
    assert rows[3].startswith("| LE | 17.50 ± 0.71 | 0.500 ± 0.000 | 21.50 ± 0.71 | 1,234 | 5.5 |")
    assert rows[3].endswith("| 0, 1 | 20.78 |")
    assert rows[5].startswith("| LE + DR + FF | 19.00 |")
    assert table2.ablations(records).splitlines()[2:] == ["| delta 0.1 | 0 | 18.60 | -0.40 |"]
    assert table2.ablations({"neid": records["neid"]}) == ""
    drawn = table2.curves(records)
    assert drawn.shape == (*chart.SIZE[::-1], 3)
    assert (drawn == chart.COLOURS[1]).all(axis=2).sum() > 500


def test_ablation_compares_with_the_same_seed():
    records = {"whole": [made_up("whole", 0, 20.0), made_up("whole", 1, 21.0)]}
    records["le"] = [made_up("le", 0, 19.5), made_up("le", 1, 21.25), made_up("le", 2, 9.0)]
    rows = ablation.table(records).splitlines()[2:]
    assert rows[0] == "| the default | 20.50 | 0.500 | 24.50 |  |  |  | 0, 1 |"
    assert rows[1].startswith(f"| {ablation.ROWS['le']} | 20.38 | 0.500 | 24.38 | -0.50, +0.25 |")
    assert rows[1].endswith("| 0, 1 |")
    assert len(rows) == 2


@pytest.mark.parametrize("name", ablation.ROWS)
def test_the_runs_of_the_ablation_differ_in_one_part(at_home, name):
    runs = [flags_of(f"--flagfile=experiments/ablation/{n}.flags") for n in (name, "whole")]
    (config, model), (other_config, other_model) = runs
    other_config = flatten(other_config)
    changed = {k for k, v in flatten(config).items() if other_config[k] != v}
    changed |= {k for k, v in vars(model).items() if getattr(other_model, k) != v}
    # Without a tone there is no toned picture for the detail branch, and LE has no such branch.
    changed -= {"detail_target"} if name in ("no_tone", "le") else set()
    assert len(changed) == (name != "whole")


def test_chart_shows_every_line():
    lines = [("one", [0, 10, 20], [1.0, 2.0, 1.5], 0), ("two", [0, 20], [1.2, 1.9], 3)]
    drawn = chart.draw(lines, "epochs", "dB")
    for _, _, _, colour in lines:
        assert (drawn == chart.COLOURS[colour]).all(axis=2).sum() > 500
    assert not (chart.draw(lines[:1], "epochs", "dB") == chart.COLOURS[3]).all(axis=2).any()
    assert chart.draw([("flat", [5, 6], [7.0, 7.0], 1)], "x", "y").shape == drawn.shape
    with pytest.raises(ValueError, match="nothing"):
        chart.draw([], "x", "y")


def test_chart_names_single_points():
    points = [("one", [0.1], [1.0], 0), ("two", [1.0], [1.2], 3)]
    options = ({}, {"names_beside": True}, {"x_scale": "log"})
    drawn = [chart.draw(points, "time", "dB", **option) for option in options]
    for colour in (0, 3):
        assert all((one == chart.COLOURS[colour]).all(axis=2).sum() > 20 for one in drawn)
    assert len({one.tobytes() for one in drawn}) == len(options)


def test_quality_against_time_has_all_that_was_measured(tmp_path, monkeypatch, capsys):
    figures = json.loads((peers.HOME / "figures.json").read_text("utf-8"))["peers"]
    names = {point[0] for point in peers.points()}
    assert names == {peer["name"] for peer in figures} | {*pretrained.names(), peers.OLD}
    assert all(0.01 < taken < 10 and 0 < ssim < 1 for _, _, taken, _, ssim in peers.points())
    monkeypatch.setattr(sys, "argv", ["peers", f"--output={tmp_path / 'chart.png'}"])
    with flags_restored(), pytest.raises(SystemExit) as ended:
        run(peers.main)
    assert not ended.value.code
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(names)
    times = [float(row.split("|")[3]) for row in rows]
    assert times == sorted(times)
    drawn = pictures.read(tmp_path / "chart.png").pixels
    assert drawn.shape[1] == 2 * chart.SIZE[0]


def test_an_older_file_is_timed_in_the_same_turns(monkeypatch):
    weights = pretrained.FOLDER / "neid_s.onnx"
    monkeypatch.setattr(peers, "TURNS", 2)
    monkeypatch.setattr(peers.pretrained, "names", lambda: ["neid_s"])
    found = peers.measure(str(weights))
    assert set(found) == {peers.OLD, "neid_s"}
    assert found[peers.OLD]["time"]["median"] == 1.0 != found["neid_s"]["time"]["median"] > 0.0


def test_table_1_shows_the_records(tmp_path):
    def write(path, psnr):
        path.parent.mkdir(exist_ok=True)
        mean = {"psnr": psnr, "ssim": 0.5, "ssim_gray": 0.6, "seconds_per_megapixel": 1.0}
        images = [{"name": name} | mean | {"psnr": psnr + 9} for name in names]
        path.write_text(json.dumps({"mean": mean, "images": images}))

    names = ["1", "2"]
    for number, name in enumerate([*table1.PAPER, table1.ORACLE]):
        write(tmp_path / f"{name}.json", 10 + number)
        write(tmp_path / "neighbours" / f"{name}.json", 20 + number)
    rows = table1.table(tmp_path, tmp_path / "neid.json").splitlines()[2:]
    assert len(rows) == 12
    assert rows[5].startswith(
        "| Retinex-Net | 24.00 | 0.500 | 0.600 | 15.00 | 0.600 | trained on |"
    )
    assert rows[9].startswith("| KinD, ratio 5 | 28.00 |")
    assert rows[10].startswith("| KinD, ratio of the reference (looks at the answer) | 30.00 |")
    assert rows[10].endswith("| 20.87 / 0.80 |")
    (tmp_path / "glad.json").unlink()
    assert "| GLAD | not run |" in table1.table(tmp_path, tmp_path / "neid.json")
    scores = "23.00 | 0.500 | 0.600 | 14.00 | 0.600 | 24.00 | 0.600 | 0.24"
    assert rows[4] == f"| MF | {scores} | 18.79 / 0.64 |"
    assert rows[-1].startswith("| NEID | 29.00 | 0.500 | 0.600 | trained on | trained on |")


def test_table_1_compares_the_same_pictures_alone(tmp_path):
    mean = {"psnr": 10.0, "ssim": 0.5, "ssim_gray": 0.6}
    rows = [{"name": name} | mean | {"psnr": psnr} for name, psnr in (("1", 20.0), ("2", 30.0))]
    for path, images in (("neid", rows[:1]), ("dong", rows), ("lime", rows[1:])):
        text = json.dumps({"mean": mean, "images": images})
        (tmp_path / f"{path}.json").write_text(text)
    (tmp_path / "neighbours").mkdir()
    (tmp_path / "neighbours" / "dong.json").write_text(json.dumps({"mean": mean}))
    with pytest.raises(NeidError, match="no picture 1"):
        table1.table(tmp_path, tmp_path / "neid.json")
    (tmp_path / "lime.json").unlink()
    assert "| Dong | 20.00 |" in table1.table(tmp_path, tmp_path / "neid.json")


def test_the_recorded_tables_can_be_printed():
    assert len(table1.table().splitlines()) == 3 + len(table1.PAPER)
    assert len(table2.table(table2.load()).splitlines()) == 2 + len(table2.PAPER)


def test_kind_is_scored_with_the_ratio_of_the_reference(tmp_path, pairs_folder):
    keras.utils.set_random_seed(2)
    model = models.inference_model(models.build("kind", filters=2))
    pretrained.save(model, tmp_path / "kind.npz", {})
    (tmp_path / "names.txt").write_text("2\n5\n")
    given = [str(pairs_folder), str(tmp_path / "kind.npz"), tmp_path / "r.json"]
    table1.record_oracle(*given, only=str(tmp_path / "names.txt"))
    report = json.loads((tmp_path / "r.json").read_text())
    assert [image["name"] for image in report["images"]] == ["2", "5"]
    assert "looks at the answer" in report["method"]["ratio"]
    low = pictures.read(pairs_folder / "low" / "2.png").pixels
    high = pictures.read(pairs_folder / "high" / "2.png").pixels
    enhance = table1.oracle(model)
    # The same ratio as at inference gives the same picture, another one another.
    assert not np.array_equal(enhance(low, high), enhance(low, low))
    with pytest.raises(ValueError, match="--kind=FILE"):
        table1.record("nowhere", ["kind"])
    with pytest.raises(ValueError, match="not 'neid'"):
        table1.record("nowhere", ["neid"])


def test_a_rival_is_packaged_with_the_cards_of_its_phases(tmp_path):
    cards = [{"settings": {"train": "decom", "init": ""}}]
    cards.append({"settings": {"train": "relight", "init": str(tmp_path / "0.npz")}})
    model = models.inference_model(models.build("retinexnet", filters=2))
    for number, card in enumerate(cards):
        pretrained.save(model, tmp_path / f"{number}.npz", card)
    target = package_rivals.package(str(tmp_path / "1.npz"), tmp_path / "rivals")
    assert target == tmp_path / "rivals" / "retinexnet.npz"
    card = pretrained.card(target)
    assert (card["settings"]["train"], card["before"]["settings"]["train"]) == ("relight", "decom")
    assert card["parameters"] == model.count_params()
    assert "LoL" in card["licence"]
    with pytest.raises(ValueError, match="no weights of retinexnet"):
        package_rivals.package("neid_s", tmp_path)


def test_weights_are_packaged_with_the_scores_of_a_list(
    tmp_path, pairs_folder, small_model, monkeypatch, capsys
):
    pytest.importorskip("tf2onnx")
    from experiments import package_weights

    (tmp_path / "neid_tf" / "models" / "weights").mkdir(parents=True)
    (tmp_path / "experiments" / "quality").mkdir(parents=True)
    monkeypatch.setattr(package_weights, "HOME", tmp_path)
    weights, listed = tmp_path / "trained.npz", tmp_path / "some names.txt"
    pretrained.save(small_model, weights, {"command": "neid train"})
    listed.write_text("2 5\n")
    arguments = [f"--data={pairs_folder}", f"--weights={weights}", f"--held_out={listed}"]
    monkeypatch.setattr(sys, "argv", ["package_weights", *arguments, "--output=small"])
    with flags_restored(), pytest.raises(SystemExit) as ended:
        run(package_weights.main)
    assert not ended.value.code
    report = json.loads((tmp_path / "experiments" / "quality" / "small.json").read_text("utf-8"))
    assert [image["name"] for image in report["images"]] == ["2", "5"]
    words = ["python", "-m", "experiments.package_weights", *arguments, "--output=small"]
    assert sorted(shlex.split(report["command"])) == sorted(words)
    packaged = tmp_path / "neid_tf" / "models" / "weights" / "small.npz"
    validation = pretrained.card(str(packaged))["validation"]
    assert (validation["pictures"], validation["list"]) == (2, "some names.txt")
    assert validation["psnr"] == report["mean"]["psnr"]
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
    assert packaged.with_suffix(".onnx").is_file()
    before = packaged.read_bytes()
    for data in ([], ["--data=nowhere"]):
        monkeypatch.setattr(sys, "argv", ["package_weights", *data, "--output=small"])
        with flags_restored(), pytest.raises(SystemExit) as ended:
            run(package_weights.main)
        assert "--data is missing" in str(ended.value) or "nowhere" in str(ended.value)
    assert packaged.read_bytes() == before


def test_pooling_asks_for_its_output_before_it_scores(monkeypatch):
    from experiments import local_pooling

    monkeypatch.setattr(pretrained, "load_pretrained", None)
    monkeypatch.setattr(sys, "argv", ["local_pooling", "--data=nowhere"])
    with flags_restored(), pytest.raises(SystemExit, match="--output is missing"):
        run(local_pooling.main)


@pytest.mark.parametrize(("name", "count"), [("retinexnet", 444_613), ("glad", 931_523)])
def test_the_packaged_rivals_have_all_of_their_parameters(name, count):
    card = pretrained.card(pretrained.rival_file(name))
    assert (card["parameters"], card["settings"]["model"]) == (count, name)
    assert 16 < card["validation"]["psnr"] < 21


def test_neighbours_are_no_test_pictures():
    names = set((HOME / "experiments/table1/neighbours.txt").read_text().split())
    tests = {"1", "22", "23", "55", "79", "111", "146", "179", "493", "547", "665", "669", "748"}
    assert len(names) == 26
    assert not names & (tests | {"778", "780"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figures"], "--figure is missing"),
        (["figures", "--figure=6", "--data=nowhere", "--output=out"], "nowhere"),
        (["figures", "--figure=6", "--data=hidden", "--output=out"], "hidden: no pictures"),
        (["table2", "--record=nowhere"], "--data is missing"),
        (["ablation", "--record=nowhere"], "--data is missing"),
        (["table2", "--record=nowhere", "--data=nowhere"], "nowhere: no runs"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, arguments, message):
    hidden = tmp_path / "hidden" / "._a.jpg"
    hidden.parent.mkdir()
    hidden.write_bytes(b"what macOS knows of a.jpg")
    program, *options = arguments
    command = [sys.executable, "-m", f"experiments.{program}", *options]
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [*tmp_path.rglob("*")] == [hidden.parent, hidden]


def test_large_tiffs_are_measured(tmp_path):
    pytest.importorskip("rasterio")
    pytest.importorskip("onnxruntime")
    output = tmp_path / "large.json"
    command = [sys.executable, "-m", "experiments.performance.large", "--sides=300"]
    run = subprocess.run([*command, f"--output={output}"], capture_output=True, text=True, cwd=HOME)
    assert run.returncode == 0, run.stderr
    [measured] = json.loads(output.read_text())["runs"]
    assert measured["side"] == 300
    assert 5e7 < measured["peak_bytes"] < 2e9


def test_folders_are_measured_and_their_tables_printed(tmp_path, weights_file):
    options = ["--pictures=3", "--turns=1", "--memory_pictures=2", "--sides=20,40"]
    options += ["--folder_runtimes=tensorflow", f"--weights={weights_file}"]
    output = tmp_path / "folders.json"
    printed = {}
    for name, arguments in {
        "folders": [*options, f"--output={output}"],
        "tables": [f"--records={tmp_path}"],
    }.items():
        command = [sys.executable, "-m", f"experiments.performance.{name}", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, cwd=HOME)
        assert run.returncode == 0, run.stderr
        printed[name] = run.stdout
    report = json.loads(output.read_text())
    assert json.loads(printed["folders"]) == report
    # The first size, and then sizes of any width, of any height.
    assert 1 <= report["tensorflow"]["traces"] <= 3
    assert list(report["tensorflow"]["resident_megabytes"]) == ["2"]
    assert "--pictures=3" in report["command"]
    assert "| resident MB after pictures | 2 |" in printed["tables"]
    assert "ray_workers.json: not recorded" in printed["tables"]


def test_a_service_is_loaded(tmp_path):
    for library in ("onnxruntime", "fastapi", "prometheus_client"):
        pytest.importorskip(library)
    output, [port] = tmp_path / "load.json", free_ports(1)
    options = ["--load_size=32,24", "--load_seconds=0.2", "--load_turns=1", "--load_waves=1"]
    command = [sys.executable, "-m", "experiments.load", "--weights=neid_s", *options]
    command += [f"--load_port={port}", "--load_clients=90", f"--output={output}"]
    # With one worker, where the system can: two do not tell more.
    one = {"preexec_fn": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})}
    one = one if hasattr(os, "sched_setaffinity") else {}
    run = subprocess.run(command, capture_output=True, text=True, cwd=HOME, **one)
    assert run.returncode == 0, run.stderr
    report = json.loads(output.read_text())
    [wave] = report["crowd"]["waves"]
    assert sum(wave["statuses"].values()) == 90
    assert set(wave["statuses"]) <= {"200", "429"}  # Nobody is left without an answer.
    killed = report["killed"]
    assert killed["replaced"]
    assert set(killed["statuses"]) <= {"200", "503"}
    assert killed["statuses"].get("503", 0) <= 1
    assert report["half_load"]["statuses"].keys() == {"200"}
    assert report["throughput"]["pictures_per_second"]["service"]["min"] > 0
    assert report["exit_code"] == 0


def test_a_stream_is_measured(tmp_path):
    for library in ("onnxruntime", "av"):
        pytest.importorskip(library)
    output = tmp_path / "live.json"
    command = [sys.executable, "-m", "experiments.live", "--live_size=64,48", "--live_seconds=2"]
    command += ["--weights=neid_s", "--live_rate=10", f"--output={output}"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=HOME)
    assert run.returncode == 0, run.stderr
    report = json.loads(output.read_text())
    assert 0.5 < report["frames_per_second"] < 12
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]


def test_operators_of_a_forward_pass(tmp_path):
    pytest.importorskip("onnxruntime")
    output = tmp_path / "operators.json"
    command = [sys.executable, "-m", "experiments.performance.operators", "--passes=5"]
    command += ["--weights=neid_s", f"--output={output}"]
    subprocess.run(command, check=True, capture_output=True, cwd=HOME)
    report = json.loads(output.read_text())
    seconds = report["operator_seconds"]
    assert next(iter(seconds)) == "Conv"
    # The profiled passes are those that were timed.
    assert 0.3 < sum(seconds.values()) / report["seconds"]["pass"]["median"] < 1.5
    assert 0 < report["to_product"]["pass"] < report["to_product"]["convolutions"]
    command = [sys.executable, "-m", "experiments.performance.tables", f"--records={tmp_path}"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HOME)
    assert "| Conv |" in run.stdout


def test_what_an_environment_holds_is_weighed(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "e"], check=True)
    [packages] = (tmp_path / "e").glob("lib/python*/site-packages")
    (packages / "a-1.dist-info").mkdir()
    (packages / "a-1.dist-info" / "METADATA").write_text(
        "Name: A\nVersion: 1\nRequires-Dist: b>=2\nRequires-Dist: c; extra == 'x'\n"
    )
    (packages / "a.py").write_bytes(b"x = 1\n" * 50)
    (packages / "a-1.dist-info" / "RECORD").write_text("a.py,,\na.py,,\ngone.py,,\n")
    found = install.weighed(tmp_path / "e" / "bin" / "python", "-I")
    assert found == {"a": {"version": "1", "bytes": 300, "requires": ["b>=2"]}}
    report = {
        "installed": found,
        "imported": ["a"],
        "extra": {"evaluate": {"b": found["a"] | {"requires": []}}},
    }
    lines = install.weights_table(report).splitlines()
    assert lines[2] == "| a | 0.0 | asked for | yes |"
    assert lines[4] == "| b | 0.0 | a | no |"


def test_precisions_side_by_side(pairs_folder, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    from experiments import int8, precision
    from neid_tf.data import pairs
    from neid_tf.inference import methods
    from tests.export.test_export import lively

    path = tmp_path / "lively.npz"
    pretrained.save(lively("neid_tone"), path, {"epochs_trained": 0})
    load = methods.load_network
    # There is no file for ONNX Runtime of weights that are not the package's.
    monkeypatch.setattr(
        methods, "load_network", lambda name, runtime, *rest: load(name, "tensorflow", *rest)
    )
    monkeypatch.setattr(int8, "PICTURE_CHANNELS", 3)
    monkeypatch.setattr(precision, "TURNS", 1)
    made = []
    quantised = int8.quantised
    monkeypatch.setattr(int8, "quantised", lambda *given: made.append(quantised(*given)) or made[0])
    rows = pairs.load_pairs(pairs_folder, smallest=11).select(lambda name: name in "34")
    monkeypatch.setattr(precision, "CALIBRATION", 2)
    found = precision.measured(str(path), rows, rows)
    assert [way.split()[1] for way in found] == ["float32", "bfloat16", "float32", "int8"]
    scores = {way: row["psnr"] for way, row in found.items()}
    assert scores["onnx float32"] == scores["tensorflow float32"]
    for way in ("tensorflow bfloat16", "onnx int8"):
        assert 0 < abs(scores[way] - scores["tensorflow float32"]) < 1.0
    assert b"QuantizeLinear" in made[0]


def test_a_roofline_is_the_longer_of_computing_and_moving():
    card = cards.CARDS["H100"]
    one = (128 * 128, 128, 3e9)  # 128 blocks of a product
    work = costs.Work(4 * 10**9, 10**7, 10**8, (one, (128, 64, 1e9)))
    found = roofline.predicted(work, card)
    assert found["seconds_computing"] == pytest.approx(4e9 / 989e12)
    assert found["seconds_moving"] == pytest.approx(2e7 / 3.35e12)
    assert found["pictures_a_second_at_most"] == pytest.approx(3.35e12 / 2e7)
    assert found["pictures_a_second_apart"] == pytest.approx(3.35e12 / 2e8)
    # Two pictures fill 132 processors in 0.75 of the work, 132 in the rest of it.
    assert roofline.batch_that_fills(work, 132) == 132
    only = costs.Work(1, 1, 1, (one,))
    assert [roofline.batch_that_fills(only, count) for count in (128, 132)] == [1, 2]
    # Two tiles of 384 and 384, each with 20 pixels of the other, one below the other.
    network = FunctionNetwork(lambda batch: batch)
    network.step, network.margin = 4, 20
    assert roofline.tiled(512, 512, network) == 1.0
    assert roofline.tiled(768, 384, network) == pytest.approx(2 * 404 / 768)


def test_the_work_of_a_card_is_told_by_two_small_pictures():
    counted = json.loads((roofline.HERE / "roofline.json").read_text("utf-8"))
    work = on_card.operations(counted["weights"])
    for size, one in counted["pictures"].items():
        width, height = map(int, size.split("×"))
        assert work(height, width) == pytest.approx(one["operations"], rel=0.01)


def test_a_compiled_pass_is_the_models():
    image = keras.Input((8, 6, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(keras.layers.Rescaling(2.0)(image)))
    given = np.random.default_rng(0).random((2, 8, 6, 3), np.float32)
    with on_card.computing("float32"):
        run = on_card.compiled(*on_card.forward(model), given)()
    np.testing.assert_allclose(run(), model(given), atol=1e-5)


def test_passes_are_told_beside_a_product_and_what_fails_is_named(monkeypatch):
    given = {"image": (2, 4, 3), "picture": (4, 8, 3)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in given.items()}
    doubled = keras.layers.UpSampling2D()(inputs["image"])
    both = keras.layers.Add()([doubled, inputs["picture"]])
    model = keras.Model(inputs, keras.layers.Reshape((4, 8, 3))(both))
    monkeypatch.setattr(on_card.pretrained, "load_pretrained", lambda _: model)
    monkeypatch.setattr(models, "as_part", lambda whole, _: whole)
    monkeypatch.setattr(on_card, "operations", lambda _: lambda height, width: 1e9)
    monkeypatch.setattr(cards, "name", lambda: "NVIDIA H100")
    flags.FLAGS(["on_card", "--card_turns=1", "--card_side=64"])
    with flags_restored():
        sizes = [on_card.Pass.read(text) for text in ("8x4:2", "16x8:1")]
        *_, report = on_card.measure(["neid"], ["bfloat16", "float32"], sizes)
    first, second = report["passes"]
    assert first["teraflops"] == pytest.approx(2e-3 / first["seconds"]["median"])
    assert first["share_of_the_peak"] == pytest.approx(first["teraflops"] / 989)
    assert second["share_of_the_peak"] == pytest.approx(second["teraflops"] / 67)
    assert [row["width"] for row in report["left_out"]] == [16, 16]  # not the model's size
    printed = on_card.rows(report, {"weights": "neid", "pictures": {}})
    assert printed.count("| 8×4 | 2 |") == 2
    assert "Left out: neid bfloat16 16 8 1 " in printed


def test_files_on_a_card_against_the_cpu(monkeypatch, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    small = ["--card_pictures=2", "--card_size=32,16", "--card_large=48,32", "--card_batches=1,2"]
    output = f"--output={tmp_path / 'r'}"
    flags.FLAGS(["card_files", *small, "--file_turns=1", "--weights=neid_s", output])
    monkeypatch.setattr(cards, "name", lambda: "NVIDIA H100")
    with flags_restored():
        card_files.main([])
    capsys.readouterr()
    report = json.loads((tmp_path / "r").read_text())
    assert all(one["largest"] == 0 for one in report["differences"].values())
    assert set(report["processes"]["seconds"]["folder"]) == {"card", "CPU"}
    with pytest.raises(ValueError, match="no card computed"):
        card_files.rows(report)
    report["in_memory"]["card"]["on_card"] = True
    printed = card_files.rows(report)
    assert "on NVIDIA H100 | on" in printed
    taken = report["in_memory"]["CPU"]["repeated"]["2"]["median"]
    [line] = [one for one in printed.splitlines() if " 2 at a time, again and again " in one]
    assert float(line.split("|")[-2].replace(",", "")) == pytest.approx(2 / taken, abs=0.6)
    [line] = [
        one for one in printed.splitlines() if "`neid_tf.enhance` after a batch of 2, ms" in one
    ]
    taken = report["in_memory"]["card"]["enhance"]["median"]
    assert float(line.split("|")[2].replace(",", "")) == pytest.approx(1e3 * taken, abs=0.6)


@pytest.mark.parametrize(
    ("program", "argument", "reason"),
    [
        (cross_data, "--sheet=x", "--sheet has no effect without --data"),
        (table1, "--rivals=lime", "--rivals has no effect without --data"),
        (link, "--each=3", "--each has no effect without --data"),
        (link_curves, "--each=3", "--each has no effect without --data"),
        (ablation, "--records=nothing", "no record of `whole`"),
        (table2, "--records=nothing", "nothing: no record of the paper's architectures"),
    ],
)
def test_programs_refuse_what_has_no_effect(program, argument, reason, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", argument])
    with flags_restored(), pytest.raises(SystemExit, match=reason):
        run(program.main)
