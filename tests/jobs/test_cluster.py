"""Pictures on a Ray cluster of two nodes on this machine, each with one CPU."""

import contextlib
import functools
import json
import os
import secrets
import socket
import subprocess
import sys
import types
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from neid_tf import pictures
from neid_tf.commands import main
from neid_tf.inference import methods
from neid_tf.jobs import cluster, packing, pipeline
from neid_tf.jobs.plan import plan
from neid_tf.jobs.storage import storage_of
from neid_tf.jobs.transfer import Transfer
from neid_tf.support.errors import UsageError
from tests.conftest import darkened, flags_restored, picture, write

# Ray reads these when it is imported. The token is this cluster's own.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
pytest.importorskip("ray.data", reason="needs the extra 'ray'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own.


@pytest.fixture(scope="module")
def nodes():
    """A cluster with one node."""
    # For the object store of a test, which takes anything.
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        made = Cluster(initialize_head=True, head_node_args=options)
        yield made
        made.shutdown()


def start(*arguments, **environment):
    command = [sys.executable, "-m", "neid_tf.commands.main", "enhance", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"} | environment,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out.strip(), err.strip()


def here(*arguments):
    """Run ``neid enhance`` in this process; return its exit code."""
    with flags_restored():
        return main.main(["neid", "enhance", *map(str, arguments)])


def on_ray(nodes, *arguments):
    return finish(start(*arguments, "--engine=ray", f"--ray_address={nodes.address}"))


def files(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def mixed(tmp_path):
    """Pictures of several sizes and formats in a tree."""
    for n in range(10):
        pixels = pictures.Picture(darkened(picture(30 + 6 * n, 90 - 5 * n, seed=n)))
        path = tmp_path / "in" / ("sub" if n % 3 else "") / f"{n}{['.png', '.jpg', '.tif'][n % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures.write(path, pixels)
    return tmp_path / "in"


def test_same_bytes_failures_and_a_second_run(nodes, mixed, tmp_path, weights_file):
    (mixed / "bad.png").write_text("text")
    options = [f"--weights={weights_file}", "--strength=0.7", "--scale=2", "--suffix=_new"]
    alone, together = tmp_path / "alone", tmp_path / "together"
    # One thread here as in a worker: with more, TensorFlow sums in another order.
    one = start(mixed, f"--output={alone}", *options, TF_NUM_INTRAOP_THREADS="1")
    code, _, said = finish(one)
    assert code == 1
    options.append("--ray_cpus=1")
    code, out, err = on_ray(nodes, f"{mixed}/**", f"--output={together}", *options)
    assert code == 1
    assert err == said
    assert out == f"10 written to {together}, 1 failed"
    written = files(together)
    [line] = written.pop("failures.jsonl").decode().splitlines()
    failure = json.loads(line)
    assert (failure["input"], failure["output"]) == (
        str(mixed / "bad.png"),
        str(together / "bad_new.png"),
    )
    assert "known format" in failure["reason"]
    assert written == files(alone)

    write(mixed / "bad.png", darkened(picture(20, 30)))
    removed = sorted(written)[2]
    (together / removed).unlink()
    kept = {name: (together / name).stat().st_mtime_ns for name in written if name != removed}
    code, out, err = on_ray(nodes, mixed, f"--output={together}", *options)
    assert (code, err) == (0, "")
    assert out == f"2 written to {together}, 9 skipped"
    assert set(files(together)) == {*written, "bad_new.png"}
    assert (together / removed).read_bytes() == written[removed]
    assert {name: (together / name).stat().st_mtime_ns for name in kept} == kept


def test_what_is_to_be_told_of_the_network_is_told_once(nodes, mixed, tmp_path):
    pytest.importorskip("onnxruntime")
    code, _, err = on_ray(nodes, mixed, f"--output={tmp_path / 'out'}", "--weights=neid_m")
    assert (code, err) == (0, "neid: --weights=neid_m: neid has taken its place")


def expected(mixed, tmp_path):
    assert here(mixed, f"--output={tmp_path / 'alone'}", "--method=msr") == 0
    return files(tmp_path / "alone")


def test_addresses_of_files_and_packed_pictures(nodes, mixed, tmp_path):
    content, _ = packing.pack(pictures.Picture(darkened(picture(31, 45))))
    (mixed / "packed.jpg").write_bytes(content)
    output = (tmp_path / "out").as_uri()
    code, out, err = on_ray(nodes, mixed.as_uri(), f"--output={output}", "--method=msr")
    assert (code, err) == (0, "")
    assert out.startswith("11 written")
    assert files(tmp_path / "out") == expected(mixed, tmp_path)
    assert pictures.read(tmp_path / "out" / "packed.jpg").pixels.shape == (31, 45, 3)


def test_names_that_are_no_text_and_paths_that_are_too_long(nodes, tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    write(source / "a.png", darkened(picture(20, 30)))
    names = [os.fsdecode(name) for name in (b"caf\xe9.png", b"br\xfcche.png")]
    (source / names[0]).write_bytes((source / "a.png").read_bytes())
    (source / names[1]).write_text("text")
    long = "x" * 300 + ".png"
    options = [f"--output={output}", "--method=msr"]
    code, out, err = on_ray(nodes, source, long, *options)
    assert (code, out) == (1, f"2 written to {output}, 2 failed")
    lines = [line.removeprefix("neid: ") for line in err.splitlines()]
    named = sorted(line.split("/")[-1].partition(" (")[0] for line in lines)
    assert named == [
        r"br\xfcche.png: not a picture of a known format",
        f"{long}: file name too long",
    ]
    assert sorted(os.listdir(output)) == sorted(["a.png", names[0], "failures.jsonl"])
    lines = (output / "failures.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["input"] for line in lines} == {long, str(source / names[1])}
    code, out, err = on_ray(nodes, source / "a.png", *options, "--existing=fail")
    assert (code, out) == (1, f"0 written to {output}, 1 failed")
    code, out, err = on_ray(nodes, source / "a.png", *options, "--existing=overwrite")
    assert (code, out) == (0, f"1 written to {output}")


def test_an_object_store(nodes, mixed, tmp_path):
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    import boto3

    running = server.ThreadedMotoServer(port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        s3.create_bucket(Bucket="bucket")
        for name, data in files(mixed).items():
            s3.put_object(Bucket="bucket", Key=f"in/{name}", Body=data)
        s3.put_object(Bucket="bucket", Key="in/broken.jpg", Body=b"text")
        where = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        source, output = f"s3://bucket/in/**{where}", f"--output=s3://bucket/out{where}"
        code, out, err = on_ray(nodes, source, output, "--method=msr")
        assert code == 1
        assert err.startswith("neid: s3://bucket/in/broken.jpg: not a picture")
        assert ", 1 failed" in out
        found = s3.list_objects_v2(Bucket="bucket", Prefix="out/")["Contents"]
        keys = [entry["Key"] for entry in found if not entry["Key"].endswith("/")]
        written = {
            key.removeprefix("out/"): s3.get_object(Bucket="bucket", Key=key)["Body"].read()
            for key in keys
        }
        assert json.loads(written.pop("failures.jsonl"))["input"] == "s3://bucket/in/broken.jpg"
        assert written == expected(mixed, tmp_path)
    finally:
        running.stop()


def test_a_node_that_is_killed_costs_no_picture(nodes, tmp_path):
    for n in range(40):
        write(tmp_path / "in" / f"{n}.png", darkened(picture(150, 200 + n, seed=n)))
    second = nodes.add_node(num_cpus=1, object_store_memory=10**8)
    output = tmp_path / "out"
    process = start(
        *[tmp_path / "in", f"--output={output}", "--method=lime"],
        *["--engine=ray", f"--ray_address={nodes.address}"],
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        while len(list(output.glob("*.png"))) < 6:
            process.wait(0.02)
    assert len(list(output.glob("*.png"))) < 40
    nodes.remove_node(second, allow_graceful=False)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert out == f"40 written to {output}"
    written = files(output)
    assert set(written) == {f"{n}.png" for n in range(40)}
    lime = methods.load("lime", "")
    for n in (0, 11, 39):
        pixels = lime(darkened(picture(150, 200 + n, seed=n)))
        np.testing.assert_array_equal(pictures.decode("x", written[f"{n}.png"]).pixels, pixels)


@pytest.fixture
def connected(nodes):
    import ray

    ray.init(nodes.address, log_to_driver=False)
    yield
    ray.shutdown()


def work_of(make, root, **options):
    made = plan([str(root / "in")], str(root / "out"), on_cluster=True)
    assert made.failures == []
    storages = tuple(made.storages)
    return made.jobs, cluster.Work(make, "neid", storages, str(root / "out"), **options)


def deadly(log, _):
    """Note that a worker has begun; make a function that ends its process at a red picture."""
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\n")

    def function(pixels):
        if pixels[..., 0].min() == 255:
            os._exit(1)
        return 255 - pixels

    return function


def test_pictures_that_kill_their_worker_are_named(connected, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "MAX_BARREN_ROUNDS", 2)
    for n in range(9):
        pixels = picture(20, 30, seed=n)
        pixels[..., 0] = 255 if n in (4, 5) else pixels[..., 0] // 2
        write(tmp_path / "in" / f"{n}.png", pixels)
    jobs, work = work_of(functools.partial(deadly, tmp_path / "log"), tmp_path)
    outcomes = {
        Path(job.source).name: str(error or "") for job, error, _ in cluster.enhance(jobs, work)
    }
    for name in ("4.png", "5.png"):
        assert outcomes.pop(name) == f"{tmp_path / 'in' / name}: its worker died, several times"
    assert outcomes == {f"{n}.png": "" for n in range(9) if n not in (4, 5)}
    assert set(files(tmp_path / "out")) == set(outcomes)


def test_a_worker_loads_the_model_once(connected, tmp_path):
    for n in range(20):
        write(tmp_path / "in" / f"{n}.png", picture(20, 30, seed=n) // 2)
    jobs, work = work_of(functools.partial(deadly, tmp_path / "log"), tmp_path)
    outcomes = list(cluster.enhance(jobs, work, cluster.Cluster(workers=1)))
    assert [error for _, error, _ in outcomes] == [None] * 20
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def refusing(_):
    raise ValueError("no such device")


def test_a_worker_that_cannot_work_ends_it(connected, tmp_path):
    write(tmp_path / "in" / "1.png", picture(20, 30))
    jobs, work = work_of(refusing, tmp_path)
    with pytest.raises(cluster.ClusterError, match="no such device"):
        list(cluster.enhance(jobs, work))
    with pytest.raises(cluster.ClusterError, match="no machine for a worker of 99 CPUs"):
        list(cluster.enhance(jobs, work, cluster.Cluster(cpus=99)))


def test_mistakes_need_no_cluster(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    mistakes = [
        (["a.png", "--output=o", "--method=magic"], 2, "magic"),
        (["a.png", "--output=o", "--weights=none.npz"], 1, "none.npz"),
        (["a.png", "--output=o.png"], 2, "name a folder"),
        (["nope://x/y", "--output=o"], 1, "nope://x/y"),
        (["*.nope", "--output=o"], 1, "nothing matches"),
        (["a.mp4", "--output=o"], 1, "is a video"),
    ]
    for arguments, code, message in mistakes:
        capsys.readouterr()
        assert here(*arguments, "--engine=ray") == code
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "o"}
    assert len((tmp_path / "o" / "failures.jsonl").read_text().splitlines()) == 1


def test_globs_and_trees_of_addresses(tmp_path):
    for name in ("a.png", "b.txt", "sub/c.jpg", "sub/d e.png", ".hidden.png", "sub/[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    root = tmp_path.as_uri()

    def planned(*inputs):
        made = plan(inputs, "gs://bucket/out", "_x", on_cluster=True)
        return {job.source.removeprefix(root): job.target for job in made.jobs}, made.failures

    tree = {
        "/a.png": "gs://bucket/out/a_x.png",
        "/sub/c.jpg": "gs://bucket/out/sub/c_x.jpg",
        "/sub/d e.png": "gs://bucket/out/sub/d e_x.png",
        "/sub/[1].png": "gs://bucket/out/sub/[1]_x.png",
    }
    assert planned(root) == planned(f"{root}/") == planned(f"{root}/**") == (tree, [])
    found, _ = planned(f"{root}/*/*.png")
    assert set(found) == {"/sub/d e.png", "/sub/[1].png"}
    assert planned(f"{root}/none")[1][0][0] == f"{root}/none"
    assert planned(f"{root}/none*")[1] == [(f"{root}/none*", "nothing matches this pattern")]


def test_the_root_of_a_bucket_is_a_folder(tmp_path):
    from pyarrow import fs

    for name in ("a.png", "sub/b.png"):
        (tmp_path / "bucket" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bucket" / name).write_bytes(b"x")
    storage = storage_of("file:///")
    assert storage._path("file:///") == "/"
    storage.prefix, storage.root = "s3://bucket/", "bucket"
    storage.system = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    both = ["s3://bucket/a.png", "s3://bucket/sub/b.png"]
    for item in ("s3://bucket", "s3://bucket/", "s3://bucket/**", "s3://bucket/?region=x"):
        found = storage.find(item)
        assert (found.problems, [name for name, _ in found.files]) == ([], both)
        assert [str(below) for _, below in found.files] == ["a.png", "sub/b.png"]
    assert [name for name, _ in storage.find("s3://bucket/*.png").files] == both[:1]
    assert storage.below("s3://bucket") == both


def test_addresses_are_found_by_the_same_rules_as_paths(tmp_path):
    for name in ("a.png", "app.ts", ".hidden.png", ".neid-1.tmp", "out/a.png", "b_x.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def planned(root, output, suffix=""):
        made = plan([root], output, suffix, on_cluster=True)
        sources = {PurePosixPath(job.source).relative_to(root.rstrip("/*")) for job in made.jobs}
        return {str(s) for s in sources}, made.failures, made.left_out

    for end in ("", "/*"):
        for suffix in ("", "_x"):
            output = "out" if end == "" else "../elsewhere"
            here = planned(f"{tmp_path}{end}", f"{tmp_path}/{output}", suffix)
            there = planned(f"{tmp_path.as_uri()}{end}", f"{tmp_path.as_uri()}/{output}", suffix)
            mixed = planned(f"{tmp_path.as_uri()}{end}", f"{tmp_path}/{output}", suffix)
            assert there == mixed
            if end == "":
                assert here == there
                assert here[0] == {"a.png", "b.png", "b_x.png"}
                assert here[2] == {"below the output": 1, "hidden": 1, ".ts": 1}
            else:
                assert not any(name.startswith(".") for name in there[0])
    beside = planned(tmp_path.as_uri(), tmp_path.as_uri(), "_x")
    assert beside[2]["made before (*_x.*)"] == 1


def test_an_address_of_this_machine_is_the_path(tmp_path):
    source = write(tmp_path / "in" / "a.png", darkened(picture(20, 30)))
    content = source.read_bytes()
    for item, output in (
        (tmp_path / "in", (tmp_path / "in").as_uri()),
        ((tmp_path / "in").as_uri(), tmp_path / "in" / "."),
    ):
        made = plan([str(item)], str(output), on_cluster=True)
        transfer = Transfer(tuple(made.storages), storage_of(str(output)), "overwrite")
        [outcome] = pipeline.enhance_files(made.jobs, lambda pixels: 255 - pixels, transfer)
        assert "the output is the input itself" in str(outcome.error)
    assert source.read_bytes() == content


def test_a_list_of_failures_stays_where_nothing_was_tried(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.png", darkened(picture(20, 30)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "failures.jsonl").write_text("{}\n")

    def failing(*_):
        raise cluster.ClusterError("no cluster")
        yield

    monkeypatch.setattr(cluster, "enhance", failing)
    options = [f"--output={tmp_path / 'out'}", "--method=msr", "--engine=ray"]
    assert here(tmp_path / "in", *options) == 1
    assert (tmp_path / "out" / "failures.jsonl").read_text() == "{}\n"


def test_what_was_there_before_a_worker_was_lost_is_not_its_work(tmp_path, monkeypatch):
    for n in range(3):
        write(tmp_path / "in" / f"{n}.png", darkened(picture(20, 30)))
    write(tmp_path / "out" / "0.png", picture(20, 30))
    made = plan([str(tmp_path / "in")], str(tmp_path / "out"), on_cluster=True)
    storages = tuple(made.storages)

    class Lost(Exception):
        pass

    ray = types.SimpleNamespace(
        exceptions=types.SimpleNamespace(RayTaskError=KeyError, RayError=Lost)
    )
    rounds = []

    def rows(rest, work, label, _):
        rounds.append(list(rest))
        if len(rounds) == 1:
            (tmp_path / "out" / "1.png").write_bytes(b"made by the worker that died")
            raise Lost
        worker = cluster.Worker(work, label, None, 1)
        for number, job in list(rest.items()):
            columns = {"source": job.source, "target": job.target}
            batch = {name: [os.fsencode(value)] for name, value in columns.items()}
            done = worker(batch | {"number": [number], "storage": [job.storage]})
            yield {name: values[0] for name, values in done.items()}

    monkeypatch.setattr(cluster, "ray_module", lambda: ray)
    monkeypatch.setattr(cluster, "connected", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(cluster, "_rows", rows)
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    work = cluster.Work(inverting, "", storages, str(tmp_path / "out"), existing="fail")
    outcomes = {
        Path(o.job.source).name: str(o.error or "") for o in cluster.enhance(made.jobs, work)
    }
    assert "is there already" in outcomes["0.png"]
    assert (outcomes["1.png"], outcomes["2.png"]) == ("", "")
    assert [sorted(names) for names in rounds] == [[0, 1, 2], [0, 2]]


def inverting(_):
    return lambda pixels: 255 - pixels


def test_a_storage_writes_whole_files(tmp_path):
    place = storage_of(tmp_path.as_uri())
    address = f"{tmp_path.as_uri()}/new/a b.png"
    place.write(address, b"one", "label-")
    place.write(address, b"two", "label-")
    assert files(tmp_path) == {"new/a b.png": b"two"}
    with pytest.raises(pictures.PictureError, match="is there already"):
        place.write(address, b"three", "label-", overwrite=False)
    assert files(tmp_path) == {"new/a b.png": b"two"}
    assert place.exists(address)
    (tmp_path / "new" / ".neid-label-0.tmp").write_bytes(b"")
    (tmp_path / "new" / ".neid-other-0.tmp").write_bytes(b"")
    place.remove_leftovers(tmp_path.as_uri(), "label-")
    assert set(files(tmp_path)) == {"new/a b.png", "new/.neid-other-0.tmp"}
    place.remove(address)
    place.remove(address)
    assert not place.exists(address)
    (tmp_path / "full").write_bytes(b"")
    with pytest.raises(pictures.PictureError, match="full/a"):
        place.write(f"{tmp_path.as_uri()}/full/a", b"", "")


def test_an_address_needs_the_engine(capsys):
    with pytest.raises(UsageError):
        plan(["a.png"], "s3://bucket/x.png", on_cluster=True)
    assert here("s3://b/x.png", "--output=o") == 2
    assert "--engine=ray" in capsys.readouterr().err


def test_an_address_where_no_cluster_is_is_named_at_once(neid, tmp_path):
    write(tmp_path / "in.png", picture(20, 30))
    with socket.socket() as held:  # Nothing listens there, and nothing else can come to.
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            code, out, err = neid(
                *["enhance", tmp_path / "in.png", f"--output={tmp_path}/out", "--weights=neid_s"],
                *["--engine=ray", f"--ray_address={address}"],
            )
            assert (code, out) == (1, "")
            assert err == f"neid: enhance: Ray at {address} cannot be used: connection refused\n"
    address = "--ray_address=127.0.0.1:99999"
    how = [tmp_path / "in.png", f"--output={tmp_path}/out", "--weights=neid_s", "--engine=ray"]
    code, out, err = neid("enhance", *how, address)
    assert (code, out, "99999 cannot be used: " in err) == (1, "", True), err
