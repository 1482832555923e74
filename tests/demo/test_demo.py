"""The web page: what it does with uploads, and the page itself in a real browser."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image

from neid_tf import demo, pictures
from neid_tf.commands import main as program
from neid_tf.demo import page as web
from neid_tf.demo import uploads
from neid_tf.demo.uploads import Settings
from neid_tf.inference.enhance import enhance
from neid_tf.inference.network import FunctionNetwork
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import install_extra
from tests.conftest import darkened, picture, write

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTROLS = (1.0, 1, "neid", ".png")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in" / "dark.png", darkened(picture(21, 30)))


@pytest.fixture
def enhancer(small_model, tmp_path):
    from neid_tf import models
    from neid_tf.inference import tiles

    model = tiles.Tiled(models.inference_model(small_model))
    return demo.Enhancer(lambda _: model, tmp_path / "out", max_pixels=10_000)


def pixels(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_result_is_what_enhance_gives(enhancer, source):
    result = enhancer(source, Settings(strength=1.5, scale=2))
    image = pixels(source)
    expected = enhance(image, enhancer.network("neid").network, scale=2, strength=1.5)
    np.testing.assert_array_equal(pixels(result.download), expected)
    np.testing.assert_array_equal(pixels(result.after), expected)
    assert pixels(result.before).shape == (42, 60, 3)
    assert result.download.name == "dark_neid.png"


def test_strength_zero_shows_the_same_twice(enhancer, source):
    result = enhancer(source, Settings(strength=0.0))
    np.testing.assert_array_equal(pixels(result.before), pixels(result.after))
    np.testing.assert_array_equal(pixels(result.before), pixels(source))


def test_sixteen_bits_are_kept_in_the_download_only(enhancer, tmp_path):
    deep = write(tmp_path / "deep.tiff", darkened(picture(20, 24)).astype(np.uint16) * 257)
    result = enhancer(deep)
    assert pixels(result.download).dtype == np.uint16
    assert {pixels(path).dtype for path in (result.before, result.after)} == {np.dtype(np.uint8)}


def test_transparency_is_shown_on_white_and_kept(enhancer, tmp_path):
    alpha = np.zeros((20, 24), np.uint8)
    see_through = pictures.Picture(darkened(picture(20, 24)), alpha=alpha)
    pictures.write(tmp_path / "clear.png", see_through)
    result = enhancer(tmp_path / "clear.png")
    assert (pixels(result.before) == 255).all()
    np.testing.assert_array_equal(pictures.read(result.download).alpha, alpha)


def test_previews_of_large_pictures_are_small(enhancer, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "PREVIEW_SIDE", 40)
    result = enhancer(write(tmp_path / "wide.png", darkened(picture(50, 80))))
    assert [pixels(path).shape for path in (result.before, result.after)] == [(25, 40, 3)] * 2
    assert pixels(result.download).shape == (50, 80, 3)


def test_another_strength_asks_the_model_once(enhancer, source):
    calls = []
    inner = enhancer.network("neid").network

    def counting(batch):
        calls.append(batch.shape)
        return inner(batch)

    enhancer.network("neid").network = FunctionNetwork(counting)
    first = pixels(enhancer(source, Settings(1.0)).after)
    brighter = pixels(enhancer(source, Settings(2.0)).after)
    assert len(calls) == 1
    assert brighter.mean() > first.mean()
    enhancer(write(source.with_name("other.png"), darkened(picture(21, 30, seed=5))))
    assert len(calls) == 2


def test_pictures_of_one_half_are_two():
    class Refining(FunctionNetwork):
        refines = True

        def _run(self, batch, context, box, picture):
            return picture / np.float32(255)

    network, batch = uploads.Remembering(Refining(None)), np.zeros((1, 2, 2, 3), np.float32)
    for level in (10, 10, 200):
        picture = np.full((1, 4, 4, 3), level, np.uint8)
        assert network(batch, picture).max() * 255 == pytest.approx(level)


def test_only_the_latest_results_are_kept(enhancer, source):
    results = []
    for _ in range(uploads.KEPT + 1):
        enhancer.begin()
        results.append(enhancer(source))
    kept = {path for path in enhancer.folder.rglob("*") if path.is_file()}
    assert kept == {path for r in results[1:] for path in (r.before, r.after, r.download)}


def test_nobody_is_shown_the_picture_of_another(enhancer, source):
    events, session, gradio = events_of(enhancer)
    theirs = write(source.with_name("other.png"), darkened(picture(20, 24)))
    results, *_ = events.answer(session, (str(source), str(source)), *CONTROLS)
    events.answer(SimpleNamespace(session_hash="b"), (str(theirs),), *CONTROLS)
    original, _ = events.show(results, 0)
    assert original.label == "dark.png: original"
    assert pixels(original.value["path"]).shape == (21, 30, 3)
    for _ in range(uploads.KEPT):
        enhancer.begin()
    with pytest.raises(gradio.Error, match="kept no longer"):
        events.show(results, 0)


def test_a_name_in_the_zip_is_there_once(enhancer, tmp_path):
    names = ("a.png", "a.jpg", "2_a.png")
    results = [
        enhancer(write(tmp_path / name, darkened(picture(20, 24))), number=number)
        for number, name in enumerate(names)
    ]
    with zipfile.ZipFile(enhancer.packed(results)) as archive:
        assert archive.namelist() == ["a_neid.png", "2_a_neid.png", "2_2_a_neid.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"strength": -0.1}, "-0.1"), ({"strength": 3.1}, "3.1"), ({"scale": 3}, "3")],
)
def test_bad_controls_are_named(enhancer, source, options, message):
    with pytest.raises(ValueError, match=message):
        enhancer(source, Settings(**options))


def test_too_large_a_picture_is_refused(enhancer, tmp_path):
    large = write(tmp_path / "large.png", picture(101, 100))
    with pytest.raises(pictures.PictureError, match=r"large\.png"):
        enhancer(large)


def test_errors_on_the_page_are_one_line_without_markup(enhancer, tmp_path):
    gradio = pytest.importorskip("gradio", minversion="6")
    text = tmp_path / "<b>text.png"
    text.write_text("no picture")
    events, session = web._Events(gradio, enhancer), SimpleNamespace(session_hash="a")
    with pytest.raises(gradio.Error) as caught:
        events.answer(session, (str(text),), *CONTROLS)
    assert caught.value.message.startswith("&lt;b&gt;text.png: not a picture")
    assert len(caught.value.message.splitlines()) == 1
    assert str(tmp_path) not in caught.value.message
    assert not caught.value.print_exception


def test_missing_gradio_is_told_with_the_remedy(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=re.escape(install_extra("demo"))):
        demo.load_gradio()
    command = "from neid_tf.commands import main; import sys; sys.modules['gradio'] = None; "
    command += "sys.exit(main.run('demo', ['demo']))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == program.FAILED
    assert done.stderr.strip().endswith(f"which is missing: {install_extra('demo')}")
    assert len(done.stderr.strip().splitlines()) == 1


def events_of(enhancer):
    gradio = pytest.importorskip("gradio", minversion="6")
    own = SimpleNamespace(**vars(gradio))
    return web._Events(own, enhancer), SimpleNamespace(session_hash="a"), own


def test_several_pictures_come_in_one_file_and_a_bad_one_costs_itself(enhancer, tmp_path):
    events, session, _ = events_of(enhancer)
    told = []
    events.gr.Warning = told.append
    folders = [tmp_path / "a", tmp_path / "b"]
    paths = [write(f / "dark.png", darkened(picture(20, 24, n))) for n, f in enumerate(folders)]
    (tmp_path / "text.png").write_text("no picture")
    paths = [str(paths[0]), str(tmp_path / "text.png"), str(paths[1])]
    results, original, _, picker, button = events.answer(session, paths, *CONTROLS)
    assert [result.name for result in results] == ["dark.png", "dark.png"]
    assert original.label == "dark.png: original"
    assert (len(picker.choices), picker.visible) == (2, True)
    assert len(told) == 1
    assert "text.png: not a picture" in told[0]
    with zipfile.ZipFile(button.value["path"]) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unpacked")
    assert names == ["dark_neid.png", "2_dark_neid.png"]
    for name, result in zip(names, results, strict=True):
        np.testing.assert_array_equal(pixels(tmp_path / "unpacked" / name), pixels(result.download))
    shown = events.show(results, 1)
    assert shown[0].value["path"] != original.value["path"]


def test_what_the_download_has_not_is_told(enhancer, tmp_path):
    events, session, gradio = events_of(enhancer)
    told = []
    gradio.Warning = told.append
    frames = [Image.fromarray(darkened(picture(20, 24, n))) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "<b>.tif", save_all=True, append_images=frames[1:2])
    frames[0].convert("CMYK").save(tmp_path / "c.jpg")
    clear = frames[0].copy()
    clear.putalpha(128)
    clear.save(tmp_path / "d.png")
    paths = [str(path) for path in sorted(tmp_path.glob("*.*"))]
    events.answer(session, paths, *CONTROLS[:-1], ".jpg")
    assert told[0].split("<br>") == [
        "&lt;b&gt;.tif: 1 of its pages are left out",
        "a.gif: 2 of its frames are left out",
        "c.jpg: its inks (CMYK) become sRGB",
        "d.png: its transparency is laid on white: JPEG holds none",
    ]
    events.answer(session, paths[1:2], *CONTROLS)  # A PNG could hold frames.
    events.answer(session, paths[3:], *CONTROLS)
    assert told[1:] == ["a.gif: 2 of its frames are left out"]


def test_a_download_is_what_the_controls_say_or_nothing(enhancer, source):
    events, session, gradio = events_of(enhancer)
    first = (str(source),), *CONTROLS
    second = (str(source),), 2.0, *CONTROLS[1:]
    assert not events.note(session, *first).interactive
    assert events.answer(session, *first)[-1].interactive
    # While the first is computed, the controls change: its result does not come to the page.
    slow = enhancer.network("neid")

    def changing(batch):
        events.note(session, *second)
        return np.zeros((1, *(2 * side for side in batch.shape[1:3]), 3), np.float32)

    slow.network, slow._last = FunctionNetwork(changing), None
    skipped = events.answer(session, *first)
    assert [value == gradio.skip() for value in skipped] == [True] * 5
    # Nor is what nobody waits for any more computed at all.
    assert [value == gradio.skip() for value in events.answer(session, *first)] == [True] * 5
    assert events.answer(session, *second)[-1].interactive


def test_downloads_as_jpeg(enhancer, source):
    result = enhancer(source, Settings(suffix=".jpg"))
    assert result.download.name == "dark_neid.jpg"
    assert result.download.read_bytes()[:2] == b"\xff\xd8"
    with pytest.raises(ValueError, match=r"\.png or \.jpg, not '\.exe'"):
        Settings(suffix=".exe")
    for strength in (None, "1"):
        with pytest.raises(NeidError, match="strength must be a number from 0 to 3"):
            Settings(strength)


def test_other_weights(source, tmp_path):
    loaded = []

    def load(name):
        loaded.append(name)
        return lambda batch: np.full((1, 22, 30, 3), {"a": 0.25, "b": 0.5}[name], np.float32)

    enhancer = demo.Enhancer(load, tmp_path / "out", weights=("a", "b"))
    for weights, level in ((None, 64), ("b", 128), ("a", 64), ("b", 128)):
        result = enhancer(source, Settings(weights=weights))
        assert abs(int(pixels(result.after).mean()) - level) <= 1
    assert loaded == ["a", "b"]
    with pytest.raises(ValueError, match="no weights 'c'; there are a, b"):
        enhancer(source, Settings(weights="c"))


def test_the_original_is_shown_before_it_is_enhanced(enhancer, source):
    events, _, gradio = events_of(enhancer)
    told = []
    gradio.Warning = told.append
    choice = events.choosing(tuple)([str(source)] * 25)
    paths, upload, results, original, slider, _, button = choice
    assert told == ["25 pictures: the first 20 are taken"]
    assert (len(paths), upload, results, slider.value) == (web.MAX_FILES, None, (), None)
    assert original.value is not None
    assert not button.interactive
    np.testing.assert_array_equal(enhancer.original(source), pixels(source))


def test_a_taken_port_is_named(monkeypatch):
    from neid_tf.commands import demo as command
    from neid_tf.commands import listening

    def taken(*_):
        raise OSError("Cannot find empty port")

    monkeypatch.setattr(demo, "launch", taken)
    for holder, value in {
        "HOST": "127.0.0.1",
        "PORT": 7999,
        "MAX_UPLOAD": 1,
        "NAMES": [],
    }.items():
        monkeypatch.setattr(listening, holder, SimpleNamespace(value=value))
    with pytest.raises(NeidError, match=r"--host=127\.0\.0\.1 --port=7999"):
        command._launch(None)
    monkeypatch.setattr(listening, "HOST", SimpleNamespace(value="none.invalid"))
    with pytest.raises(NeidError, match=r"--host=none\.invalid --port=7999: (?!the port is taken)"):
        command._launch(None)


def test_addresses_of_version_6_have_brackets():
    given = {}
    page = SimpleNamespace(launch=lambda **fields: given.update(fields), local_url="")
    for host, name in (("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")):
        demo.launch(page, host, 7999)
        assert given["server_name"] == name


def test_weights_that_are_not_there_are_told_before_anything_is_loaded(neid, monkeypatch):
    monkeypatch.setattr(demo, "load_gradio", None)
    code, _, err = neid("demo", "--weights=none.npz")
    assert (code, "neid: demo: none.npz: neither" in err) == (1, True), err


def test_a_second_termination_does_not_keep_it_from_tidying_up(neid, tmp_path, monkeypatch):
    def terminated():
        folder = os.environ["GRADIO_TEMP_DIR"]
        try:
            os.makedirs(folder)
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            os.rmdir(folder)

    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # What it is set to ends with the test.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(demo, "load_gradio", terminated)
    code, out, err = neid("demo")
    assert (code, out, err) == (143, "", "neid: demo: terminated\n")
    assert not list(tmp_path.iterdir())


def test_samples_are_the_pictures_of_a_folder(tmp_path):
    names = ["b.png", "a.JPG", "notes.txt", "._a.JPG"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in demo.sample_pictures(tmp_path)] == ["a.JPG", "b.png"]
    with pytest.raises(OSError, match="nowhere"):
        demo.sample_pictures(tmp_path / "nowhere")


@pytest.fixture
def address(tmp_path, weights_file):
    """The page of a ``neid demo`` in a process of its own, which must end cleanly."""
    pytest.importorskip("gradio", minversion="6")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write(tmp_path / "samples" / "sample.png", darkened(picture(40, 60)))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = "import sys; from neid_tf.commands import main; sys.exit(main.run('demo', sys.argv))"
    arguments = [f"--port={port}", f"--weights={weights_file}", f"--samples={tmp_path / 'samples'}"]
    arguments += ["--max_upload=1", "--max_pixels=90000"]
    server = subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = server.stdout.readline()
    if "http" not in line:
        server.kill()
        pytest.fail(line + server.communicate()[1])
    yield line.split()[0]
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=120)
    assert server.returncode == 0, errors
    assert "Traceback" not in errors
    assert not list(temporary.iterdir())


def asked(address, path="/", method="GET", body=None, **headers):
    """Return the status and the text of an answer."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection(urlsplit(address).netloc)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


def test_foreign_requests_are_refused_and_nonsense_is_one_line(address):
    own = urlsplit(address).netloc
    assert asked(address)[0] == 200
    assert asked(address, Origin=f"http://{own}")[0] == 200
    assert asked(address, Host=f"localhost:{urlsplit(address).port}")[0] == 200
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{urlsplit(address).port}"},
        {"Host": ""},
        {"Host": "[::"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{urlsplit(address).port + 1}"},
    ):
        status, text = asked(address, **headers)
        assert (status, len(text.splitlines())) == (403, 1), headers
    json_type = {"Content_Type": "application/json"}
    for path in ("queue/join", "queue/data", "upload", "run/predict", "call/x", "reset", "cancel"):
        for body in ("", "{", "[]", '{"data": null}', '{"fn_index": 99999, "data": []}'):
            for method in ("POST", "GET"):
                status, text = asked(address, f"/gradio_api/{path}", method, body, **json_type)
                assert 400 <= status < 600 or "error" in text or method == "GET", (path, body, text)
                assert "Traceback" not in text
    data = '{"data": [[{"path": "/etc/passwd"}]], "fn_index": 0, "session_hash": "x"}'
    asked(address, "/gradio_api/queue/join", "POST", data, **json_type)
    assert "root:" not in asked(address, "/gradio_api/file=/etc/passwd")[1]
    # The fixture looks for tracebacks in the log.


@pytest.fixture
def page(address):
    """The page in Chromium; it asks nothing of other hosts."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
        browser.close()
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def clip(page):
    return page.locator("#comparison img").nth(1).evaluate("image => image.style.clipPath")


def test_page_in_a_browser(page, tmp_path):
    upload, images = page.locator("#picture input[type=file]"), page.locator("#comparison img")
    dark = darkened(picture(50, 80))
    upload.set_input_files(write(tmp_path / "dark.png", dark))
    images.nth(1).wait_for()
    page.get_by_text("dark.png: original | enhanced").wait_for()

    handle = page.locator("#comparison [data-testid=slider]")
    handle.wait_for()
    middle, box = clip(page), handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 200, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert clip(page) != middle

    after = images.nth(1).get_attribute("src")
    page.locator("#strength input[type=number]").fill("0")
    page.wait_for_function(
        "old => document.querySelectorAll('#comparison img')[1]?.src !== old", arg=after
    )
    page.locator("#size").get_by_text("Twice as large").click()
    page.wait_for_function(
        "() => document.querySelectorAll('#comparison img')[1]?.naturalWidth === 160"
    )
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "dark_neid.png"
    download.value.save_as(tmp_path / "saved.png")
    expected = enhance(dark, lambda x: np.zeros((1, 100, 160, 3), np.float32), 2, 0.0)
    np.testing.assert_array_equal(pixels(tmp_path / "saved.png"), expected)

    (tmp_path / "text.png").write_text("no picture")
    upload.set_input_files(tmp_path / "text.png")
    page.get_by_text("text.png: not a picture of a known format").wait_for()
    assert images.count() == 0
    assert page.locator("#download").is_disabled()

    upload.set_input_files(write(tmp_path / "large.png", np.zeros((301, 300, 3), np.uint8)))
    page.get_by_text(re.compile("large.png: .*90000|large.png: .*90,000")).wait_for()

    (tmp_path / "heavy.png").write_bytes(bytes(2**20 + 1))
    upload.set_input_files(tmp_path / "heavy.png")
    page.get_by_text("exceed the maximum allowed size").wait_for()

    (tmp_path / "notes.txt").write_text("no picture")
    upload.set_input_files(
        [
            *[write(tmp_path / f"{name}.png", darkened(picture(30, 40))) for name in "ab"],
            tmp_path / "notes.txt",
        ]
    )
    page.get_by_text("a.png: original | enhanced").wait_for()
    page.get_by_text("notes.txt: not a picture of a known format").wait_for()
    page.locator("#names").get_by_text("b.png").click()
    page.get_by_text("b.png: original | enhanced").wait_for()
    assert page.locator("#original img").count() == 1
    page.locator("#format").get_by_text("JPEG").click()
    page.wait_for_function("() => !document.querySelector('#download').disabled")
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "saved.zip")
    with zipfile.ZipFile(tmp_path / "saved.zip") as archive:
        assert archive.namelist() == ["a_neid.jpg", "b_neid.jpg"]

    page.locator("#samples button").first.click()
    page.get_by_text("sample.png: original | enhanced").wait_for()
    assert "Traceback" not in page.content()
