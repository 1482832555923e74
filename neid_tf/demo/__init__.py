"""A local web page: a picture dropped in comes back beside the original.

Nothing is asked of other hosts. Gradio is imported when a page is made, not before.
"""

import dataclasses
import html
import os
import shutil
from pathlib import Path

import numpy as np

from neid_tf import pictures
from neid_tf.inference.enhance import enhance
from neid_tf.pixels.samples import over_white, to_type
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import install_extra

MAX_PIXELS = 50_000_000
"""The largest picture read by default, in pixels."""
MAX_UPLOAD = 100
"""The largest upload taken by default, in MiB."""
MAX_STRENGTH = 3.0
"""Where the page's strength control ends."""
PREVIEW_SIDE = 1600
"""The longest side of the pictures under the slider, in pixels; the download has them all."""

_KEPT_SECONDS = 3600
_LABEL = "original | enhanced"
_FONTS = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
_TEXT = """# NEID
Drop a low-light picture in: it comes back brightened, its details restored. Everything happens
on the machine that serves this page."""


class Remembering:
    """A model that remembers its last result: another strength then costs only the blend.

    Args:
        model: as for :func:`neid_tf.enhance`; with ``predict_on_batch``.
    """

    def __init__(self, model):
        self.model, self.config = model, model.config
        self._last = None

    def predict_on_batch(self, batch):
        """Return the model's output, computed or remembered."""
        last = self._last
        if last is None or not np.array_equal(last[0], batch):
            self._last = None
            last = self._last = batch, self.model.predict_on_batch(batch)
        return last[1]


@dataclasses.dataclass(frozen=True)
class Result:
    """Files made of one upload.

    Attributes:
        before: 8-bit PNG of the original, upright, of the size of ``after``.
        after: 8-bit PNG of the enhanced picture, no side above :data:`PREVIEW_SIDE`.
        download: PNG of the enhanced picture, of full size and depth.
    """

    before: Path
    after: Path
    download: Path


class Enhancer:
    """What the page does with an upload; one call at a time.

    Args:
        model: as for :func:`neid_tf.enhance`; with ``predict_on_batch``.
        folder: where the files of the latest result are written.
        max_pixels: the largest picture read, in pixels.
    """

    def __init__(self, model, folder, max_pixels=MAX_PIXELS):
        self.model, self.folder, self.max_pixels = Remembering(model), Path(folder), max_pixels

    def __call__(self, path, strength=1.0, scale=1):
        """Enhance the picture of a file.

        Args:
            path: the file.
            strength: 0 to :data:`MAX_STRENGTH`; see :func:`neid_tf.enhance`.
            scale: 1 or 2.

        Returns:
            :class:`Result`. The files of earlier results are gone.

        Raises:
            PictureError: if the file is no sound picture, or too large.
            ValueError: for another strength or scale.
        """
        if not 0.0 <= strength <= MAX_STRENGTH:
            raise NeidError(f"strength must be from 0 to {MAX_STRENGTH:g}, not {strength!r}")
        picture = pictures.read(path, self.max_pixels)
        pixels = enhance(picture.pixels, self.model, scale=scale, strength=strength)
        return self._write(picture, picture.with_pixels(pixels), Path(path).stem)

    def _write(self, before, after, stem):
        folder = self.folder / "result"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        size = _preview_size(*after.pixels.shape[:2])
        files = {
            folder / "before.png": _preview(before, size),
            folder / "after.png": _preview(after, size),
            folder / f"{stem}_neid.png": after,
        }
        for path, picture in files.items():
            pictures.write(path, picture)
        return Result(*files)


def _preview_size(height, width):
    """Return the width and height of a preview, as cv2 takes them."""
    factor = min(1.0, PREVIEW_SIDE / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _preview(picture, size):
    """Return a picture of that size, 8 bits and no transparency."""
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = over_white(pixels, picture.alpha)
    if pixels.shape[1::-1] != size:
        import cv2

        way = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_CUBIC
        pixels = cv2.resize(pixels, size, interpolation=way)
    pixels = to_type(pixels, np.uint8)
    return dataclasses.replace(picture, pixels=pixels, alpha=None, exif=None)


def sample_pictures(folder):
    """Return the paths of a folder's pictures, sorted by name.

    Raises:
        OSError: if there is no such folder.
    """
    found = (path.resolve() for path in Path(folder).iterdir())
    return sorted(path for path in found if path.suffix.lower() in pictures.SUFFIXES)


def load_gradio():
    """Import Gradio, told to send no analytics.

    Raises:
        ImportError: if it is missing or older than 6; the message names the remedy.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            f"the page needs Gradio, which is missing: {install_extra('demo')}"
        ) from error
    if int(gradio.__version__.split(".")[0]) < 6:
        raise ImportError(
            f"the page needs Gradio 6, not {gradio.__version__}: {install_extra('demo')}"
        )
    return gradio


def build(enhancer, samples=()):
    """Make the page, a ``gradio.Blocks``; needs Gradio, see :func:`load_gradio`.

    Args:
        enhancer: :class:`Enhancer`.
        samples: paths of pictures to offer as examples.
    """
    gr = load_gradio()
    cleaning = (_KEPT_SECONDS, _KEPT_SECONDS)
    with gr.Blocks(title="NEID", analytics_enabled=False, delete_cache=cleaning) as page:
        gr.Markdown(_TEXT)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                suffixes = sorted(pictures.SUFFIXES)
                upload = gr.File(
                    file_types=suffixes, height=170, label="Picture", elem_id="picture"
                )
                controls = _controls(gr)
                shown = _samples(gr, samples)
            with gr.Column(scale=3, min_width=340):
                outputs = _outputs(gr)
        _connect(gr, enhancer, (upload, shown, samples), controls, outputs)
    return page


def _controls(gr):
    info = "0: the original; 1: the full effect; above 1: more light"
    sizes = [("As the original", 1), ("Twice as large", 2)]
    return [
        gr.Slider(
            0.0, MAX_STRENGTH, 1.0, step=0.05, label="Strength", info=info, elem_id="strength"
        ),
        gr.Radio(sizes, value=1, label="Size", elem_id="size"),
    ]


def _samples(gr, paths):
    return gr.Dataset(
        label="Samples",
        components=[gr.Image(visible=False)],
        samples=[[str(path)] for path in paths],
        type="index",
        visible=bool(paths),
        elem_id="samples",
    )


def _outputs(gr):
    options = {"interactive": False, "buttons": ["fullscreen"], "max_height": 640}
    return [
        gr.ImageSlider(label=_LABEL, elem_id="comparison", **options),
        gr.DownloadButton("Download PNG", interactive=False, variant="primary", elem_id="download"),
    ]


def _connect(gr, enhancer, sources, controls, outputs):
    """Enhance when a picture is chosen or a control changes.

    The chosen path stays on the server, and the upload area is emptied for the next picture.
    """
    upload, shown, paths = sources
    chosen = gr.State()
    private = {"api_visibility": "private"}
    target = {"fn": _answering(gr, enhancer), "inputs": [chosen, *controls], "outputs": outputs}
    target |= {"concurrency_limit": 1, "concurrency_id": "model", "show_progress_on": outputs[0]}
    blank = {"show_progress": "hidden", "outputs": [chosen, upload, *outputs]}
    for event, source, path in (
        (upload.upload, upload, str),
        (shown.click, shown, lambda number: str(paths[number])),
    ):
        event(_choosing(gr, path), source, **blank, **private).then(**target, **private)
    gr.on([each.change for each in controls], trigger_mode="always_last", **target, **private)


def _choosing(gr, path):
    """Return the function of a choice: it keeps the path and clears all else."""

    def choose(value):
        slider = gr.ImageSlider(value=None, label=_LABEL)
        return path(value), None, slider, gr.DownloadButton(value=None, interactive=False)

    return choose


def _answering(gr, enhancer):
    """Return the function of the page's events; what goes wrong is one line on the page."""

    def answer(path, strength, scale):
        if path is None:
            return gr.skip(), gr.skip()
        name = Path(path).name
        try:
            result = enhancer(path, strength, scale)
        except pictures.PictureError as error:
            raise _error(gr, f"{name}: {error.reason}") from error
        except (ValueError, MemoryError) as error:
            raise _error(gr, f"{name}: {error or 'not enough memory'}") from error
        shown = str(result.before), str(result.after)
        slider = gr.ImageSlider(value=shown, label=f"{name}: {_LABEL}")
        return slider, gr.DownloadButton(value=str(result.download), interactive=True)

    return answer


def _error(gr, message):
    # The page would take a file's name for HTML.
    return gr.Error(html.escape(message), print_exception=False)


def launch(page, host="127.0.0.1", port=7860, max_upload=MAX_UPLOAD):
    """Serve a page from a thread of its own, until its ``close``; return its address.

    Args:
        page: from :func:`build`.
        host: address to listen on.
        port: port to listen on.
        max_upload: the largest upload taken, in MiB.

    Raises:
        OSError: if the port is taken.
    """
    gr = load_gradio()
    off = ("share", "ssr_mode", "mcp_server", "pwa", "run_history", "enable_monitoring")
    page.launch(
        server_name=host,
        server_port=port,
        max_file_size=max_upload * 2**20,
        theme=gr.themes.Default(primary_hue="amber", **_FONTS),
        footer_links=[],
        prevent_thread_lock=True,
        quiet=True,
        **dict.fromkeys(off, False),
    )
    return page.local_url
