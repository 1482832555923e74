"""The page itself, made with Gradio, which is imported when a page is made, not before."""

import collections
import html
import os
import types
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from neid_tf.demo.guard import Guard, one_line_tracebacks
from neid_tf.demo.uploads import MAX_STRENGTH, SUFFIXES, Enhancer, Result, Settings
from neid_tf.support.errors import NeidError
from neid_tf.support.libraries import install_extra

MAX_UPLOAD = 100
"""The largest upload taken by default, in MiB."""

MAX_FILES = 20
"""The most pictures of one upload."""

_SESSIONS = 1000  # whose last wish is remembered
_KEPT_SECONDS = 3600
_LABEL, _ORIGINAL = "original | enhanced", "original"
_FONTS = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
_TEXT = """# NEID
Drop low-light pictures in: they come back brightened, their details restored. Everything happens
on the machine that serves this page."""


def load_gradio() -> types.ModuleType:
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


def build(enhancer: Enhancer, samples: Sequence[str | os.PathLike] = ()) -> object:
    """Make the page, a ``gradio.Blocks``; needs Gradio, see :func:`load_gradio`.

    Args:
        enhancer: what is done with uploads.
        samples: paths of pictures to offer as examples.
    """
    gr = load_gradio()
    cleaning = (_KEPT_SECONDS, _KEPT_SECONDS)
    with gr.Blocks(title="NEID", analytics_enabled=False, delete_cache=cleaning) as page:
        gr.Markdown(_TEXT)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                # Of any type: one that is no picture is then named, and does not refuse the others.
                upload = gr.File(
                    file_count="multiple", height=170, label="Pictures", elem_id="picture"
                )
                controls = _controls(gr, enhancer.weights)
                shown = _samples(gr, samples)
            with gr.Column(scale=3, min_width=340):
                outputs = _outputs(gr)
        _connect(gr, _Events(gr, enhancer), (upload, shown, samples), controls, outputs)
    return page


def _controls(gr, weights):
    info = "0: the original; 1: the full effect; above 1: more light"
    sizes = [("As the original", 1), ("Twice as large as the file", 2)]
    formats = [("PNG", SUFFIXES[0]), ("JPEG", SUFFIXES[1])]
    return [
        gr.Slider(
            0.0, MAX_STRENGTH, 1.0, step=0.05, label="Strength", info=info, elem_id="strength"
        ),
        gr.Radio(sizes, value=1, label="Size", elem_id="size"),
        gr.Dropdown(
            list(weights), value=weights[0], label="Weights", elem_id="weights", filterable=False
        ),
        gr.Radio(formats, value=SUFFIXES[0], label="Download", elem_id="format"),
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
    """Return what an upload fills: the original, the slider, the names, the download."""
    options = {"interactive": False, "buttons": ["fullscreen"]}
    with gr.Row():
        original = gr.Image(label=_ORIGINAL, elem_id="original", height=320, **options)
        slider = gr.ImageSlider(label=_LABEL, elem_id="comparison", max_height=640, **options)
    names = gr.Radio([], label="Picture", visible=False, elem_id="names")
    label = _download_label(1)
    button = gr.DownloadButton(label, interactive=False, variant="primary", elem_id="download")
    return [original, slider, names, button]


def _download_label(count):
    return "Download" if count == 1 else f"Download {count} pictures (ZIP)"


def _connect(gr, events, sources, controls, outputs):
    """Enhance when pictures are chosen or a control changes; show another when one is asked for.

    The chosen paths stay on the server, and the upload area is emptied for the next pictures.
    """
    upload, shown, paths = sources
    chosen, results = gr.State(()), gr.State(())
    private, hidden = {"api_visibility": "private"}, {"show_progress": "hidden"}
    wish, button = [chosen, *controls], outputs[-1]
    target = {"fn": events.answer, "inputs": wish, "outputs": [results, *outputs]}
    target |= {"concurrency_limit": 1, "concurrency_id": "model", "show_progress_on": outputs[1]}
    for event, source, read in (
        (upload.upload, upload, lambda chosen: tuple(chosen or ())),
        (shown.click, shown, lambda number: (str(paths[number]),)),
    ):
        cleared = [chosen, upload, results, *outputs]
        choice = event(events.choosing(read), source, cleared, **hidden, **private)
        noted = choice.then(events.note, wish, button, queue=False, **hidden, **private)
        noted.then(**target, **private)
    changes = [control.change for control in controls]
    latest = {"trigger_mode": "always_last"}  # no change is passed over
    noted = gr.on(changes, events.note, wish, button, queue=False, **latest, **hidden, **private)
    noted.then(**target, **private)
    names = outputs[2]
    names.input(events.show, [results, names], outputs[:2], queue=False, **hidden, **private)


class _Events:
    """The functions of the page's events.

    What a download gives is always what the controls say: it is taken away as soon as they
    change, and a result comes to the page only if they have not changed since.
    """

    def __init__(self, gr, enhancer):
        self.gr, self.enhancer, self._wishes = gr, enhancer, collections.OrderedDict()
        # Gradio recognises this parameter by its annotation.
        for method in (_Events.note, _Events.answer):
            method.__annotations__["request"] = gr.Request

    def choosing(self, read: Callable) -> Callable:
        """Return the function of a choice: it keeps the paths, shows the first, clears the rest.

        Args:
            read: function from the event's value to a tuple of paths.
        """
        gr = self.gr

        def choose(value):
            paths = read(value)
            if not paths:
                raise gr.Error("no picture was chosen", print_exception=False)
            if len(paths) > MAX_FILES:
                gr.Warning(f"{len(paths)} pictures: the first {MAX_FILES} are taken")
            paths = paths[:MAX_FILES]
            original, slider = self._original(paths[0]), gr.ImageSlider(value=None, label=_LABEL)
            return paths, None, (), original, slider, gr.Radio(visible=False), self._no_download()

        return choose

    def _original(self, path):
        try:
            value = self.enhancer.original(path)
        except (NeidError, MemoryError):
            value = None  # The answer says why.
        return self.gr.Image(value=value, label=f"{Path(path).name}: {_ORIGINAL}")

    def _no_download(self):
        return self.gr.DownloadButton(_download_label(1), value=None, interactive=False)

    def note(self, request, *wish):
        """Remember what a session asked for last, and take its download away."""
        self._wishes[request.session_hash] = wish
        self._wishes.move_to_end(request.session_hash)
        if len(self._wishes) > _SESSIONS:
            self._wishes.popitem(last=False)
        return self._no_download()

    def answer(self, request, *wish):
        """Enhance the chosen pictures; what goes wrong is one line on the page."""
        gr, (paths, *controls) = self.gr, wish
        unchanged = (gr.skip(),) * 5
        if not paths or not self._is_wanted(request, wish):
            return unchanged
        results = self._enhanced(paths, controls)
        if not self._is_wanted(request, wish):
            return unchanged
        names = [result.name for result in results]
        numbered = [(name, number) for number, name in enumerate(names)]
        picker = gr.Radio(numbered, value=0, visible=len(names) > 1)
        file = results[0].download if len(names) == 1 else self.enhancer.packed(results)
        button = gr.DownloadButton(_download_label(len(names)), value=str(file), interactive=True)
        return results, *self.show(results, 0), picker, button

    def _is_wanted(self, request, wish):
        return self._wishes.get(request.session_hash, wish) == wish

    def _enhanced(self, paths, controls):
        """Return the results; what is lost is told, as are pictures that can't be enhanced."""
        results, failures, notes = [], [], []
        self.enhancer.begin()
        for number, path in enumerate(paths):
            try:
                result = self.enhancer(path, Settings(*controls), number)
                results.append(result)
                notes += [html.escape(f"{result.name}: {note}") for note in result.notes]
            except (NeidError, MemoryError) as error:
                reason = getattr(error, "reason", str(error) or "not enough memory")
                failures.append(html.escape(f"{Path(path).name}: {reason}"))
        if not results:
            # The page would take a file's name for HTML.
            raise self.gr.Error("<br>".join(failures), print_exception=False)
        for failure in failures:
            self.gr.Warning(failure)
        if notes:
            self.gr.Warning("<br>".join(notes))
        return tuple(results)

    def show(self, results: Sequence[Result], number: int) -> tuple:
        """Return the original and the slider for one of the results."""
        result = results[number]
        if not result.after.exists():
            raise self.gr.Error("kept no longer: choose the pictures again", print_exception=False)
        pair = str(result.before), str(result.after)
        return (
            self.gr.Image(value=pair[0], label=f"{result.name}: {_ORIGINAL}"),
            self.gr.ImageSlider(value=pair, label=f"{result.name}: {_LABEL}"),
        )


def launch(
    page: object,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_upload: int = MAX_UPLOAD,
    names: Collection[str] = (),
) -> str:
    """Serve a page from a thread of its own, until its ``close``; return its address.

    Args:
        page: from :func:`build`.
        host: address to listen on.
        port: port to listen on.
        max_upload: the largest upload taken, in MiB.
        names: that the page may be asked for, beside this machine's; see :class:`Guard`.

    Raises:
        OSError: if the port is taken.
    """
    gr = load_gradio()
    from gradio import queueing, route_utils, routes, utils
    from starlette.middleware import Middleware

    one_line_tracebacks((queueing, route_utils, routes, utils))
    off = ("share", "ssr_mode", "mcp_server", "pwa", "run_history", "enable_monitoring")
    page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        max_file_size=max_upload * 2**20,
        theme=gr.themes.Default(primary_hue="amber", **_FONTS),
        footer_links=[],
        prevent_thread_lock=True,
        quiet=True,
        app_kwargs={"middleware": [Middleware(Guard, names=(host, *names))]},
        **dict.fromkeys(off, False),
    )
    return page.local_url
