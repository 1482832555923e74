"""The web page: what it does with uploads, and the page itself in a real browser."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from neid_tf import demo, pictures
from neid_tf.commands import main as program
from neid_tf.demo import page as web
from neid_tf.demo import uploads
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
ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in" / "dark.png", darkened(picture(21, 30)))


@pytest.fixture
def enhancer(small_model, tmp_path):
    from neid_tf import models
    from neid_tf.inference import tiles

    model = tiles.Tiled(models.inference_model(small_model))
    return demo.Enhancer(model, tmp_path / "out", max_pixels=10_000)


def pixels(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_result_is_what_enhance_gives(enhancer, source):
    result = enhancer(source, strength=1.5, scale=2)
    image = pixels(source)
    expected = enhance(image, enhancer.model.model, scale=2, strength=1.5)
    np.testing.assert_array_equal(pixels(result.download), expected)
    np.testing.assert_array_equal(pixels(result.after), expected)
    assert pixels(result.before).shape == (42, 60, 3)
    assert result.download.name == "dark_neid.png"


def test_strength_zero_shows_the_same_twice(enhancer, source):
    result = enhancer(source, strength=0.0)
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
    inner = enhancer.model.network

    def counting(batch):
        calls.append(batch.shape)
        return inner(batch)

    enhancer.model.network = FunctionNetwork(counting)
    first = pixels(enhancer(source, 1.0).after)
    brighter = pixels(enhancer(source, 2.0).after)
    assert len(calls) == 1
    assert brighter.mean() > first.mean()
    enhancer(write(source.with_name("other.png"), darkened(picture(21, 30, seed=5))))
    assert len(calls) == 2


def test_only_the_latest_result_is_kept(enhancer, source):
    enhancer(source)
    other = write(source.with_name("other.png"), darkened(picture(20, 24)))
    result = enhancer(other)
    kept = {path for path in enhancer.folder.rglob("*") if path.is_file()}
    assert kept == {result.before, result.after, result.download}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"strength": -0.1}, "-0.1"), ({"strength": 3.1}, "3.1"), ({"scale": 3}, "3")],
)
def test_bad_controls_are_named(enhancer, source, options, message):
    with pytest.raises(ValueError, match=message):
        enhancer(source, **options)


def test_too_large_a_picture_is_refused(enhancer, tmp_path):
    large = write(tmp_path / "large.png", picture(101, 100))
    with pytest.raises(pictures.PictureError, match=r"large\.png"):
        enhancer(large)


def test_errors_on_the_page_are_one_line_without_markup(enhancer, tmp_path):
    gradio = pytest.importorskip("gradio", minversion="6")
    text = tmp_path / "<b>text.png"
    text.write_text("no picture")
    with pytest.raises(gradio.Error) as caught:
        web._answering(gradio, enhancer)(str(text), 1.0, 1)
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


def test_a_taken_port_is_named(monkeypatch):
    from neid_tf.commands import demo as command

    def taken(*_):
        raise OSError("Cannot find empty port")

    monkeypatch.setattr(demo, "launch", taken)
    for holder, value in {"_HOST": "127.0.0.1", "_PORT": 7999, "_MAX_UPLOAD": 1}.items():
        monkeypatch.setattr(command, holder, SimpleNamespace(value=value))
    with pytest.raises(NeidError, match=r"--host=127\.0\.0\.1 --port=7999"):
        command._launch(None)


def test_samples_are_the_pictures_of_a_folder(tmp_path):
    names = ["b.png", "a.JPG", "notes.txt"]
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
        pytest.fail(server.communicate()[1])
    yield line.split()[0]
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=30)
    assert server.returncode == 0, errors
    assert "Traceback" not in errors
    assert not list(temporary.iterdir())


@pytest.fixture
def page(address):
    """The page in Chromium; it asks nothing of other hosts."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(30_000)
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
    expected = enhance(dark[..., ::-1].copy(), lambda x: np.zeros((1, 100, 160, 3)), 2, 0.0)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "saved.png")), expected)

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

    page.locator("#samples button").first.click()
    page.get_by_text("sample.png: original | enhanced").wait_for()
    assert "Traceback" not in page.content()
