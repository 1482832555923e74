"""``neid serve``, asked as its clients ask."""

import asyncio
import contextlib
import errno
import json
import os
import shlex
import signal
import struct
import subprocess
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from neid_tf import pictures
from neid_tf.jobs import packing
from neid_tf.service import worker
from neid_tf.service.configuration import Configuration
from neid_tf.service.settings import Settings
from neid_tf.support.errors import NeidError
from tests.conftest import darkened, picture
from tests.service.serving import Server, form, stopped

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("onnxruntime")

from neid_tf.service import app
from neid_tf.service.errors import Refused
from neid_tf.service.gate import Gate, refuse
from neid_tf.service.pool import Pool, Task, Worker

TIMEOUT = 8.0
LIMITS = ("--workers=1", "--max_queue=2", f"--timeout={TIMEOUT}", "--max_upload=1")


@pytest.fixture(scope="module")
def server():
    """A service with one worker, whose limits are small."""
    server = Server(*LIMITS, "--max_pixels=10000")
    yield server
    assert server.stop() == 0
    assert server.log[-1]["event"] == "ended"
    assert [line for line in server.log if line["event"] == "no JSON"] == []


def content(height=24, width=32, suffix=".png", **fields):
    """Return the file of a dark picture."""
    pixels = darkened(picture(height, width))
    return pictures.encode(f"a{suffix}", pictures.Picture(pixels, **fields))


def pixels(data):
    return pictures.decode("a", data).pixels


PNG = content()


def test_a_picture_comes_back_as_neid_enhance_makes_it(server, neid, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "a dark room"
    jpeg = content(suffix=".jpg", exif=b"Exif\0\0" + exif.tobytes()[6:])
    (tmp_path / "a.jpg").write_bytes(jpeg)
    made = tmp_path / "b.jpg"
    options = ("--strength=0.75", "--scale=2", "--weights=neid_s")
    assert neid("enhance", tmp_path / "a.jpg", f"--output={made}", *options)[0] == 0
    status, headers, data = server.ask("/v1/enhance?strength=0.75&scale=2", jpeg)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    expected = pictures.decode("b", made.read_bytes())
    got = pictures.decode("b", data)
    np.testing.assert_allclose(got.pixels.astype(int), expected.pixels, atol=2)
    assert got.exif == expected.exif
    assert b"a dark room" in got.exif


def test_a_form_is_as_good_as_a_body(server):
    body, kind = form(PNG, strength="0.5", format="tiff")
    status, headers, made = server.ask(body=body, content_type=kind)
    assert (status, headers["content-type"]) == (200, "image/tiff")
    np.testing.assert_array_equal(
        pixels(made), pixels(server.ask("/v1/enhance?strength=0.5", PNG)[2])
    )


def test_sixteen_bits_and_odd_sizes_come_back(server):
    deep = darkened(picture(1, 1)).astype(np.uint16) * 257
    status, _, made = server.ask(body=pictures.encode("a.png", pictures.Picture(deep)))
    assert (status, pixels(made).dtype, pixels(made).shape) == (200, np.uint16, (1, 1, 3))


def test_what_cannot_be_kept_is_told(server, tmp_path):
    frames = [Image.fromarray(darkened(picture(20, 24, seed))) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    moving = (tmp_path / "a.gif").read_bytes()
    status, headers, made = server.ask(body=moving)
    assert (status, headers["content-type"]) == (200, "image/png")
    assert pictures.decode("a", made).pages == 3
    assert "x-neid-note" not in headers
    status, headers, _ = server.ask("/v1/enhance?format=jpeg", moving)
    assert headers["x-neid-note"] == "2 of its frames are left out: JPEG holds none"


def test_the_type_that_a_client_claims_does_not_matter(server):
    for kind in ("application/json", "text/html; charset=utf-16", "multipart", "x" * 500):
        assert server.ask(body=PNG, content_type=kind)[0] == 200


CUT = PNG[: len(PNG) // 2]
REFUSED = [
    ("/v1/enhance", b"", 400, "empty"),
    ("/v1/enhance", b"no picture", 415, "not a picture of a known format"),
    ("/v1/enhance", CUT, 422, "PNG"),
    ("/v1/enhance?scale=3", PNG, 422, "scale is one of 1, 2, not '3'"),
    ("/v1/enhance?strength=nan", PNG, 422, "strength must be a number from 0 to 8, not nan"),
    ("/v1/enhance?strength=x", PNG, 422, "strength must be a number from 0 to 8, not 'x'"),
    ("/v1/enhance?strength=9", PNG, 422, "strength must be a number from 0 to 8, not 9.0"),
    ("/v1/enhance?weights=/etc/passwd", PNG, 422, "weights is one of neid_s, neid"),
    ("/v1/enhance?format=gif", PNG, 422, "format is one of jpeg"),
    ("/v1/enhance?scael=2", PNG, 422, "no parameter 'scael'"),
    ("/v1/enhance?scale=1&scale=2", PNG, 422, "scale is given twice"),
    ("/v1/enhance?url=http://localhost/a.png", b"", 400, "empty"),
    ("/v1/enhance", None, 405, "Method Not Allowed"),
    ("/v1/nothing", None, 404, "Not Found"),
]


@pytest.mark.parametrize(("path", "body", "status", "reason"), REFUSED)
def test_what_cannot_be_done_is_refused_by_name(server, path, body, status, reason):
    got, headers, told = server.ask(path, body)
    told = json.loads(told)
    assert (got, told["status"]) == (status, status)
    assert reason in told["error"]
    assert told["request_id"] == headers["x-request-id"]


def test_forms_that_are_not_sound(server):
    body, kind = form(None, scale="1")
    assert server.ask(body=body, content_type=kind)[0] == 400
    assert server.ask(body=b"--y\r\nnonsense", content_type=kind)[0] == 400
    assert server.ask(body=b"--x", content_type="multipart/form-data")[0] == 400
    many = form(PNG, **{f"field{n}": "1" for n in range(20)})[0]
    assert server.ask(body=many, content_type=kind)[0] == 400
    assert server.ask(body=form(PNG, scale="1" * 2000)[0], content_type=kind)[0] == 400


def test_large_bodies_are_refused_announced_or_not(server):
    head = b"POST /v1/enhance HTTP/1.1\r\nHost: localhost\r\n"
    line = server.raw(head, b"Content-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n")
    assert line.startswith(b"HTTP/1.1 413")
    assert server.ask(body=bytes(2 * 2**20))[0] == 413  # All of it is sent before the answer.
    chunk = b"%x\r\n" % 2**18 + bytes(2**18) + b"\r\n"
    chunked = [head, b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 6, b"0\r\n\r\n"]
    assert server.raw(*chunked).startswith(b"HTTP/1.1 413")
    body, kind = form(bytes(2**20))
    assert server.ask(body=body, content_type=kind)[0] == 413


def test_pictures_with_too_many_pixels_are_refused(server):
    status, _, told = server.ask(body=content(101, 100))
    assert status == 413
    assert "100x101 is 10100 pixels, over the limit of 10000" in json.loads(told)["error"]
    assert server.ask("/v1/enhance?scale=2", content(60, 60))[0] == 413  # The result, too.
    assert server.ask(body=bomb(30_000, 30_000))[0] == 413


def test_weights_that_can_not_be_loaded_are_no_fault_of_the_picture(tmp_path, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):  # They are set.
        monkeypatch.setenv(variable, "1")
    (tmp_path / "mine.onnx").write_bytes(b"no model")
    networks = worker._Networks({"mine": str(tmp_path / "mine.onnx")}, 1, 10_000)
    given = Settings(scale=1, unpack=True, strength=1.0, weights="mine", suffix=".png")
    answer, made = networks.answer(vars(given), PNG)
    assert (answer["status"], made) == (500, b"")
    assert "mine" not in answer["error"]
    assert f"{tmp_path}/mine.onnx: cannot be run as onnx" in answer["traceback"]
    with pytest.raises(NeidError, match=r"mine\.onnx: cannot be run as onnx"):  # Before it serves.
        networks.load()


def test_a_packed_picture_gets_its_size_back(server, neid, tmp_path):
    (tmp_path / "a.png").write_bytes(content(39, 48))
    assert neid("pack", tmp_path / "a.png", f"--output={tmp_path / 'b.jpg'}")[0] == 0
    packed = (tmp_path / "b.jpg").read_bytes()
    for query, size in (("", (39, 48)), ("?scale=1", (20, 24)), ("?scale=2", (40, 48))):
        status, _, made = server.ask(f"/v1/enhance{query}", packed)
        assert (status, pixels(made).shape[:2]) == (200, size)


def test_the_limit_is_of_what_is_made(server):
    """A packed picture that is larger unpacked than allowed may be doubled all the same."""
    packed, _ = packing.pack(pictures.Picture(darkened(picture(96, 98))))
    status, _, made = server.ask("/v1/enhance?scale=2", packed)
    assert (status, pixels(made).shape[:2]) == (200, (96, 98))
    packed, _ = packing.pack(pictures.Picture(darkened(picture(98, 104))))
    assert server.ask("/v1/enhance?scale=1", packed)[0] == 200
    for query in ("", "?scale=2"):
        assert server.ask(f"/v1/enhance{query}", packed)[0] == 413
    reason = json.loads(server.ask("/v1/enhance?scale=2", packed)[2])["error"]
    assert reason.endswith(
        "over the limit of 2500, which is a quarter of the service's, since the result counts"
    )


def test_a_picture_whose_client_has_gone_is_given_up_in_time():
    async def ask():
        pool = Pool(Configuration({"neid_s": "neid_s"}, workers=1))
        await pool.start()
        [one] = pool.alive
        with stopped(one.process.pid):
            facts = vars(Settings(1, True, 1.0, "neid_s", ".png"))
            asked = asyncio.create_task(pool.enhance(facts, PNG, 0.5))
            await asyncio.sleep(0.1)
            asked.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asked
            assert pool.busy == 1
            async with asyncio.timeout(TIMEOUT):
                while pool.lost == 0:
                    await asyncio.sleep(0.02)
        await pool.stop()

    asyncio.run(ask())


def bomb(width, height):
    """Return a PNG that announces many pixels, all of which are there."""

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    packer = zlib.compressobj(9)
    rows = packer.compress(bytes(2**20)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_the_number_of_a_request_is_the_clients_or_ours(server):
    assert server.ask("/healthz", x_request_id="order-17.b")[1]["x-request-id"] == "order-17.b"
    made = server.ask("/healthz", x_request_id='"a b"')[1]["x-request-id"]
    assert len(made) == 16
    server.ask(body=PNG, x_request_id="a-picture")
    [entry] = server.entries("request", id="a-picture")
    assert (entry["path"], entry["status"], entry["pixels"]) == ("/v1/enhance", 200, 24 * 32)
    assert (entry["weights"], entry["worker"], entry["bytes"]) == ("neid_s", 1, len(PNG))


def test_what_else_is_there(server):
    models = json.loads(server.ask("/v1/models")[2])
    assert models["default"] == "neid_s"
    assert [model["name"] for model in models["models"]] == ["neid_s", "neid"]
    assert server.ask("/readyz")[0] == server.ask("/healthz", method="HEAD")[0] == 200
    page = server.ask("/docs")[2].decode()
    for word in ("/v1/enhance", "strength", "429"):
        assert word in page
    assert "//" not in page  # It loads nothing from elsewhere.
    described = json.loads(server.ask("/openapi.json")[2])
    names = [row["name"] for row in described["paths"]["/v1/enhance"]["post"]["parameters"]]
    assert names == ["scale", "strength", "weights", "format"]


def test_head_is_answered_where_get_is_and_other_methods_are_told(server):
    for path in ("/v1/models", "/metrics", "/docs"):
        status, headers, body = server.ask(path, method="HEAD")
        assert (status, int(headers["content-length"]) > 0, body) == (200, True, b"")
    assert server.ask("/v1/enhance")[1]["allow"] == "POST"


@pytest.mark.parametrize("more", [True, False])
def test_a_refused_body_is_read_to_its_end_and_no_further(more):
    """A server tells no more of a body that was read whole until its client has gone."""
    body = [{"type": "http.request", "body": b"a", "more_body": more}]
    body += [{"type": "http.request", "body": b"b", "more_body": False}] * more
    received, sent = iter(body), []

    async def refusing(scope, receive, send):
        await receive()
        await refuse(Refused(422, "a damaged picture"), scope, receive, send, 100)

    async def receive():
        return next(received)  # A StopIteration would be a fault of the service.

    async def send(message):
        sent.append(message)

    gate = Gate(refusing, Configuration({"a": "a"}), lambda *_: None)
    scope = {"type": "http", "headers": [(b"host", b"localhost")], "path": "/", "method": "POST"}
    asyncio.run(gate(scope, receive, send))
    assert (next(received, None), sent[0]["status"], sent[-1]["more_body"]) == (None, 422, False)


@pytest.mark.parametrize("takes", [1, 4])
def test_an_answer_that_is_not_taken_is_given_up(takes):
    content, sent, scope = bytes(range(256)) * 1500, [], {"neid": {}}

    async def send(message):
        if len(sent) == takes:
            await asyncio.Event().wait()
        sent.append(message)

    response = app._Pieces(content, "image/png", 0.05)
    asyncio.run(response(scope, None, send))
    assert scope["neid"] == {"reason": "the client did not take the picture in time"}
    assert len(sent) == takes
    made = b"".join(message.get("body", b"") for message in sent)
    assert made == content[: 2**17 * (takes - 1)]


def test_a_line_that_is_full_sends_away_and_a_dead_worker_is_replaced(server):
    lost = server.measure("neid_workers_lost")
    with stopped(server.worker):
        at_work, *waiting = [server.begin(PNG) for _ in range(3)]
        server.wait_for("neid_waiting", 2)
        assert server.measure("neid_workers_busy") == 1
        status, headers, _ = server.ask(body=PNG)
        assert (status, int(headers["retry-after"]) >= 1) == (429, True)
        waiting.pop().give_up()
        server.wait_for("neid_waiting", 1)  # Nobody waits for it any more.
        os.kill(server.worker, signal.SIGKILL)
        status, told = at_work.answer()
        assert (status, "died" in json.loads(told)["error"]) == (503, True)
    assert waiting[0].answer()[0] == 200
    assert server.measure("neid_workers_lost") == lost + 1
    assert server.ask(body=PNG)[0] == 200


class Answering:
    """Stands for a worker, and says whether it was killed."""

    number, task, done, killed = 1, None, 0, False
    process = SimpleNamespace(pid=1)
    begin = Worker.begin

    def _send(self, *_):
        pass

    def kill(self):
        self.killed = True


@pytest.mark.parametrize("cancels", [False, True])
def test_an_answer_that_comes_as_the_time_is_over_costs_the_next_one_nothing(monkeypatch, cancels):
    """As in Python 3.12, whose ``wait_for`` can end so with an answer that is there."""

    async def run():
        pool, one = Pool(Configuration(weights={"neid": "neid"})), Answering()
        pool.idle.append(one)

        async def over(answer, _):
            pool.waiting.append(Task({}, b"", asyncio.get_running_loop().create_future()))
            if cancels:
                answer.cancel()
            pool._finish(one, {"status": 200}, b"made")
            pool._take_next(one)
            raise asyncio.TimeoutError

        monkeypatch.setattr(asyncio, "wait_for", over)
        try:
            return one, (await pool.enhance({}, b"", 1.0))[1]
        except Refused as error:
            return one, error.status

    one, got = asyncio.run(run())
    assert got == (504 if cancels else b"made")
    assert (one.killed, one.task is None) == (False, False)


def test_what_takes_too_long_is_given_up(server):
    lost, before, half = server.measure("neid_workers_lost"), server.worker, PNG[:50]
    with stopped(before), server.open() as slow:
        head = b"POST /v1/enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        slow.sendall(head + half)
        at_work = server.begin(PNG)
        server.wait_for("neid_workers_busy", 1)
        waiting = server.begin(PNG)
        assert at_work.answer()[0] == 504
        # Either it was too late for this one too, or the new worker did it.
        assert waiting.answer()[0] in (200, 503)
        assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 408")
    server.wait_for("neid_workers_lost", lost + 1)
    assert server.worker != before
    assert server.ask(body=PNG)[0] == 200


def test_a_second_server_on_its_port_says_so(server, neid):
    code, _, err = neid("serve", "--weights=neid_s", f"--port={server.port}")
    assert code == 1
    assert err.startswith(f"neid: serve: cannot listen on --host=127.0.0.1 --port={server.port}")
    assert "the port is taken" in err
    code, _, err = neid("serve", "--weights=neid_s", "--without_keys", "--host=no.host.invalid")
    assert (code, "the port is taken" in err, "--host=no.host.invalid" in err) == (1, False, True)


def test_a_worker_that_can_not_be_started_is_told_and_tried_again(monkeypatch, capsys):
    real, failures = asyncio.create_subprocess_exec, [True]
    quick = "worker._Networks.load = lambda self: None; worker.main()"
    monkeypatch.setattr(worker, "COMMAND", worker.COMMAND.replace("worker.main()", quick))

    async def fork(*command, **options):
        if failures:
            failures.pop()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return await real(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fork)

    async def lives():
        with pytest.raises(NeidError, match="could be started: resource temporarily unavailable"):
            await Pool(Configuration()).start()
        pool = Pool(Configuration())
        await pool.start()
        failures[:] = [True, True]
        for one in list(pool.alive):
            one.kill()
            while one in pool.alive or not pool.alive:
                await asyncio.sleep(0.01)
        await pool.stop()

    asyncio.run(asyncio.wait_for(lives(), 30))
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    again = ["worker lost", *["worker not started"] * 2, "worker ready"]
    assert events == ["worker not started", "worker ready", *again]


def test_what_has_begun_is_finished_when_it_ends():
    server = Server("--workers=1")
    try:
        with stopped(server.worker):
            begun = [server.begin(PNG) for _ in range(2)]
            server.wait_for("neid_waiting", 1)
            server.process.send_signal(signal.SIGTERM)
            server.entries("ending")
        assert [one.answer()[0] for one in begun] == [200, 200]
        assert server.process.wait(30) == 0
    finally:
        server.stop(signal.SIGKILL)


def test_the_examples_of_the_page(server, tmp_path):
    """What ``docs/serve.md`` says to type, with the port of the tests."""
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text("utf-8")
    (tmp_path / "dark.jpg").write_bytes(content(suffix=".jpg"))
    lines = [line for line in page.splitlines() if line.startswith("curl ") and "KEY" not in line]
    for line in lines:
        line = line.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        subprocess.run([*shlex.split(line), "--fail", "--silent"], cwd=tmp_path, check=True)
    sizes = {path.name: pictures.read(path).pixels.shape for path in tmp_path.iterdir()}
    expected = {name: (24, 32, 3) for name in ("dark.jpg", "bright.jpg", "bright.png")}
    assert sizes == expected | {"large.jpg": (48, 64, 3)}


def test_processes_of_this_machine_are_not_for_ray(neid):
    code, _, err = neid("serve", "--engine=ray", "--workers=2")
    assert (code, "--workers is for this machine" in err) == (2, True)


def test_a_client_that_stalls_when_it_ends_is_no_fault():
    server = Server("--workers=1", "--timeout=1")
    with server.open() as slow:
        slow.sendall(b"POST /v1/enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 408")
        assert server.stop() == 0
    assert not any("traceback" in line for line in server.log)
