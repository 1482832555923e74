"""Who may ask: keys, and names."""

import asyncio
import json

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from neid_tf.service import app, configuration, log
from neid_tf.service.configuration import Configuration, digest

KEY = "a-key-of-the-tests"


def asked(made, path, **headers):
    """Ask an application whose workers were not started; return status and content."""
    names = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
    scope |= {"headers": names, "query_string": b"", "http_version": "1.1", "root_path": ""}
    scope |= {"scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1)}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(made(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.fixture
def guarded():
    return app.create(Configuration(keys=frozenset({digest(KEY)})))


def test_a_key_opens(guarded, capsys):
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x_api_key": KEY}):
        assert asked(guarded, "/v1/models", host="anything.example", **headers)[0] == 200
    assert KEY not in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/enhance", "/nothing"])
def test_nothing_else_does(guarded, path):
    for headers in (
        {},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Basic {KEY}"},
        {"x_api_key": digest(KEY)},
        {"x_api_key": "ü"},
    ):
        status, told = asked(guarded, path, **headers)
        assert (status, "a key is needed" in json.loads(told)["error"]) == (401, True)


def test_paths_of_weights_are_not_told():
    package = configuration.offered("neid_s")
    assert list(package) == ["neid_s", "neid"]
    own = configuration.offered("/secret/place/mine.onnx")
    assert list(own) == ["mine", "neid", "neid_s"]
    assert own["mine"] == "/secret/place/mine.onnx"
    told = asked(app.create(Configuration(weights=own)), "/v1/models", host="localhost")[1]
    assert b"secret" not in told
    assert json.loads(told)["default"] == "mine"
    summaries = [model["summary"] for model in json.loads(told)["models"]]
    assert [summary == "given with --weights" for summary in summaries] == [True, False, False]


def test_health_needs_no_key(guarded):
    assert b"<form" not in asked(guarded, "/docs")[1]
    assert asked(guarded, "/healthz")[0] == 200
    assert asked(guarded, "/readyz")[0] == 503  # No worker has been started.


def test_without_keys_foreign_names_and_pages_are_refused():
    made = app.create(Configuration(names=("pictures.example",)))
    for host in ("localhost:8080", "127.0.0.1", "[::1]:80", "Pictures.Example"):
        assert asked(made, "/v1/models", host=host)[0] == 200
    assert asked(made, "/v1/models", host="evil.example")[0] == 403
    for origin in ("http://evil.example", "null", "http://["):
        assert asked(made, "/v1/models", host="localhost", origin=origin)[0] == 403
    assert asked(made, "/v1/models", host="localhost", origin="http://localhost")[0] == 200


def test_a_fault_is_a_line_in_the_log_and_an_answer(monkeypatch, capsys):
    made = app.create(Configuration())
    monkeypatch.setattr(app, "page", lambda *_, **__: 1 / 0)
    status, told = asked(made, "/docs", host="localhost")
    assert (status, json.loads(told)["error"]) == (500, "a fault of the service")
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["status"]) == ("error", 500)
    assert "ZeroDivisionError" in entry["traceback"]


def test_the_file_of_keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# of the tests\n\n  {KEY}\nanother-key-of-the-tests\n")
    keys = configuration.read_keys(path)
    assert keys == {digest(KEY), digest("another-key-of-the-tests")}
    assert Configuration(keys=keys).knows(KEY)
    assert not Configuration(keys=keys).knows("# of the tests")


@pytest.mark.parametrize("text", ["", "# nothing\n", "short\n", "a key with spaces in it\n"])
def test_a_file_without_sound_keys_is_refused(tmp_path, neid, text):
    path = tmp_path / "keys"
    path.write_text(text)
    code, _, err = neid("serve", f"--api_keys={path}")
    assert (code, str(path) in err, text.strip() == "" or text.strip() not in err) == (
        2,
        True,
        True,
    )


def test_another_address_asks_for_keys(neid, monkeypatch):
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        code, _, err = neid("serve", f"--host={host}")
        assert (code, "--api_keys=FILE or NEID_API_KEYS, or say --without_keys" in err) == (2, True)
    monkeypatch.setenv("NEID_API_KEYS", f"{KEY} ")
    assert "--without_keys, but there are keys" in neid("serve", "--without_keys")[2]
    # With a key it goes on, up to the address that is not of this machine.
    code, _, err = neid("serve", "--host=192.0.2.1")
    assert (code, "cannot listen on --host=192.0.2.1 --port=8080" in err) == (1, True)


def test_the_log_survives_any_text_and_nobody_reading(monkeypatch, capsys):
    log.log("é\n\udce9", reason=None, number=1)
    entry = json.loads(capsys.readouterr().err)
    assert (entry["event"], entry["number"], "reason" in entry) == ("é\n\udce9", 1, False)
    monkeypatch.setattr("sys.stderr", None)
    log.log("nothing")
