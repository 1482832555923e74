"""neid serve [--host=127.0.0.1] [--port=8080] [--weights=NAME|PATH] [--workers=N]

Serves the network over HTTP: POST /v1/enhance takes a picture's file, as the body or in a form,
and gives it back enhanced, with its metadata.

  neid serve --weights=neid_s
  curl --data-binary @dark.jpg -o bright.jpg 'http://127.0.0.1:8080/v1/enhance?strength=0.8'

The parameters scale, strength, weights and format are as for neid enhance. /docs tells all of it;
/v1/models, /healthz, /readyz and /metrics (Prometheus) are there too. Each request is a line of
JSON on stderr. SIGTERM or Ctrl-C ends it: what has begun is finished.

With --engine=ray (and the extra 'ray') the same application runs as a deployment of Ray Serve, with
--ray_workers replicas on the machines of a cluster, each with one process that computes.

On another address than this machine's own loopback, clients need keys: --api_keys=FILE, or the
environment variable NEID_API_KEYS.

Needs: {install serve}

Exit codes: 0 ended by a signal; 1 failed; 2 wrong usage.
"""

from absl import flags

from neid_tf import pictures
from neid_tf.commands import common, listening, on_ray, terminal
from neid_tf.inference import methods
from neid_tf.support import hosts
from neid_tf.support.libraries import optional_import
from neid_tf.support.machine import usable_cores

_PORT = 8080
_WORKERS = flags.DEFINE_integer(
    "workers",
    0,
    "Processes that compute, each with the network in memory and its share of the cores; 0: one "
    "for each core, 8 at most.",
    lower_bound=0,
)
_QUEUE = flags.DEFINE_integer(
    "max_queue",
    64,
    "Pictures that may wait for a process; who comes then is told to come again (429).",
    lower_bound=0,
)
_TIMEOUT = flags.DEFINE_float(
    "timeout", 60.0, "Seconds that a request may take (408, 503, 504).", lower_bound=0.1
)
_KEYS = common.define_path(
    "api_keys",
    None,
    "File of the keys that clients must have, one a line, 16 characters at least; lines that "
    "begin with # are comments. Without it the environment variable NEID_API_KEYS is looked at.",
)
_OPEN = flags.DEFINE_bool(
    "without_keys", False, "Serve whoever reaches it, on other addresses than the loopback too."
)
common.declare(__name__, common.MAX_PIXELS, common.WEIGHTS, *listening.FLAGS, *on_ray.FLAGS)


def main(arguments: list[str]) -> None:
    """Serve until a signal says to end."""
    if arguments:
        raise flags.ValidationError(f"unexpected argument {arguments[0]!r}")
    with optional_import("neid serve"):
        import python_multipart  # noqa: F401

        from neid_tf.service import server
    configuration, on_cluster = _configuration(), on_ray.asked_for()
    if on_cluster and _WORKERS.present:
        raise flags.ValidationError("--workers is for this machine: --engine=ray has --ray_workers")
    methods.check("neid", common.WEIGHTS.value, runtime="auto")
    port, host = listening.PORT.value or _PORT, listening.HOST.value
    try:
        socket = server.listener(host, port)
    except OSError as error:
        raise listening.taken(error, port) from error

    def ready():
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        terminal.show(f"http://{shown}:{port} (Ctrl-C ends)")

    with socket:
        if not on_cluster:
            server.serve(configuration, socket, ready)
            return
    from neid_tf.service import on_ray as ray_engine

    ray_engine.serve(configuration, host, port, on_ray.cluster_of_flags(), ready)


def _configuration():
    from neid_tf.service.configuration import MEBIBYTE, Configuration, offered

    cores = usable_cores()
    workers = _WORKERS.value or min(cores, 8)
    return Configuration(
        weights=offered(common.required(common.WEIGHTS)),
        workers=workers,
        threads=max(1, cores // workers),
        max_queue=_QUEUE.value,
        max_bytes=(listening.MAX_UPLOAD.value or 64) * MEBIBYTE,
        max_pixels=common.MAX_PIXELS.value or pictures.SERVED_MAX_PIXELS,
        timeout=_TIMEOUT.value,
        keys=_keys(),
        names=(listening.HOST.value, *listening.NAMES.value),
    )


def _keys():
    """Return the digests of the clients' keys.

    Raises:
        absl.flags.ValidationError: where there are none, and the address asks for some.
    """
    from neid_tf.service import configuration

    if _KEYS.value:
        keys = configuration.read_keys(_KEYS.value)
    else:
        keys = configuration.keys_of_environment()
    if keys and _OPEN.value:
        raise flags.ValidationError("--without_keys, but there are keys")
    if not (keys or _OPEN.value or hosts.is_loopback(listening.HOST.value)):
        raise flags.ValidationError(
            f"--host={listening.HOST.value} can be reached from other machines: give keys with "
            f"--api_keys=FILE or {configuration.KEYS_VARIABLE}, or say --without_keys"
        )
    return keys
