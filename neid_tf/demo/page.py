"""The page itself, made with Gradio, which is imported when a page is made, not before."""

import html
import os
from pathlib import Path

from neid_tf import pictures
from neid_tf.demo.uploads import MAX_STRENGTH
from neid_tf.support.libraries import install_extra

MAX_UPLOAD = 100
"""The largest upload taken by default, in MiB."""

_KEPT_SECONDS = 3600
_LABEL = "original | enhanced"
_FONTS = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
_TEXT = """# NEID
Drop a low-light picture in: it comes back brightened, its details restored. Everything happens
on the machine that serves this page."""


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
