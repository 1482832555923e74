"""neid demo [--host=127.0.0.1] [--port=7860] [--weights=NAME|PATH] [--max_pixels=N]

Serves a web page on this machine: pictures dropped in come back brightened, beside the original
and under a slider with it, with controls for strength, size and weights, and a PNG or JPEG to
download (a ZIP of several). Nothing is sent to other hosts; uploads and results are in a
temporary folder, which is removed when the command ends. Ctrl-C ends it.

Needs: {install demo}

Exit codes: 0 ended by the user; 1 failed; 2 wrong usage.
"""

import contextlib
import os
import socket
import tempfile
from pathlib import Path

from absl import flags

from neid_tf import demo, pictures
from neid_tf.commands import common, listening, terminal
from neid_tf.inference import methods, tiles
from neid_tf.models import pretrained
from neid_tf.support import hosts

_SAMPLES_OF_A_CHECKOUT = Path("data/samples/low")

_PORT = 7860
_SAMPLES = common.define_path(
    "samples",
    None,
    f"Folder of pictures that the page offers as samples; without it {_SAMPLES_OF_A_CHECKOUT}, "
    "if there is such a folder below the current one.",
)
common.declare(__name__, common.MAX_PIXELS, common.WEIGHTS, *listening.FLAGS)


def main(arguments: list[str]) -> None:
    """Serve the page until interrupted."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    methods.check("neid", common.WEIGHTS.value, runtime="auto")
    samples = _sample_pictures()
    with _temporary_folder() as folder:
        _require_gradio()
        max_pixels = common.MAX_PIXELS.value or pictures.SERVED_MAX_PIXELS
        enhancer = demo.Enhancer(_network, folder, max_pixels, _weights())
        enhancer.network(common.WEIGHTS.value)
        page = demo.build(enhancer, samples)
        address = _launch(page)
        # From here on an interruption is how the command ends.
        with contextlib.suppress(KeyboardInterrupt):
            print(f"{address} (Ctrl-C ends)", flush=True)
            if not hosts.is_loopback(listening.HOST.value):
                print("whoever reaches this machine can use the page", flush=True)
            page.block_thread()


@contextlib.contextmanager
def _temporary_folder():
    """Make a folder for uploads, results and Gradio's copies of both; remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="neid-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = os.path.join(folder, "gradio")
        yield folder


def _require_gradio():
    # Inside the temporary folder, where its import makes a folder of its own.
    try:
        demo.load_gradio()
    except ImportError as error:
        raise common.Failure(str(error)) from error


def _launch(page):
    host, port = listening.HOST.value, listening.PORT.value or _PORT
    max_upload = listening.MAX_UPLOAD.value or demo.MAX_UPLOAD
    try:
        # Of a name that is none Gradio says that the port is taken.
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return demo.launch(page, host, port, max_upload, listening.NAMES.value)
    except OSError as error:
        raise listening.taken(error, port) from error


def _sample_pictures():
    if _SAMPLES.value:
        return demo.sample_pictures(_SAMPLES.value)
    folder = _SAMPLES_OF_A_CHECKOUT
    return demo.sample_pictures(folder) if folder.is_dir() else []


def _network(weights):
    """Return a network in the fastest runtime that is here; it does large pictures in tiles."""
    return tiles.in_tiles(terminal.with_notes_shown(methods.load_network(weights, "auto")))


def _weights():
    """Return the names that the page offers: those of the flag, then the package's."""
    return tuple(dict.fromkeys((common.WEIGHTS.value, *pretrained.names())))
